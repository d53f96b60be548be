import Aggregation
import ArgumentParser
import Dispatch
import Glibc
import Synchronization
import Telemetry

extension SeriesOrder: ExpressibleByArgument {}

/// What `ingest` sends.
struct IngestOptions: ParsableArguments {
    @Option(help: "ingest: series of the fleet; 160 a node.")
    var series = 400_000

    @Option(
        help: "ingest: order of the series: scrape, shards (ten queue shards of a Prometheus) or shuffled.")
    var order = SeriesOrder.scrape

    @Option(help: "ingest: version of remote write, 1 or 2.")
    var version = 1

    @Option(help: "ingest: samples a request; 0 is one node (160).")
    var perRequest = 2_000

    @Option(help: "ingest: connections, each with a part of the series.")
    var connections = 8

    @Option(help: "ingest: seconds to measure for.")
    var seconds = 5.0

    func validate() throws {
        guard (160...8_000_000).contains(series), (1...2).contains(version),
            (1...1_000).contains(connections),
            (0...100_000).contains(perRequest), (0.1...3_600).contains(seconds)
        else {
            throw ValidationError("series, version, per-request, connections or seconds is out of range.")
        }
    }
}

/// Remote write over loopback HTTP into the receiver and the core. The bodies are made beforehand; each pass has
/// times and values of its own. The senders' CPU is taken off.
enum IngestBenchmark {
    static func run(_ options: IngestOptions) throws -> [Benchmark.Result] {
        let before = residentBytes()
        let payloads = payloads(options)
        let made = residentBytes()
        let host = try IngestHost()
        defer { host.stop() }
        let senders = try (0..<options.connections).map { number in
            try Sender(
                port: host.port,
                stride(from: number, to: payloads.count, by: options.connections).map { payloads[$0] },
                isVersion2: options.version == 2)
        }
        let series = payloads.reduce(0) { $0 + $1.samples.count }
        let base = WallClock.bench.nowMs() - 3_600_000
        let coldBegan = Stopwatch.nowNs()
        try pass(senders, timeMs: base, number: 0)
        host.bench.drain()
        let cold = Double(Stopwatch.nowNs() - coldBegan) / 1e9
        for sender in senders { sender.reset() }

        let (wall, process) = (Stopwatch.nowNs(), Stopwatch.processNs())
        var passes = 0
        repeat {
            passes += 1
            try pass(senders, timeMs: base + Int64(passes) * 1_000, number: passes)
            host.bench.core.tick()
        } while Double(Stopwatch.nowNs() - wall) < options.seconds * 1e9 && passes < 3_000
        host.bench.drain()
        let seconds = Double(Stopwatch.nowNs() - wall) / 1e9
        let senderNs = senders.reduce(0) { $0 + $1.cpuNs }
        let cpu = Double(Stopwatch.processNs() - process - senderNs) / 1e9
        let samples = passes * series
        guard let ledger = host.bench.core.status(host.stream)?.ledger,
            ledger.received == Int64(samples + series), ledger.dropped == 0
        else { throw BenchError("the core did not take all that was sent") }
        let latencies = senders.flatMap(\.latencies).sorted()
        let name = "remote write \(options.version).0, \(options.order.rawValue) order, \(series) series"
        // Bodies were copied into the senders, so that they count twice.
        let own = residentBytes() - made - (made - before)
        return [
            .init(name: name, value: Double(samples) / seconds / 1e6, unit: "M samples/s"),
            .init(name: "its CPU", value: cpu / Double(samples) * 1e6, unit: "CPU s/M samples"),
            .init(name: "its latency, p50", value: quantile(latencies, 0.5), unit: "ms"),
            .init(name: "its latency, p99", value: quantile(latencies, 0.99), unit: "ms"),
            .init(name: "its memory", value: Double(max(0, own)) / Double(series), unit: "B/series"),
            .init(name: "new series, labels parsed", value: Double(series) / cold / 1e6, unit: "M series/s"),
        ]
    }

    private static func payloads(_ options: IngestOptions) -> [Payload] {
        let order = PayloadMaker.order(options.order, count: options.series / 160 * 160)
        let size = options.perRequest == 0 ? 160 : options.perRequest
        var maker = PayloadMaker(isVersion2: options.version == 2)
        return stride(from: 0, to: order.count, by: size).map { start in
            maker.body(order[start..<min(start + size, order.count)])
        }
    }

    /// All senders at once, each its part.
    private static func pass(_ senders: [Sender], timeMs: Int64, number: Int) throws {
        let group = DispatchGroup()
        let box = FailureBox()
        for sender in senders {
            group.enter()
            sender.send(timeMs: timeMs, pass: number) { result in
                if case .failure(let error) = result { box.error.withLock { $0 = error } }
                group.leave()
            }
        }
        group.wait()
        if let error = box.error.withLock({ $0 }) { throw error }
    }

    private static func quantile(_ sorted: [Int64], _ share: Double) -> Double {
        sorted.isEmpty ? 0 : Double(sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]) / 1e6
    }

    private static func residentBytes() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        guard fgets(&line, 256, file) != nil else { return 0 }
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 4_096
    }

    private final class FailureBox: Sendable {
        let error = Mutex<(any Error)?>(nil)
    }
}

struct BenchError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
