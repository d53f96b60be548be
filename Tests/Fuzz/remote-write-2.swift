import WireFormats

/// The decoder of remote write 2.0 against a plain reading of its messages that shares nothing with it, and against
/// libprotobuf.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let message = input(start, count)
    let body = message.span.bytes
    var request = WriteRequest()
    let isGood: Bool
    do {
        try RemoteWrite2Decoder.decode(
            body, hasher: hasher, salt: 7, samplesMax: samplesMax, into: &request)
        isGood = true
    } catch {
        if error.reason == .tooManySamples || error.reason == .tooManySymbols { return 0 }
        isGood = false
    }
    let expected = try? Plain(message)
    expect(isGood == (expected != nil), "one of the two says that it is corrupt")
    var reading = Reading(histograms: request.histograms, exemplars: request.exemplars)
    defer { compareWithLibprotobuf(message, isGood ? reading : nil, version: 2) }
    guard isGood, let expected else { return 0 }
    expect(request.runs.count == expected.series.count, "the number of series")
    expect(request.histograms == expected.histograms, "the number of histograms")
    expect(request.exemplars == expected.exemplars, "the number of exemplars")
    var wide = LabelLimits()
    (wide.count, wide.nameBytes, wide.valueBytes) = (.max, .max, .max)
    var limits = LabelLimits()
    limits.count = 8
    limits.valueBytes = 40
    var scanner = LabelScanner(limits: limits, hasher: hasher)
    for (run, series) in zip(request.runs, expected.series) {
        let samples = request.samples[run.samples].map {
            [UInt64(bitPattern: $0.timeMs), $0.value.bitPattern]
        }
        expect(samples == series.samples, "samples")
        let read = try? RemoteWrite2Decoder.readLabels(body, run.labels, of: request, limits: wide)
        if case .labels(let labels)? = read {
            let texts = labels.flatMap { [Array($0.name.utf8), Array($0.value.utf8)] }
            expect(texts == series.labels, "labels")
            reading.series.append(.init(texts: texts, samples: samples))
        } else {
            reading.series.append(.init(samples: samples))
        }
        compare(
            try? RemoteWrite2Decoder.readLabels(body, run.labels, of: request, limits: limits),
            try? .some(scanner.remoteWrite2(body, run.labels, symbolsOf: request)), body)
    }
    return 0
}

/// Splits a message into fields, and looks at them afterwards: slow, and easy to believe.
private struct Plain {
    struct Series {
        var labels: [[UInt8]] = []
        var samples: [[UInt64]] = []
    }

    var series: [Series] = []
    var histograms = 0
    var exemplars = 0

    init(_ message: [UInt8]) throws {
        let all = try Fields.split(message)
        for field in all where field.number == 4 || field.number == 5 {
            guard field.type == 2 else { throw Fields.Corrupt.strict }
        }
        let symbols = all.filter { $0.number == 4 }.map(\.bytes)
        for field in all where field.number == 5 { try add(Fields.split(field.bytes), symbols) }
    }

    private mutating func add(_ fields: [Fields.Field], _ symbols: [[UInt8]]) throws {
        var one = Series()
        for field in fields {
            switch field.number {
            case 1:
                var references: [UInt64] = []
                if field.type == 0 {
                    references = [field.integer]
                } else if field.type == 2 {
                    var rest = field.bytes[...]
                    while !rest.isEmpty { references.append(try Fields.varint(&rest)) }
                } else {
                    throw Fields.Corrupt.strict
                }
                for reference in references {
                    guard reference < UInt64(symbols.count) else { throw Fields.Corrupt.strict }
                    one.labels.append(symbols[Int(reference)])
                }
            case 2, 3, 4, 5:
                guard field.type == 2 else { throw Fields.Corrupt.strict }
                if field.number == 2 { one.samples.append(try Self.sample(field.bytes)) }
                if field.number == 3 { histograms += 1 }
                if field.number == 4 { exemplars += 1 }
            default: break
            }
        }
        guard one.labels.count % 2 == 0 else { throw Fields.Corrupt.strict }
        if !one.samples.isEmpty { series.append(one) }
    }

    private static func sample(_ bytes: [UInt8]) throws -> [UInt64] {
        var sample: [UInt64] = [0, 0]
        for field in try Fields.split(bytes) where field.number <= 2 {
            guard field.type == (field.number == 1 ? 1 : 0) else { throw Fields.Corrupt.strict }
            if field.number == 2 {
                sample[0] = field.integer
            } else {
                sample[1] = field.bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
            }
        }
        return sample
    }
}
