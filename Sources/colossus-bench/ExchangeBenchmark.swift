import ArgumentParser
import Dispatch
import Exchange
import NATSExchange
import Sketches
import Telemetry

struct ExchangeOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "exchange: also through this broker, as nats://HOST:PORT; repeatable. Three and more keep three replicas.",
            valueName: "url"))
    var nats: [String] = []
}

/// What a cluster costs: partials made, read and merged on one core, and with brokers their round trip.
enum ExchangeBenchmark {
    private static let fieldCount: UInt16 = 25
    private static let racksPerSlice = 8
    /// As many as one partition's final holds.
    private static let slices = 12
    private static let seconds = 1.0

    static func run(_ options: ExchangeOptions) throws -> [Benchmark.Result] {
        guard
            let fleet = FleetMap(
                cluster: "bench", stream: "sim/bench", slices: slices, partitions: 1, windowMs: 10_000,
                startMs: 1_764_000_000_000)
        else { preconditionFailure("the map of the benchmark is valid") }
        let groups = (0..<slices).map { slice in Self.groups(slice: slice) }
        let racks = Double(slices * racksPerSlice)
        let rackFields = racks * Double(fieldCount)

        var messages: [[UInt8]] = []
        let encode = repeated {
            messages.removeAll(keepingCapacity: true)
            for slice in 0..<slices { messages += chunks(fleet, slice, 0, groups[slice]) }
        }
        let bytes = messages.reduce(0) { $0 + $1.count }
        let decode = try repeated { for message in messages { _ = try PartialEnvelope(decoding: message) } }

        var window: Int64 = 0
        var merge = WindowMerge(fleet: fleet, partition: 0, closed: -1, resumeSequence: 0)
        var final: [[UInt8]] = []
        var making = 0.0
        let close = repeated {
            // The making of the next window's partials is not part of it.
            let began = Stopwatch.nowNs()
            let next = (0..<slices).flatMap { chunks(fleet, $0, window, groups[$0]) }
            making += Double(Stopwatch.nowNs() - began)
            for (index, message) in next.enumerated() {
                merge.add(
                    StoredMessage(
                        subject: fleet.partialSubject(0), bytes: message,
                        sequence: UInt64(window) * UInt64(next.count) + UInt64(index) + 1,
                        timestampMs: fleet.windowEndMs(window)))
            }
            let record = merge.nextFinal(writer: 1, lateSinceLast: 0)
            precondition(record.slicesPresent == slices)
            final = [record.encoded()]
            merge.advance(to: window, whole: record.whole)
            window += 1
        }
        let closing = close - making / Double(window)
        var results: [Benchmark.Result] = [
            .init(
                name: "exchange: a rack's field in a partial", value: Double(bytes) / rackFields, unit: "B"),
            .init(name: "exchange: a rack's field encoded", value: encode / rackFields, unit: "ns"),
            .init(name: "exchange: a rack's field decoded", value: decode / rackFields, unit: "ns"),
            .init(
                name: "exchange: a window of \(Int(racks)) racks read, merged and closed",
                value: closing / 1e6,
                unit: "ms"),
            .init(
                name: "exchange: its final record", value: Double(final.reduce(0) { $0 + $1.count }) / 1_024,
                unit: "KiB"),
        ]
        if !options.nats.isEmpty { results += try broker(options, fleet, messages) }
        return results
    }

