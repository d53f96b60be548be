import Sketches
import Telemetry
import WireFormats

/// Loops over the parts of the ingest path, in memory, on one core.
enum CodecBenchmarks {
    private static let seconds = 1.0

    private static func body(version: Int, order: SeriesOrder = .scrape) -> Payload {
        var body = PayloadMaker.body(
            PayloadMaker.order(order, count: 400_000)[..<2_000], isVersion2: version == 2)
        let nodes = 400_000 / PayloadMaker.seriesPerNode
        body.set(Payload.Pass(1, timeMs: 1_764_000_000_000, nodes: nodes, churnEvery: 0))
        return body
    }

    /// Repeats something for a while; nanoseconds each.
    private static func repeated(_ body: () throws -> Void) rethrows -> Double {
        try body()
        var count = 0
        let began = Stopwatch.nowNs()
        repeat {
            for _ in 0..<8 { try body() }
            count += 8
        } while Double(Stopwatch.nowNs() - began) < seconds * 1e9
        return Double(Stopwatch.nowNs() - began) / Double(count)
    }

    // MARK: snappy

    static func snappy() throws -> [Benchmark.Result] {
        var results: [Benchmark.Result] = []
        for order in [SeriesOrder.scrape, .shuffled] {
            let block = body(version: 1, order: order).bytes
            var output: [UInt8] = []
            var length = 0
            let ns = try repeated {
                length = try Snappy.decode(block.span.bytes, into: &output, limit: 32 << 20)
            }
            let plain = Array(output[..<length])
            let name = "snappy, body of 2000 samples in \(order.rawValue) order"
            results += [
                .init(name: "\(name): decode", value: Double(length) / ns, unit: "GB/s"),
                .init(name: "\(name): decode, a sample", value: ns / 2_000, unit: "ns"),
                .init(
                    name: "\(name): encode",
                    value: Double(length) / repeated { _ = Snappy.encode(plain) },
                    unit: "GB/s"),
            ]
        }
        return results
    }

    // MARK: registry

    /// Walks with identities, and the labels of new series.
    static func labels() throws -> [Benchmark.Result] {
        var results: [Benchmark.Result] = []
        let hasher = IdentityHasher()
        for version in 1...2 {
            let message = try Snappy.decode(body(version: version).bytes, limit: 32 << 20)
            let bytes = message.span.bytes
            var request = WriteRequest()
            let walk = try repeated {
                if version == 1 {
                    try RemoteWriteDecoder.decodeGuessing(
                        bytes, hasher: hasher, salt: 1, samplesMax: 10_000, into: &request)
                } else {
                    try RemoteWrite2Decoder.decode(
                        bytes, hasher: hasher, salt: 1, samplesMax: 10_000, into: &request)
                }
            }
            var scanner = LabelScanner(limits: LabelLimits(), hasher: hasher)
            let scan = try repeated {
                for run in request.runs {
                    _ =
                        version == 1
                        ? try scanner.remoteWrite(bytes, run.labels)
                        : try scanner.remoteWrite2(bytes, run.labels, symbolsOf: request)
                }
            }
            results += [
                .init(
                    name: "remote write \(version).0 walked and hashed, a sample", value: walk / 2_000,
                    unit: "ns"),
                .init(name: "labels of a series of \(version).0 read", value: scan / 2_000, unit: "ns"),
            ]
        }
        return results
    }

    /// New series, and new spellings of known ones, over HTTP.
    static func registry(_ options: IngestOptions) throws -> [Benchmark.Result] {
        var all = options
        all.paced = false
        all.churn = 1
        all.seconds = 1
        all.to = nil
        let results = try IngestBenchmark.run(all)
        let name = "\(all.series / 160 * 160) series over HTTP"
        var shown: [Benchmark.Result] = []
        if let cold = results.last {
            shown.append(.init(name: "new: \(name)", value: cold.value, unit: cold.unit))
        }
        if let first = results.first {
            shown.append(.init(name: "spelled anew: \(name)", value: first.value, unit: "M series/s"))
        }
        return try labels() + shown
    }

    // MARK: sketch

    static func sketch() -> [Benchmark.Result] {
        let racks = 3_125
        let values = (0..<4_096).map { 300 + Double($0 &* 2_654_435_761 % 4_096) / 10 }
        var arena = SketchArena(count: racks)
        let add = repeated {
            for (index, value) in values.enumerated() { arena.add(SketchKey(value), to: index % racks) }
        }
        var target = SketchArena(count: 1)
        let merge = repeated { for rack in 0..<racks { target.merge(rack, of: arena, into: 0) } }
        var bytes: [UInt8] = []
        let encode = repeated {
            bytes.removeAll(keepingCapacity: true)
            for rack in 0..<racks { arena.encode(rack, into: &bytes) }
        }
        return [
            .init(
                name: "sketch: a value added, \(racks) racks in turn", value: add / Double(values.count),
                unit: "ns"),
            .init(name: "sketch: a rack merged into the site", value: merge / Double(racks), unit: "ns"),
            .init(name: "sketch: a rack encoded", value: encode / Double(racks), unit: "ns"),
            .init(name: "sketch: a rack's bytes", value: Double(bytes.count) / Double(racks), unit: "B"),
        ]
    }
}
