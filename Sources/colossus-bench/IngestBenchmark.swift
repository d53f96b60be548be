import Aggregation
import Glibc
import Logging
import Receivers
import Telemetry
import WireFormats

/// Remote write 1.0 over loopback HTTP into the receiver and the core. The bodies are made beforehand; each pass has
/// times and values of its own. The sender's CPU is taken off.
enum IngestBenchmark {
    private static let nodes = 256
    private static let fields = 20
    private static let passes = 50
    private static let nodesPerRequest = 12
    private static let connections = 2

    private static var series: Int { nodes * 8 * fields }

    static func run() throws -> [Benchmark.Result] {
        let bench = BenchCore()
        let stream = bench.core.openStream(StreamSpec(id: .measured, site: "bench"))
        var configuration = IngestConfiguration()
        configuration.port = 0
        var logger = Logger(label: "bench")
        logger.logLevel = .error
        let server = IngestServer(
            configuration: configuration, sink: bench.core, events: bench.core, streams: bench.streams,
            stream: stream, account: { bench.core.account($0, stream: $1) }, clock: .bench,
            metrics: bench.metrics, logger: logger)
        let port = try Blocking.run { try await server.start().port }
        defer { Blocking.wait { await server.stop(grace: .seconds(1)) } }

        let base = WallClock.bench.nowMs() - 120_000
        let bodies = (0..<passes + 1).map { pass in
            Self.bodies(timeMs: base + Int64(pass) * 1_000, pass: pass)
        }
        let sender = try Sender(port: port)
        let coldBegan = Stopwatch.nowNs()
        try sender.send(bodies[0])
        bench.drain()
        let cold = Double(Stopwatch.nowNs() - coldBegan) / 1e9

        let (wall, process, thread) = (Stopwatch.nowNs(), Stopwatch.processNs(), Stopwatch.threadNs())
        for pass in 1...passes { try sender.send(bodies[pass]) }
        bench.drain()
        let seconds = Double(Stopwatch.nowNs() - wall) / 1e9
        let cpu = Double(Stopwatch.processNs() - process - (Stopwatch.threadNs() - thread)) / 1e9
        let samples = Double(passes * series)
        guard let status = bench.core.status(stream), status.ledger.received == Int64(samples) + Int64(series)
        else {
            throw BenchError("the core did not receive what was sent")
        }
        return [
            .init(
                name: "remote write 1.0 over HTTP, \(series) series", value: samples / seconds / 1e6,
                unit: "M samples/s"),
            .init(name: "its CPU", value: cpu / samples * 1e6, unit: "CPU s/M samples"),
            .init(name: "new series, labels parsed", value: Double(series) / cold / 1e6, unit: "M series/s"),
        ]
    }

    private static func bodies(timeMs: Int64, pass: Int) -> [[UInt8]] {
        stride(from: 0, to: nodes, by: nodesPerRequest).map { first in
            var encoder = RemoteWriteEncoder()
            for node in first..<min(first + nodesPerRequest, nodes) {
                for field in FieldCatalog.defaults.prefix(fields) {
                    for gpu in 0..<8 {
                        encoder.add(
                            labels: labels(node, gpu, field.field.name),
                            samples: [TimedValue(timeMs: timeMs, value: value(node, gpu, field, pass))])
                    }
                }
            }
            return encoder.finish()
        }
    }

    private static func value(_ node: Int, _ gpu: Int, _ field: FieldIndex, _ pass: Int) -> Double {
        Double((node * 131 + gpu * 17 + Int(field.rawValue) * 7 + pass * 29) % 700) + Double(pass) / 64
    }

    private static func labels(_ node: Int, _ gpu: Int, _ name: String) -> [Label] {
        let pairs = [
            ("DCGM_FI_DRIVER_VERSION", "560.35.05"), ("Hostname", "node-\(node)"),
            ("UUID", "GPU-\(node)-\(gpu)"), ("__name__", name), ("device", "nvidia\(gpu)"), ("gpu", "\(gpu)"),
            ("instance", "node-\(node):9400"), ("job", "dcgm"), ("modelName", "NVIDIA H100 80GB HBM3"),
            ("pci_bus_id", "00000000:\(10 + gpu):00.0"), ("pod", "a\(node / 64)"), ("rack", "r\(node / 8)"),
        ]
        return pairs.map { Label($0.0, $0.1) }
    }
}

struct BenchError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
