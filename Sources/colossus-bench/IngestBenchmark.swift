import Telemetry

/// Remote write over loopback HTTP into the receiver and the core, or into another server. The bodies are made
/// beforehand; each pass has times and values of its own. The senders' CPU is taken off.
enum IngestBenchmark {
    static func run(_ options: IngestOptions) throws -> [Benchmark.Result] {
        var run = try IngestRun(options)
        defer { run.target.stop() }
        let cold = try run.cold()
        try options.paced ? run.paced() : run.full()
        return try run.results(cold: cold)
    }
}

/// One fleet, its senders and what was measured of them.
struct IngestRun {
    let target: IngestTarget
    private let options: IngestOptions
    private let sender: Sender
    private let seriesCount: Int
    /// Before there were series, and what the bodies take in this process.
    private let emptyBytes: Double
    private let baseMs = WallClock.bench.nowMs() - 3_600_000
    private var passes = 0
    private var seconds = 0.0
    private var cpuNs = 0.0

    /// At one second of event time a pass it stays behind the wall clock.
    private static let passesMax = 3_400

    init(_ options: IngestOptions) throws {
        self.options = options
        let before = ProcessUsage.residentBytes()
        let made = try Payloads(options)
        let bodies = ProcessUsage.residentBytes() - before
        let target = try IngestTarget(options)
        self.target = target
        seriesCount = made.payloads.reduce(0) { $0 + $1.sampleCount }
        sender = try Sender(port: target.port, made, options)
        emptyBytes = target.isOwn ? before + bodies : target.residentBytes
    }

    /// Every series for the first time; seconds.
    mutating func cold() throws -> Double {
        let began = Stopwatch.nowNs()
        try sender.pass(timeMs: options.paced ? WallClock.bench.nowMs() - 60_000 : baseMs, number: 0)
        target.drain()
        sender.reset()
        return Double(Stopwatch.nowNs() - began) / 1e9
    }

    /// As fast as it goes.
    mutating func full() throws {
        let (wall, cpu) = (Stopwatch.nowNs(), target.cpuNs)
        repeat {
            passes += 1
            try sender.pass(timeMs: baseMs + Int64(passes) * 1_000, number: passes)
            target.tick()
        } while Double(Stopwatch.nowNs() - wall) < options.seconds * 1e9 && passes < Self.passesMax
        try finish(wall, cpu)
    }

    /// The whole fleet once a second, each request at its moment; a request that is late does not wait for the next.
    mutating func paced() throws {
        let (wall, cpu) = (Stopwatch.nowNs(), target.cpuNs)
        let count = max(1, Int(options.seconds.rounded()))
        for second in 0..<count {
            passes += 1
            let due = wall + Int64(second) * 1_000_000_000
            try sender.pass(timeMs: WallClock.bench.nowMs(), number: passes, dueNs: due)
            target.tick()
        }
        try finish(wall, cpu)
    }

    private mutating func finish(_ wall: Int64, _ cpu: Int64) throws {
        try target.settle(samples: (passes + 1) * seriesCount)
        seconds = Double(Stopwatch.nowNs() - wall) / 1e9
        let own = target.isOwn ? sender.cpuNs : 0
        cpuNs = Double(target.cpuNs - cpu - own)
    }

    func results(cold: Double) throws -> [Benchmark.Result] {
        let samples = Double(passes * seriesCount)
        let name = options.title
        let latencies = sender.latencies.sorted()
        var results = [
            Benchmark.Result(name: name, value: samples / seconds / 1e6, unit: "M samples/s")
        ]
        func add(_ what: String, _ value: Double, _ unit: String) {
            results.append(.init(name: "\(name): \(what)", value: value, unit: unit))
        }
        if cpuNs > 0 {
            add("CPU", cpuNs / samples / 1e3, "CPU s/M samples")
            add("cores", cpuNs / seconds / 1e9, "cores")
        }
        add(options.paced ? "lag p50" : "latency p50", Self.quantile(latencies, 0.5), "ms")
        add(options.paced ? "lag p99" : "latency p99", Self.quantile(latencies, 0.99), "ms")
        add("sender", Double(sender.cpuNs) / seconds / 1e9, "cores")
        let bytes = target.residentBytes - emptyBytes
        if target.residentBytes > 0 { add("memory", max(0, bytes) / Double(seriesCount), "B/series") }
        if let logged = target.logBytes { add("log written", Double(logged) / 1e6, "MB") }
        add("samples sent", Double((passes + 1) * seriesCount), "samples")
        add("new series, labels parsed", Double(seriesCount) / cold / 1e6, "M series/s")
        return results
    }

    private static func quantile(_ sorted: [Int64], _ share: Double) -> Double {
        sorted.isEmpty
            ? 0 : Double(sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]) / 1e6
    }
}

struct BenchError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
