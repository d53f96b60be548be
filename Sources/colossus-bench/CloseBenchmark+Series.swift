import Aggregation
import Telemetry

/// The same fleet as series: every GPU's fields as samples in batches, as receivers deliver them.
extension CloseBenchmark {
    private static let nodes = 25_000
    private static let gpusPerNode = 8
    private static let fields = Array(FieldCatalog.defaults.prefix(20))
    private static let kinds = fields.map(\.field.kind)
    private static let seconds = 40

    static func series() -> [Benchmark.Result] {
        let before = ProcessUsage.residentBytes()
        let bench = BenchCore()
        let stream = bench.streams.open(.measured, site: "bench")
        let topology = bench.streams.topology(stream)
        for node in 0..<nodes {
            topology.node(
                "n\(node)",
                at: Placement(rack: "r\(node / 8)", array: "a\(node / 64)", hall: "h\(node / 3_125)"),
                gpuCount: gpusPerNode)
        }
        var spec = StreamSpec(id: .measured, site: "bench")
        spec.plan.reviseWithinMs = 300_000
        bench.core.openStream(spec)
        let slots = register(bench, stream)
        let startMs = WallClock.bench.nowMs() / 10_000 * 10_000 - 200_000
        let began = Stopwatch.nowNs()
        let cpu = Stopwatch.processNs() - Stopwatch.threadNs()
        for second in 0..<seconds { feed(bench, stream, slots, startMs + Int64(second) * 1_000) }
        bench.drain()
        let samples = Double(nodes * gpusPerNode * fields.count * seconds)
        let wallNs = Double(Stopwatch.nowNs() - began)
        let cpuNs = Double(Stopwatch.processNs() - Stopwatch.threadNs() - cpu)
        let seriesCount = Double(nodes * gpusPerNode * fields.count)
        return [
            .init(
                name:
                    "samples of \(nodes * gpusPerNode * fields.count) series into the core, closings included",
                value: samples / wallNs * 1e3, unit: "M samples/s"),
            .init(name: "the same, CPU of the core", value: cpuNs / samples / 1e3, unit: "s/M samples"),
            .init(
                name: "memory of the core with them",
                value: (ProcessUsage.residentBytes() - before) / seriesCount,
                unit: "B/series"),
        ]
    }

    /// - Returns: the first slot of each node, whose series follow each other.
    private static func register(_ bench: BenchCore, _ stream: StreamIndex) -> [UInt32] {
        var next: [Int: UInt32] = [:]
        return (0..<nodes).map { node in
            let rack = Int32(node / 8)
            let shard = bench.core.shard(stream: stream, rack: rack, node: Int32(node))
            let first = next[shard, default: 0]
            var made: [SeriesDescriptor] = []
            for (place, field) in fields.enumerated() {
                for gpu in 0..<gpusPerNode {
                    made.append(
                        SeriesDescriptor(
                            slot: first + UInt32(place * gpusPerNode + gpu),
                            gpu: Int32(node * gpusPerNode + gpu), node: Int32(node), rack: rack, field: field,
                            sender: SenderID(rawValue: 0)))
                }
            }
            next[shard] = first + UInt32(made.count)
            bench.core.register(made, stream: stream, shard: shard)
            return first
        }
    }

    private static func feed(_ bench: BenchCore, _ stream: StreamIndex, _ slots: [UInt32], _ timeMs: Int64) {
        let count = fields.count * gpusPerNode
        for first in stride(from: 0, to: nodes, by: 8) {
            let shard = bench.core.shard(stream: stream, rack: Int32(first / 8), node: Int32(first))
            var batch = SampleBatch(
                stream: stream, shard: shard, sender: SenderID(rawValue: 0), arrivalMs: timeMs + 100,
                baseMs: timeMs)
            batch.records.reserveCapacity(8 * count)
            for node in first..<min(first + 8, nodes) {
                for place in 0..<count {
                    // Noise without a generator that would cost more than what is measured.
                    let mixed = (UInt64(node * count + place) &+ UInt64(timeMs)) &* 0x9E37_79B9_7F4A_7C15
                    let noise = Double(mixed >> 54) * 0.4
                    let value =
                        switch kinds[place / gpusPerNode] {
                        case .gauge: 300 + noise
                        case .counter: Double(timeMs - 1_000_000_000_000) + noise
                        case .stickyGauge: 0.0
                        }
                    batch.records.append(
                        SampleRecord(slot: slots[node] + UInt32(place), offsetMs: 0, value: value))
                }
            }
            while bench.core.offer([batch]) == .full { BenchCore.pause() }
        }
        bench.core.observed(
            sender: SenderID(rawValue: 0), stream: stream, oldestMs: timeMs, newestMs: timeMs,
            arrivalMs: timeMs + 100)
        bench.core.tick()
    }
}
