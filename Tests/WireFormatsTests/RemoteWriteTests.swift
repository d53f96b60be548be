import TestSupport
import Testing
import WireFormats

/// What a request means, without ranges and identities.
private struct Meaning: Equatable {
    struct Series: Equatable {
        var labels: [Label]
        var samples: [TimedValue]
    }
    var series: [Series] = []
}

/// A plain, slow reading of Protocol Buffers: splits a message into its fields, then looks at them.
private enum SlowDecoder {
    struct Corrupt: Error {}

    struct Field {
        var number: UInt64
        var type: UInt64
        var integer: UInt64 = 0
        var bytes: [UInt8] = []
    }

    static func fields(_ message: [UInt8]) throws -> [Field] {
        var rest = message[...]
        var fields: [Field] = []
        while !rest.isEmpty {
            let tag = try varint(&rest)
            var field = Field(number: tag / 8, type: tag % 8)
            guard field.number > 0 else { throw Corrupt() }
            switch field.type {
            case 0: field.integer = try varint(&rest)
            case 1: field.bytes = try take(8, &rest)
            case 2:
                let length = try varint(&rest)
                guard length <= 1 << 40 else { throw Corrupt() }
                field.bytes = try take(Int(length), &rest)
            case 5: field.bytes = try take(4, &rest)
            default: throw Corrupt()
            }
            fields.append(field)
        }
        return fields
    }

    static func meaning(_ message: [UInt8]) throws -> Meaning {
        var meaning = Meaning()
        for field in try fields(message) where field.number == 1 {
            guard field.type == 2 else { throw Corrupt() }
            var series = Meaning.Series(labels: [], samples: [])
            let parts = try fields(field.bytes).filter { $0.number <= 4 }
            guard parts.allSatisfy({ $0.type == 2 }) else { throw Corrupt() }
            for part in parts where part.number == 2 { series.samples.append(try sample(part.bytes)) }
            // Nobody looks into the labels of a series that brings nothing.
            guard !series.samples.isEmpty else { continue }
            for part in parts where part.number == 1 { series.labels.append(try label(part.bytes)) }
            meaning.series.append(series)
        }
        return meaning
    }

    private static func label(_ bytes: [UInt8]) throws -> Label {
        var label = Label("", "")
        for field in try fields(bytes) where field.number <= 2 {
            guard field.type == 2 else { throw Corrupt() }
            let text = String(decoding: field.bytes, as: UTF8.self)
            if field.number == 1 { label.name = text } else { label.value = text }
        }
        return label
    }

    private static func sample(_ bytes: [UInt8]) throws -> TimedValue {
        var sample = TimedValue(timeMs: 0, value: 0)
        for field in try fields(bytes) where field.number <= 2 {
            guard field.type == (field.number == 1 ? 1 : 0) else { throw Corrupt() }
            if field.number == 2 {
                sample.timeMs = Int64(bitPattern: field.integer)
            } else {
                var bits: UInt64 = 0
                for byte in field.bytes.reversed() { bits = bits << 8 | UInt64(byte) }
                sample.value = Double(bitPattern: bits)
            }
        }
        return sample
    }

    private static func varint(_ rest: inout ArraySlice<UInt8>) throws -> UInt64 {
        var value: UInt64 = 0
        for position in 0..<10 {
            guard let byte = rest.popFirst() else { throw Corrupt() }
            let (high, low) = (byte >> 7, UInt64(byte & 0x7F))
            guard position < 9 || low <= 1 else { throw Corrupt() }
            value |= low << UInt64(7 * position)
            if high == 0 { return value }
        }
        throw Corrupt()
    }

    private static func take(_ count: Int, _ rest: inout ArraySlice<UInt8>) throws -> [UInt8] {
        guard count <= rest.count else { throw Corrupt() }
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }
}

private let hasher = IdentityHasher(seed: (1, 2))

private func decode(_ message: [UInt8], samplesMax: Int = 1_000_000) throws -> WriteRequest {
    var request = WriteRequest()
    try RemoteWriteDecoder.decode(
        message.span.bytes, hasher: hasher, salt: 0, samplesMax: samplesMax, into: &request)
    return request
}

