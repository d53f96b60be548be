import Aggregation
import Glibc
import Logging
import Receivers
import Telemetry

/// The receiver and the core as in the daemon, with a sink that only counts.
struct IngestHost {
    let bench: BenchCore
    let stream: StreamIndex
    let server: IngestServer
    let port: Int

    init(port: Int = 0, threads: Int = 2) throws {
        bench = BenchCore()
        stream = bench.core.openStream(StreamSpec(id: .measured, site: "bench"))
        var configuration = IngestConfiguration()
        configuration.port = port
        configuration.threads = threads
        var logger = Logger(label: "bench")
        logger.logLevel = .error
        let (core, server): (AggregationCore, IngestServer)
        core = bench.core
        server = IngestServer(
            configuration: configuration, sink: core, events: core, streams: bench.streams, stream: stream,
            account: { core.account($0, stream: $1) }, clock: .bench, metrics: bench.metrics, logger: logger)
        self.server = server
        self.port = try Blocking.run { try await server.start().port }
    }

    func stop() {
        let server = server
        Blocking.wait { await server.stop(grace: .seconds(1)) }
    }

    /// Receives until SIGTERM or SIGINT, and tells what came in.
    static func serve(port: Int) throws {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGTERM)
        sigaddset(&signals, SIGINT)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        let host = try IngestHost(port: port)
        var tick = timespec(tv_sec: 1, tv_nsec: 0)
        while sigtimedwait(&signals, nil, &tick) < 0 { host.bench.core.tick() }
        host.stop()
        host.bench.drain()
        guard let ledger = host.bench.core.status(host.stream)?.ledger else { return }
        var line = "received \(ledger.received) aggregated \(ledger.aggregated)"
        for reason in DropReason.allCases where ledger[reason] > 0 {
            line += " \(reason.label) \(ledger[reason])"
        }
        print(line)
    }
}
