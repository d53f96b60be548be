import TestSupport
import Testing

@testable import WireFormats

private let hasher = IdentityHasher(seed: (7, 8))

/// What a message brings, run by run, with guesses resolved as a receiver does that knows no series.
private struct Brought: Equatable {
    struct Run: Equatable {
        var identity: SeriesIdentity
        var labels: Range<Int>
        var samples: [TimedValue]
    }
    var runs: [Run] = []
    var histograms = 0
    var exemplars = 0

    init(_ message: [UInt8], guessing: Bool) throws {
        let body = message.span.bytes
        var request = WriteRequest()
        if guessing {
            try RemoteWriteDecoder.decodeGuessing(
                body, hasher: hasher, salt: 3, samplesMax: 1_000, into: &request)
        } else {
            try RemoteWriteDecoder.decode(
                body, hasher: hasher, salt: 3, samplesMax: 1_000, into: &request)
        }
        (histograms, exemplars) = (request.histograms, request.exemplars)
        for run in request.runs {
            if run.isGuess, !RemoteWriteDecoder.confirm(run, in: body) {
                var series = WriteRequest()
                try RemoteWriteDecoder.series(
                    of: run, in: body, hasher: hasher, salt: 3, samplesMax: 1_000, into: &series)
                for run in series.runs { add(run, series) }
                histograms += series.histograms
                exemplars += series.exemplars
            } else {
                add(run.confirmed, request)
            }
        }
    }

    private mutating func add(_ run: SeriesRun, _ request: WriteRequest) {
        runs.append(
            Run(identity: run.identity, labels: run.labels, samples: Array(request.samples[run.samples])))
    }

    static func == (left: Brought, right: Brought) -> Bool {
        left.runs.count == right.runs.count && left.histograms == right.histograms
            && left.exemplars == right.exemplars
            && zip(left.runs, right.runs).allSatisfy { left, right in
                left.identity == right.identity && left.labels == right.labels
                    && left.samples.map(\.timeMs) == right.samples.map(\.timeMs)
                    && left.samples.map(\.value.bitPattern) == right.samples.map(\.value.bitPattern)
            }
    }
}

@Suite(.computing) struct GuessTests {
    private static func varint(_ value: Int) -> [UInt8] {
        value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7F | 0x80)] + varint(value >> 7)
    }

    private static func field(_ number: Int, _ bytes: [UInt8]) -> [UInt8] {
        varint(number << 3 | 2) + varint(bytes.count) + bytes
    }

    private static func sample(_ value: Double, _ timeMs: Int) -> [UInt8] {
        let bits = value.bitPattern
        let fixed = value == 0 ? [] : [0x09] + (0..<8).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }
        return field(2, fixed + [0x10] + varint(timeMs))
    }

    private static func series(_ random: inout SeededRandom) -> [UInt8] {
        var bytes: [UInt8] = []
        for number in 0..<1 + random.below(6) {
            let value = [UInt8](repeating: 0x61, count: random.below(3) == 0 ? 130 : 12)
            bytes += field(1, field(1, Array("label\(number)".utf8)) + field(2, value))
        }
        let samples = random.below(4) == 0 ? random.below(4) : 1
        for number in 0..<samples {
            let value = random.below(3) == 0 ? 0 : Double(bitPattern: random.next())
            let timeMs = random.below(8) == 0 ? random.below(1_000) : 1_764_000_000_000 + number
            bytes += sample(value, timeMs)
        }
        if random.below(10) == 0 { bytes += field(3, [0x11, 0x22]) }
        if random.below(10) == 0 { bytes += field(1, field(1, [0x7A])) }
        if random.below(10) == 0 { bytes += field(4, [0x08, 0x01]) }
        return field(1, bytes)
    }

    @Test("guesses, once resolved, are what the plain walk says", arguments: [UInt64(1), 2, 3])
    func resolved(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        for _ in 0..<300 {
            let message = (0..<1 + random.below(300)).flatMap { _ in Self.series(&random) }
            #expect(
                try Brought(message, guessing: true) == Brought(message, guessing: false), "seed \(seed)")
        }
    }

    @Test("mutated messages too", arguments: [UInt64(4), 5, 6])
    func mutated(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var refused = 0
        for _ in 0..<3_000 {
            var message = (0..<1 + random.below(3)).flatMap { _ in Self.series(&random) }
            if random.below(4) == 0 { message = Array(message.prefix(random.below(message.count))) }
            for _ in 0...random.below(3) where !message.isEmpty {
                message[random.below(message.count)] =
                    random.below(2) == 0 ? random.byte() : [0x0A, 0x12, 0x09, 0x10][random.below(4)]
            }
            let expected = try? Brought(message, guessing: false)
            let found = try? Brought(message, guessing: true)
            #expect(found == expected, "seed \(seed)")
            if expected == nil { refused += 1 }
        }
        #expect(refused > 200 && refused < 2_800)
    }

    @Test("a usual message is guessed throughout, also where the value 0 is left out")
    func usual() throws {
        var random = SeededRandom(seed: 9)
        let label = Self.field(1, Self.field(1, Array("__name__".utf8)) + Self.field(2, Array("up".utf8)))
        let zero = Self.field(1, label + Self.sample(0, 1_764_000_000_000))
        let message = Payloads.node(random: &random) + zero
        var request = WriteRequest()
        try RemoteWriteDecoder.decodeGuessing(
            message.span.bytes, hasher: hasher, salt: 0, samplesMax: 1_000, into: &request)
        #expect(request.runs.count == 49 && request.runs.allSatisfy { $0.isGuess && $0.sampleCount == 1 })
        #expect(request.samples.last == TimedValue(timeMs: 1_764_000_000_000, value: 0))
    }

    @Test("more samples than allowed are refused")
    func tooMany() {
        var random = SeededRandom(seed: 10)
        let message = Payloads.node(random: &random)
        var request = WriteRequest()
        #expect(throws: WireError.self) {
            try RemoteWriteDecoder.decodeGuessing(
                message.span.bytes, hasher: hasher, salt: 0, samplesMax: 47, into: &request)
        }
        #expect(throws: Never.self) {
            try RemoteWriteDecoder.decodeGuessing(
                message.span.bytes, hasher: hasher, salt: 0, samplesMax: 48, into: &request)
        }
    }
}

