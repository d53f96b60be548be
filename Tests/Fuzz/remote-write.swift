import WireFormats

/// The walk that guesses against the plain walk, and the scanner of labels against the plain reading.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let message = input(start, count)
    let body = message.span.bytes
    let expected = runs(body, guessing: false)
    let found = runs(body, guessing: true)
    expect(found == expected, "\(String(describing: found)) but \(String(describing: expected))")
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
