import Aggregation
import Telemetry

/// To whom `ingest` sends: a receiver in this process, or a server of another one.
enum IngestTarget {
    case own(IngestHost)
    case other(port: Int, pid: Int32?)

    init(_ options: IngestOptions) throws {
        if let port = options.to {
            self = .other(port: port, pid: options.pid)
        } else {
            self = .own(try IngestHost(durability: options.durability, tls: options.tls))
        }
    }

    var port: Int {
        switch self {
        case .own(let host): host.port
        case .other(let port, _): port
        }
    }

    /// CPU of what receives, with that of the senders where they share a process.
    var cpuNs: Int64 {
        switch self {
        case .own: Stopwatch.processNs()
        case .other(_, let pid): pid.map { ProcessUsage.cpuNs($0) } ?? 0
        }
    }

    var isOwn: Bool {
        if case .own = self { return true }
        return false
    }

    /// Without a process that is known: 0.
    var residentBytes: Double {
        switch self {
        case .own: ProcessUsage.residentBytes()
        case .other(_, let pid): pid.map { ProcessUsage.residentBytes($0) } ?? 0
        }
    }

    func tick() {
        if case .own(let host) = self { host.bench.core.tick() }
    }

    /// Waits until all that was sent is aggregated, and checks that it was.
    func settle(samples: Int) throws {
        guard case .own(let host) = self else { return }
        host.bench.drain()
        guard let ledger = host.bench.core.status(host.stream)?.ledger, ledger.received == Int64(samples),
            ledger.dropped == 0
        else { throw BenchError("the core did not take all that was sent") }
    }

    /// Waits until what was sent is aggregated.
    func drain() {
        if case .own(let host) = self { host.bench.drain() }
    }

    var logBytes: Int64? {
        if case .own(let host) = self { return host.log?.appendedBytes }
        return nil
    }

    func stop() {
        if case .own(let host) = self { host.stop() }
    }
}