/// What the decoder under test makes of a message, labels included.
private func meaning(_ message: [UInt8]) throws -> Meaning {
    let request = try decode(message)
    var limits = LabelLimits()
    limits.count = .max
    limits.nameBytes = .max
    limits.valueBytes = .max
    return Meaning(
        series: try request.runs.map { run in
            let read = try RemoteWriteDecoder.readLabels(message.span.bytes, run.labels, limits: limits)
            var labels: [Label] = []
            if case .labels(let found) = read { labels = found }
            return Meaning.Series(labels: labels, samples: Array(request.samples[run.samples]))
        })
}

@Suite(.computing) struct RemoteWriteDecoderTests {
    /// `WriteRequest{timeseries{labels{__name__="up"},samples{1.5, 1000}}}` by hand.
    private static let up: [UInt8] =
        [0x0A, 0x1E]
        + [0x0A, 0x0E, 0x0A, 0x08] + Array("__name__".utf8) + [0x12, 0x02] + Array("up".utf8)
        + [0x12, 0x0C, 0x09, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F, 0x10, 0xE8, 0x07]

    @Test("a message made by hand is read")
    func byHand() throws {
        let found = try meaning(Self.up)
        #expect(
            found
                == Meaning(series: [
                    .init(labels: [Label("__name__", "up")], samples: [TimedValue(timeMs: 1_000, value: 1.5)])
                ]))
    }

    @Test("unknown fields are read over, metadata is ignored, exemplars and histograms are counted")
    func others() throws {
        var series = Array(Self.up[2...])
        series += [0x1A, 0x02, 0x08, 0x01]  // an exemplar
        series += [0x22, 0x00, 0x22, 0x00]  // two native histograms
        series += [0x7D, 1, 2, 3, 4]  // field 15, 32 bits
        let message = [0x1A, 0x02, 0x08, 0x01] + [0x0A, UInt8(series.count)] + series + [0x78, 0x05]
        let request = try decode(message)
        #expect(request.samples == [TimedValue(timeMs: 1_000, value: 1.5)])
        #expect(request.metadata == 1 && request.exemplars == 1 && request.histograms == 2)
    }

    @Test("labels that stand apart have the identity of labels that stand together")
    func scattered() throws {
        let name = Array(Self.up[2..<18])
        let label: [UInt8] = [0x0A, 0x06, 0x0A, 0x01, 0x61, 0x12, 0x01, 0x62]
        let sample = Array(Self.up[18...])
        let together = [0x0A, UInt8(name.count + label.count + sample.count)] + name + label + sample
        let apart = [0x0A, UInt8(name.count + label.count + sample.count)] + name + sample + label
        let padded =
            [0x0A, UInt8(name.count + label.count + sample.count + 2)] + name + [0x78, 0x01] + label + sample
        let identities = try [together, apart, padded].map { try decode($0).runs[0].identity }
        #expect(identities[0] == identities[1] && identities[0] == identities[2])
        #expect(identities[0] != (try decode(Self.up).runs[0].identity))
        let expected = [Label("__name__", "up"), Label("a", "b")]
        for message in [together, apart, padded] {
            #expect(try meaning(message).series[0].labels == expected)
        }
    }

    @Test("values keep every bit, stale markers too, and times may be negative")
    func extremes() throws {
        let values = [
            RemoteWriteEncoder.staleMarker, .infinity, -0.0, .leastNonzeroMagnitude, .greatestFiniteMagnitude,
        ]
        let times = [Int64.min, -1, 0, 1, .max]
        var encoder = RemoteWriteEncoder()
        let samples = zip(times, values).map { TimedValue(timeMs: $0, value: $1) }
        encoder.add(labels: [Label("a", "b")], samples: samples)
        let read = try decode(encoder.message).samples
        #expect(read.map(\.timeMs) == times)
        #expect(read.map(\.value.bitPattern) == values.map(\.bitPattern))
    }

    @Test(
        "mutated messages are read, and refused, as the plain decoder does", arguments: [UInt64(21), 22, 23])
    func mutated(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var refused = 0
        for _ in 0..<700 {
            var message = Payloads.node(fields: 1, random: &random)
            if random.below(3) == 0 { message = Array(message.prefix(random.below(300))) }
            for _ in 0...random.below(3) where !message.isEmpty {
                message[random.below(message.count)] = random.below(2) == 0 ? random.byte() : 0x0A
            }
            // Labels with one name twice are dropped by us alone.
            let expected = try? SlowDecoder.meaning(message)
            let found = try? meaning(message)
            if let expected, let found {
                #expect(found.series.map(\.samples.count) == expected.series.map(\.samples.count))
                for (mine, theirs) in zip(found.series, expected.series) {
                    #expect(mine.samples.map(\.timeMs) == theirs.samples.map(\.timeMs), "seed \(seed)")
                    #expect(
                        mine.samples.map(\.value.bitPattern) == theirs.samples.map(\.value.bitPattern))
                    if !mine.labels.isEmpty { #expect(mine.labels == theirs.labels, "seed \(seed)") }
                }
            } else {
                refused += 1
                #expect((expected == nil) == (found == nil), "seed \(seed)")
            }
        }
        #expect(refused > 50 && refused < 650)
    }

    @Test("random bytes are an error or nothing, never a trap")
    func random() {
        var random = SeededRandom(seed: 24)
        for _ in 0..<5_000 {
            let bytes = (0..<random.below(80)).map { _ in random.below(3) == 0 ? 0x0A : random.byte() }
            let expected = try? SlowDecoder.meaning(bytes)
            #expect(((try? meaning(bytes)) == nil) == (expected == nil))
        }
    }

    @Test(
        "an error tells what is wrong and where",
        arguments: [
            ([0x0A], WireError(.truncated, at: 1)),
            ([0x0A, 0x05, 0x0A], WireError(.badLength, at: 1)),
            ([0x08, 0x01], WireError(.badWireType, at: 0)),
            ([0x0A, 0x02, 0x10, 0x01], WireError(.badWireType, at: 2)),
            ([0x0B], WireError(.badWireType, at: 0)),
            ([0x13, 0x00], WireError(.badWireType, at: 0)),
            ([0x00, 0x00], WireError(.badFieldNumber, at: 0)),
            ([0x0A, 0x04, 0x12, 0x02, 0x09, 0x00], WireError(.truncated, at: 5)),
            ([0x78] + [UInt8](repeating: 0xFF, count: 10), WireError(.badVarint, at: 1)),
        ] as [([UInt8], WireError)])
    func errors(message: [UInt8], expected: WireError) {
        #expect(throws: expected) { try decode(message) }
    }

    @Test("more samples than allowed are refused")
    func tooMany() {
        #expect(throws: WireError(.tooManySamples, at: 18)) { try decode(Self.up, samplesMax: 0) }
    }

    @Test("labels beyond the limits are refused, and corrupt ones are an error")
    func labelLimits() throws {
        func read(_ labels: [Label], _ change: (inout LabelLimits) -> Void = { _ in }) throws -> ReadLabels {
            var encoder = RemoteWriteEncoder()
            encoder.add(labels: labels, samples: [TimedValue(timeMs: 1, value: 1)])
            let run = try decode(encoder.message).runs[0]
            var limits = LabelLimits()
            change(&limits)
            return try RemoteWriteDecoder.readLabels(encoder.message.span.bytes, run.labels, limits: limits)
        }
        #expect(try read([Label("a", "b")]) == .labels([Label("a", "b")]))
        #expect(try read([]) == .refused(.none))
        #expect(try read([Label("", "b")]) == .refused(.emptyName))
        #expect(try read([Label("a", "1"), Label("a", "2")]) == .refused(.repeated))
        #expect(try read([Label("a", "b"), Label("c", "d")]) { $0.count = 1 } == .refused(.tooMany))
        #expect(try read([Label("a", "bcd")]) { $0.valueBytes = 2 } == .refused(.tooLong))
        #expect(try read([Label("abc", "d")]) { $0.nameBytes = 2 } == .refused(.tooLong))
        let notText: [UInt8] = [0x0A, 0x06, 0x0A, 0x01, 0x61, 0x12, 0x01, 0xFF]
        #expect(
            try RemoteWriteDecoder.readLabels(notText.span.bytes, 0..<8, limits: LabelLimits())
                == .refused(.notUTF8))
        let corrupt: [UInt8] = [0x0A, 0x03, 0x0A, 0x07, 0x61]
        #expect(throws: WireError(.badLength, at: 3)) {
            try RemoteWriteDecoder.readLabels(corrupt.span.bytes, 0..<5, limits: LabelLimits())
        }
    }
}

