import ArgumentParser
import Dispatch
import Exchange
import Glibc
import NATSExchange
import Telemetry

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Reads all finals, and compares them with what one process makes of the same samples.")

    @OptionGroup var cluster: ClusterOptions
    @Option var windows: Int64
    @Option(help: "Gives up after so long without a new final.") var patienceS: Int = 30

    struct Seen: Sendable {
        var next: [Int64]
        var finals = 0
        var missing = 0
        var duplicate = 0
        var wrong = 0
        var incomplete = 0
        var unreadable = 0
        var lagMsMax: Int64 = 0
    }

    func run() throws {
        let fleet = try cluster.fleet()
        let bus = try cluster.bus("check")
        let source = TestSamples(fleet: fleet)
        let seen = Locked(Seen(next: [Int64](repeating: 0, count: fleet.partitions)))
        let subjects = Subject("clsd.v1.\(cluster.cluster).fin.*")
        let cursor = bus.open(.finals, subjects, from: .sequence(1)) { delivery in
            guard case .messages(let messages) = delivery else { return }
            for message in messages { seen.withLock { Self.look(at: message, fleet, source, &$0) } }
        }
        let windows = windows
        var last = 0
        var deadline = steadyMs() + Int64(patienceS) * 1_000
        while steadyMs() < deadline, !seen.withLock({ $0.next.allSatisfy { $0 >= windows } }) {
            usleep(100_000)
            let count = seen.withLock { $0.finals }
            if count > last { deadline = steadyMs() + Int64(patienceS) * 1_000 }
            last = count
        }
        // What would come twice comes now.
        usleep(500_000)
        let end = seen.withLock { $0 }
        cursor.close()
        print(
            "{\"finals\":\(end.finals),\"missing\":\(end.missing),\"duplicate\":\(end.duplicate),"
                + "\"wrong\":\(end.wrong),\"incomplete\":\(end.incomplete),\"unreadable\":\(end.unreadable),"
                + "\"lag_ms_max\":\(end.lagMsMax),\"closed\":\(end.next)}")
        let isGood = end.next.allSatisfy { $0 == windows } && end.missing + end.duplicate + end.wrong == 0
        if !isGood || end.unreadable > 0 { throw ExitCode.failure }
    }

    private static func look(
        at message: StoredMessage, _ fleet: FleetMap, _ source: TestSamples, _ seen: inout Seen
    ) {
        guard let final = try? FinalRecord(decoding: message.bytes), Int(final.partition) < fleet.partitions
        else {
            seen.unreadable += 1
            return
        }
        let partition = Int(final.partition)
        seen.finals += 1
        if final.window < seen.next[partition] { seen.duplicate += 1 }
        if final.window > seen.next[partition] { seen.missing += Int(final.window - seen.next[partition]) }
        seen.next[partition] = max(seen.next[partition], final.window + 1)
        seen.lagMsMax = max(seen.lagMsMax, message.timestampMs - fleet.windowEndMs(final.window))
        if final.slicesPresent < final.slicesExpected {
            seen.incomplete += 1
        } else if final.groups != source.oracle(partition: partition, window: final.window) {
            seen.wrong += 1
        }
    }
}

struct Connect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Connects, publishes one message, and says what came of it.")

    @OptionGroup var cluster: ClusterOptions
    @Option(help: "Where to publish; a lease of the cluster by default.") var subject: String?

    func run() throws {
        let bus: NATSBus
        do {
            bus = try cluster.bus("connect")
        } catch let error as BusError {
            print("{\"connected\":false,\"error\":\"\(error)\"}".replacing("\\\"", with: "'"))
            return
        }
        let done = DispatchSemaphore(value: 0)
        let outcome = Locked("")
        let subject = Subject(subject ?? "clsd.v1.\(cluster.cluster).lease.worker.connect")
        let began = steadyMs()
        bus.publish(BusMessage(stream: .leases, subject: subject, bytes: [1]), expecting: .none) { result in
            outcome.withLock { $0 = "\(result)" }
            done.signal()
        }
        done.wait()
        print("{\"connected\":true,\"ms\":\(steadyMs() - began)} \(outcome.withLock { $0 })")
    }
}
