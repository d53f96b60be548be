import ArgumentParser
import ControlAPI
import Glibc
import Store
import Telemetry

/// `colossusd --verify-history FILE`: a look at a file, by a process that is no daemon.
enum HistoryCheck {
    static func run(_ file: String) throws {
        let isLive = isatty(STDERR_FILENO) == 1
        let began = WallClock.system.nowMs()
        var reply = StoreJobReply(kind: .verify, state: .done, file: file)
        do {
            let found = try StoreFile.verify(file) { step in
                reply.stage = step.stage
                (reply.done, reply.total) = (step.done, step.total)
                if isLive { StandardError.write("\r\u{1B}[K" + reply.progress) }
            }
            reply.take(found)
        } catch {
            reply.state = .failed
            reply.problems = ["\(error)"]
        }
        if isLive { StandardError.write("\r\u{1B}[K") }
        reply.stage = nil
        reply.seconds = Double(WallClock.system.nowMs() - began) / 1_000
        print(try ControlJSON.text(reply, pretty: true))
        if reply.state != .done || !reply.problems.isEmpty { throw ExitCode(1) }
    }
}