@Suite(.computing) struct RemoteWriteEncoderTests {
    @Test("the plain decoder reads what is encoded: labels sorted, empty ones left out")
    func encoded() throws {
        var encoder = RemoteWriteEncoder()
        let samples = [
            TimedValue(timeMs: 1_732_000_000_000, value: 0.1),
            TimedValue(timeMs: 1_732_000_015_000, value: -2),
        ]
        encoder.add(
            labels: [
                Label("rack", "r07"), Label("__name__", "rack:x:avg"), Label("hall", ""), Label("Z", "ü"),
            ],
            samples: samples)
        encoder.add(labels: [Label("a", "b")], samples: [])
        #expect(encoder.seriesCount == 1 && encoder.sampleCount == 2)
        let found = try SlowDecoder.meaning(encoder.message)
        let labels = [Label("Z", "ü"), Label("__name__", "rack:x:avg"), Label("rack", "r07")]
        #expect(found == Meaning(series: [.init(labels: labels, samples: samples)]))
        let message = encoder.message
        #expect(try Snappy.decode(encoder.finish(), limit: 1 << 20) == message)
        #expect(encoder.message.isEmpty && encoder.seriesCount == 0)
    }

    @Test("labels and times of every length of varint survive")
    func lengths() throws {
        var encoder = RemoteWriteEncoder()
        var expected = Meaning()
        for shift in 0..<63 {
            let value = String(repeating: "x", count: min(1 << min(shift, 15), 20_000))
            let sample = TimedValue(timeMs: 1 << Int64(shift), value: Double(shift))
            encoder.add(labels: [Label("l", value)], samples: [sample])
            expected.series.append(.init(labels: [Label("l", value)], samples: [sample]))
        }
        #expect(try SlowDecoder.meaning(encoder.message) == expected)
    }
}