    /// Racks of 64 GPUs as six ticks leave them.
    private static func groups(slice: Int) -> [PartialGroup] {
        var groups: [PartialGroup] = []
        for rack in 0..<racksPerSlice {
            let name = "r\(slice * racksPerSlice + rack)"
            var fields: [FieldStatistics] = []
            for field in 0..<fieldCount {
                var sketch = QuantileSketch()
                var statistics = FieldStatistics(
                    field: 100 + field, count: 0, sum: 0, min: .infinity, max: -.infinity)
                for sample in 0..<UInt32(64 * 6) {
                    let noise = (sample &* 2_654_435_761 &+ UInt32(field) &* 40_503) >> 22
                    let value = 100 + 10 * Double(field) + Double(noise) / 64
                    sketch.add(value)
                    statistics.count += 1
                    statistics.sum += value
                    statistics.min = min(statistics.min, value)
                    statistics.max = max(statistics.max, value)
                }
                statistics.sketch = sketch
                fields.append(statistics)
            }
            groups.append(
                PartialGroup(
                    key: PartialGroupKey(level: .rack, name: name, job: "pretrain"),
                    gpus: GroupGPUs(expected: 64, reporting: 64, inJob: 64), fields: fields))
            for node in 0..<8 {
                groups.append(
                    PartialGroup(
                        key: PartialGroupKey(level: .node, name: "\(name)-n\(node)"),
                        gpus: GroupGPUs(expected: 8, reporting: 8, inJob: 8), fields: []))
            }
        }
        return groups
    }

    private static func chunks(
        _ fleet: FleetMap, _ slice: Int, _ window: Int64, _ groups: [PartialGroup]
    ) -> [[UInt8]] {
        PartialEnvelope(
            fleet: fleet.fingerprint, slice: slice, windowStartMs: fleet.windowStartMs(window),
            windowLengthMs: fleet.windowMs, origin: 0, epoch: 1, groups: groups
        ).chunked()
    }

    /// Nanoseconds of one call.
    private static func repeated(_ body: () throws -> Void) rethrows -> Double {
        var count = 0
        let began = Stopwatch.nowNs()
        repeat {
            try body()
            count += 1
        } while Double(Stopwatch.nowNs() - began) < seconds * 1e9
        return Double(Stopwatch.nowNs() - began) / Double(count)
    }

    // MARK: Brokers

    /// The same messages, again and again, each acknowledged by the broker that leads the stream.
    private static func broker(
        _ options: ExchangeOptions, _ fleet: FleetMap, _ messages: [[UInt8]]
    ) throws -> [Benchmark.Result] {
        let replicas = options.nats.count >= 3 ? 3 : 1
        var streams = NATSStreams(cluster: fleet.cluster, replicas: replicas)
        streams.partialAgeS = 300
        let bus = try NATSBus(NATSOptions(servers: options.nats, name: "colossus-bench"), streams: streams)
        defer { bus.close() }
        let onTheWay = 256
        // Begins at 0: one that ends below what it began with traps.
        let free = DispatchSemaphore(value: 0)
        for _ in 0..<onTheWay { free.signal() }
        let outcome = Locked<(latencies: [Int64], failed: Int, bytes: Int)>(([], 0, 0))
        let began = Stopwatch.nowNs()
        var index = 0
        while Double(Stopwatch.nowNs() - began) < 3e9 {
            free.wait()
            let bytes = messages[index % messages.count]
            index += 1
            let sent = Stopwatch.nowNs()
            let message = BusMessage(stream: .partials, subject: fleet.partialSubject(0), bytes: bytes)
            bus.publish(message, expecting: .none) { result in
                let took = Int64(Stopwatch.nowNs() - sent)
                outcome.withLock { outcome in
                    if case .failure = result { outcome.failed += 1 } else { outcome.bytes += bytes.count }
                    outcome.latencies.append(took)
                }
                free.signal()
            }
        }
        for _ in 0..<onTheWay { free.wait() }
        let elapsed = Double(Stopwatch.nowNs() - began) / 1e9
        let (latencies, failed, stored) = outcome.withLock { $0 }
        let sorted = latencies.sorted()
        func percentile(_ share: Double) -> Double {
            sorted.isEmpty ? 0 : Double(sorted[Int(Double(sorted.count - 1) * share)]) / 1e6
        }
        let name = "exchange: \(options.nats.count) broker(s), \(replicas) replica(s)"
        return [
            .init(name: "\(name), partials stored", value: Double(stored) / elapsed / 1e6, unit: "MB/s"),
            .init(name: "\(name), acknowledged, p50", value: percentile(0.5), unit: "ms"),
            .init(name: "\(name), acknowledged, p99", value: percentile(0.99), unit: "ms"),
            .init(name: "\(name), not stored", value: Double(failed), unit: "messages"),
        ]
    }
}
