import Aggregation
import Glibc
import Logging
import Receivers
import Store
import Telemetry

/// The receiver and the core as in the daemon, with a sink that only counts, and the log in a folder of its own.
struct IngestHost {
    let bench: BenchCore
    let stream: StreamIndex
    let server: IngestServer
    let port: Int
    let log: BenchLog?

    init(port: Int = 0, threads: Int = 2, durability: BenchDurability = .none, tls: Bool = false) throws {
        bench = BenchCore()
        log = try BenchLog(durability, bench.metrics)
        var spec = StreamSpec(id: .measured, site: "bench")
        spec.journal = log?.log
        stream = bench.core.openStream(spec)
        var configuration = IngestConfiguration()
        configuration.port = port
        configuration.threads = threads
        let core = bench.core
        let logging = log.map {
            IngestLogging(journal: $0.log, sink: core, first: $0.log.first, mark: nil)
        }
        let server = IngestServer(
            configuration: configuration, sink: core, events: core, streams: bench.streams, stream: stream,
            tls: tls ? try BenchTLS.acceptor(bench.metrics) : nil, logging: logging,
            account: { core.account($0, stream: $1) }, clock: .bench,
            metrics: bench.metrics, logger: .bench)
        self.server = server
        self.port = try Blocking.run { try await server.start().port }
        while server.replay?.isDone == false { BenchCore.pause() }
    }

    func stop() {
        let (server, log) = (server, log)
        Blocking.wait {
            await server.stop(grace: .seconds(1))
            await log?.close()
        }
    }

    /// Receives until SIGTERM or SIGINT, and tells what came in.
    static func serve(port: Int, durability: BenchDurability, tls: Bool) throws {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGTERM)
        sigaddset(&signals, SIGINT)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        let host = try IngestHost(port: port, durability: durability, tls: tls)
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

/// An ingest log in a new folder, which goes when it is closed.
final class BenchLog: Sendable {
    let log: IngestLog
    private let folder: String
    private let appended: Counter

    /// `nil` for no log.
    init?(_ durability: BenchDurability, _ metrics: Metrics) throws {
        guard let kept = IngestDurability(rawValue: durability.rawValue) else { return nil }
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(base)/colossus-bench.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw BenchError("no folder can be made in \(base)") }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        log = try IngestLog(directory: folder, durability: kept, metrics: metrics, logger: .bench)
        appended = metrics.counter("colossus_ingest_log_appended_bytes_total", "")
    }

    var appendedBytes: Int64 { appended.value }

    func close() async {
        await log.close()
        let segments = folder + "/ingest"
        if let entries = opendir(segments) {
            while let entry = readdir(entries) {
                let name = withUnsafeBytes(of: entry.pointee.d_name) { raw in
                    String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
                }
                unlink(segments + "/" + name)
            }
            closedir(entries)
        }
        rmdir(segments)
        rmdir(folder)
    }
}

extension Logger {
    static var bench: Logger {
        var logger = Logger(label: "bench")
        logger.logLevel = .error
        return logger
    }
}