@Suite(.computing) struct IdentityTests {
    @Test("one bit more or less, another salt or another seed is another identity")
    func differs() {
        var random = SeededRandom(seed: 31)
        for count in 0..<150 {
            let bytes = (0..<count).map { _ in random.byte() }
            var seen = Set<SeriesIdentity>()
            seen.insert(hasher.identity(bytes.span.bytes, 0..<count, salt: 0))
            seen.insert(hasher.identity(bytes.span.bytes, 0..<count, salt: 1))
            seen.insert(IdentityHasher(seed: (1, 3)).identity(bytes.span.bytes, 0..<count, salt: 0))
            seen.insert(IdentityHasher(seed: (2, 2)).identity(bytes.span.bytes, 0..<count, salt: 0))
            for bit in 0..<count * 8 {
                var changed = bytes
                changed[bit / 8] ^= 1 << UInt8(bit % 8)
                seen.insert(hasher.identity(changed.span.bytes, 0..<count, salt: 0))
            }
            if count > 0 { seen.insert(hasher.identity(bytes.span.bytes, 0..<count - 1, salt: 0)) }
            #expect(seen.count == 4 + count * 8 + (count > 0 ? 1 : 0), "\(count) bytes")
        }
    }

    @Test("zeros of different lengths differ")
    func zeros() {
        let zeros = [UInt8](repeating: 0, count: 200)
        let all = Set((0...200).map { hasher.identity(zeros.span.bytes, 0..<$0, salt: 0) })
        #expect(all.count == 201)
    }

    @Test("an identity depends on the bytes alone, and not on where they stand")
    func position() {
        let bytes = Array("xxlabelsyy".utf8)
        let alone = Array("labels".utf8)
        #expect(
            hasher.identity(bytes.span.bytes, 2..<8, salt: 5)
                == hasher.identity(alone.span.bytes, 0..<6, salt: 5))
    }
}
