import ArgumentParser
import ControlAPI
import FoundationEssentials
import Glibc

struct StoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store",
        abstract: "Copies the history while the service runs, and looks at histories as a whole.",
        subcommands: [Backup.self, Verify.self])

    struct Backup: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Copies the history as it is now into a new file; closings go on meanwhile.",
            discussion: """
                The service writes the file, with mode 0640, and overwrites nothing. Its sandbox opens only the state \
                directory, and what a drop-in names in ReadWritePaths=. Until it is complete, it is FILE.partial.

                To go back to a backup, stop the service and put the file in the place of history.sqlite.

                Examples:
                  colossusctl store backup /var/lib/colossusd/history-$(date -u +%F).sqlite
                  colossusctl store backup ./copy.sqlite && colossusctl store verify ./copy.sqlite
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "A file that is not there yet.", completion: .file())
        var file: String

        func run() throws {
            let client = global.client()
            let job = try client.startBackup(file: FilePath.absolute(file))
            let reply = try StoreJobWatch(client: client).finish(job)
            try global.show(reply)
            if reply.state != .done { throw ExitReason.failed }
            // A folder that only the service sees (PrivateTmp=) is no place for a backup.
            guard access(reply.file, F_OK) != 0, errno == ENOENT else { return }
            throw ControlError(
                .failed, "\(reply.file) is where only the service sees it.",
                hint: "Name a file in its state directory: /tmp and /var/tmp of the service are its own.")
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Looks at all of a history: SQLite's own check, schema, references, cursors, newest windows.",
            discussion: """
                With a FILE it needs no running daemon; without one, the daemon looks at what it runs on. Ends with 1 when \
                something is wrong.

                Examples:
                  colossusctl store verify
                  colossusctl store verify ./copy.sqlite -o json | jq .schema_version
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "A backup. Default: the history of the running service.", completion: .file())
        var file: String?

        func run() throws {
            let reply = try file.map(look) ?? ask()
            try global.show(reply)
            if reply.state != .done || !reply.problems.isEmpty { throw ExitReason.failed }
        }

        private func ask() throws -> StoreJobReply {
            let client = global.client()
            return try StoreJobWatch(client: client).finish(client.startVerification())
        }

        /// SQLite is in the daemon's program, which looks at a file without becoming one.
        private func look(_ file: String) throws -> StoreJobReply {
            guard access(file, R_OK) == 0 else {
                throw ControlError(
                    errno == ENOENT ? .notFound : .notPermitted,
                    "\(file) cannot be read: \(String(cString: strerror(errno))).",
                    hint: "Name a file that you may read.")
            }
            let program = ChildProcess.daemon
            guard let ran = ChildProcess.run(program, ["--verify-history", file]) else {
                throw ControlError(
                    .failed, "\(program) cannot be run.", hint: "Install it, or put it into PATH.")
            }
            do {
                return try ControlJSON.decode(StoreJobReply.self, from: Data(ran.output))
            } catch {
                throw ControlError(
                    .failed, "\(program) ended with \(ran.status) and no answer.",
                    hint: "colossusctl and colossusd are of different versions: install the same.")
            }
        }
    }
}

/// Waits for long work of the daemon, and says on a terminal how far it is.
struct StoreJobWatch {
    let client: ControlClient

    func finish(_ started: StoreJobReply) throws -> StoreJobReply {
        var reply = started
        var line = ProgressLine()
        defer { line.clear() }
        let pause = InterruptibleSleep()
        var patience = Patience(seconds: 60)
        while reply.state == .running {
            line.show(reply.progress)
            if pause.sleep(milliseconds: 100) {
                throw ControlError(
                    .tryAgain, "The \(reply.kind.rawValue) goes on without you.",
                    hint: "journalctl -u colossusd says when it is over.")
            }
            let asked = try patience.attempt { () throws(ControlError) in try client.storeJob() }
            guard let asked else { continue }
            guard asked.file == started.file, asked.kind == started.kind else {
                throw ControlError(.failed, "The service was restarted or does something else by now.")
            }
            reply = asked
        }
        return reply
    }
}

/// One line on standard error that is written again and again; nothing where nobody looks.
struct ProgressLine {
    private let isLive = isatty(STDERR_FILENO) == 1
    private var shown = ""

    mutating func show(_ text: String) {
        guard isLive, text != shown else { return }
        Output.complainRaw("\r\u{1B}[K" + text)
        shown = text
    }

    mutating func clear() {
        guard isLive, !shown.isEmpty else { return }
        Output.complainRaw("\r\u{1B}[K")
        shown = ""
    }
}

enum FilePath {
    /// A path as the service has to be told it: its working directory is another.
    static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/"), let folder = getcwd(nil, 0) else { return path }
        defer { free(folder) }
        let bare = path.hasPrefix("./") ? String(path.dropFirst(2)) : path
        let base = String(cString: folder)
        return (base == "/" ? "" : base) + "/" + bare
    }
}