@Suite(.computing) struct LabelScannerTests {
    private static let names = [
        "__name__", "Hostname", "hostname", "instance", "gpu", "UUID", "uuid", "rack", "array", "pod", "hall",
        "modelName", "hpc_job", "job", "prometheus", "prometheus_replica", "replica", "__replica__",
        "GPU_I_ID",
        "nvlink", "nvswitch", "cpu", "cpucore", "namespace", "container", "pod_uid", "gpux", "gp", "Gpu",
        "hostnam", "hostnames", "prometheus_replicas", "prometheus_replicb", "été", "x",
    ]
    private static let values = [
        "", "0", "7", "007", "255", "256", "-1", "a:9400", "[::1]:9400", "[::1", "::1", ":9400", "localhost",
        "localhost:9400", "localhosu", "node-17", "a", "été", String(repeating: "v", count: 40),
    ]

    @Test("it says what the plain reading of labels says", arguments: [UInt64(1), 2, 3])
    func plain(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var limits = LabelLimits()
        limits.count = 7
        limits.valueBytes = 39
        var scanner = LabelScanner(limits: limits, hasher: hasher)
        var sources: [String: SeriesIdentity] = ["": SeriesIdentity(high: 0, low: 0)]
        var refused = 0
        for _ in 0..<6_000 {
            let labels = (0..<random.below(9)).map { _ in
                (Self.names[random.below(Self.names.count)], Self.values[random.below(Self.values.count)])
            }
            var message: [UInt8] = []
            for (name, value) in random.below(2) == 0 ? labels : labels.sorted(by: { $0.0 < $1.0 }) {
                let label =
                    [0x0A, UInt8(name.utf8.count)] + Array(name.utf8) + [0x12, UInt8(value.utf8.count)]
                    + Array(value.utf8)
                message += [0x0A, UInt8(label.count)] + label
            }
            if random.below(20) == 0, !message.isEmpty { message[message.count - 1] = 0xFF }
            let bytes = message.span.bytes
            let read = Result { try RemoteWriteDecoder.readLabels(bytes, message.indices, limits: limits) }
            let found = Result { try scanner.remoteWrite(bytes, message.indices) }
            guard case .success(.labels(let plain)) = read else {
                refused += 1
                switch (read, found) {
                case (.failure, .failure), (.success, .success(nil)): break
                default: Issue.record("\(read), but \(found); seed \(seed)")
                }
                continue
            }
            let scanned = try #require(try found.get(), "seed \(seed)")
            let expected = GPULabels(plain)
            #expect(Self.labels(scanned, bytes, expected) == expected, "seed \(seed)")
            #expect(sources[expected.source, default: scanned.source] == scanned.source)
            sources[expected.source] = scanned.source
            var scratch: [UInt8] = [1, 2, 3]
            let again = try #require(scanner.labels(.labels(plain), scratch: &scratch))
            #expect(
                Self.labels(again, scratch.span.bytes, expected) == expected && again.source == scanned.source
            )
        }
        #expect(refused > 500 && refused < 4_500)
        #expect(Set(sources.values).count == sources.count, "different sources, different hashes")
    }

    /// The source is known by a hash alone, so that it is taken from what was expected.
    private static func labels(_ scanned: ScannedLabels, _ bytes: RawSpan, _ expected: GPULabels) -> GPULabels
    {
        var labels = GPULabels([])
        labels.metric = bytes.string(scanned.metric)
        labels.node = bytes.string(scanned.node)
        labels.ordinal = scanned.ordinal < 0 ? nil : UInt8(scanned.ordinal)
        labels.uuid = bytes.string(scanned.uuid)
        labels.rack = bytes.string(scanned.rack)
        labels.array = bytes.string(scanned.array)
        labels.hall = bytes.string(scanned.hall)
        labels.model = bytes.string(scanned.model)
        labels.job = bytes.string(scanned.job)
        labels.isPart = scanned.isPart
        labels.source = expected.source
        return labels
    }
}
