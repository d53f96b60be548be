import WireFormats

/// The walk that guesses against the plain walk, the scanner of labels against the plain reading, and all that is read
/// against libprotobuf.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let message = input(start, count)
    let body = message.span.bytes
    let expected = runs(body, guessing: false)
    let found = runs(body, guessing: true)
    expect(found == expected, "\(String(describing: found)) but \(String(describing: expected))")
    compareWithLibprotobuf(message, reading(body), version: 1)
    guard let expected else { return 0 }
    var limits = LabelLimits()
    limits.count = 8
    limits.valueBytes = 40
    var scanner = LabelScanner(limits: limits, hasher: hasher)
    for run in expected {
        compare(
            try? RemoteWriteDecoder.readLabels(body, run.labels, limits: limits),
            try? .some(scanner.remoteWrite(body, run.labels)), body)
    }
    return 0
}

/// What our plain walk reads, labels included; `nil` if it says that the message is corrupt.
private func reading(_ body: RawSpan) -> Reading? {
    var request = WriteRequest()
    var wide = LabelLimits()
    (wide.count, wide.nameBytes, wide.valueBytes) = (.max, .max, .max)
    do {
        // As many as fit into an input: the number of samples is not what is compared here.
        try RemoteWriteDecoder.decode(body, hasher: hasher, salt: 7, samplesMax: .max, into: &request)
        var reading = Reading(histograms: request.histograms, exemplars: request.exemplars)
        for run in request.runs {
            var series = Reading.Series()
            series.samples = request.samples[run.samples].map {
                [UInt64(bitPattern: $0.timeMs), $0.value.bitPattern]
            }
            if case .labels(let labels) = try RemoteWriteDecoder.readLabels(body, run.labels, limits: wide) {
                series.texts = labels.flatMap { [Array($0.name.utf8), Array($0.value.utf8)] }
            }
            reading.series.append(series)
        }
        return reading
    } catch {
        return nil
    }
}

private struct Run: Equatable {
    var identity: SeriesIdentity
    var labels: Range<Int>
    /// Times and the bits of values.
    var samples: [[UInt64]]
}

/// What a message brings to a receiver that knows no series, or `nil` if it is corrupt.
private func runs(_ body: RawSpan, guessing: Bool) -> [Run]? {
    var request = WriteRequest()
    do {
        let decode = guessing ? RemoteWriteDecoder.decodeGuessing : RemoteWriteDecoder.decode
        try decode(body, hasher, 7, samplesMax, &request)
        var runs: [Run] = []
        func add(_ run: SeriesRun, _ request: WriteRequest) {
            runs.append(
                Run(
                    identity: run.identity, labels: run.labels,
                    samples: request.samples[run.samples].map {
                        [UInt64(bitPattern: $0.timeMs), $0.value.bitPattern]
                    }))
        }
        for run in request.runs {
            guard run.isGuess, !RemoteWriteDecoder.confirm(run, in: body) else {
                add(run, request)
                continue
            }
            var series = WriteRequest()
            try RemoteWriteDecoder.series(
                of: run, in: body, hasher: hasher, salt: 7, samplesMax: samplesMax, into: &series)
            for run in series.runs { add(run, series) }
        }
        return runs.reduce(0) { $0 + $1.samples.count } <= samplesMax ? runs : nil
    } catch {
        return nil
    }
}
