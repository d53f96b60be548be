import WireFormats

/// Exposition text: nothing traps, each sample has labels that can be read, and the scanner reads them as strings do.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let text = input(start, count)
    let bytes = text.span.bytes
    var page = ExpositionPage()
    guard
        (try? ExpositionParser.parse(
            bytes, arrivalMs: 1_764_000_000_000, hasher: hasher, salt: 7, samplesMax: samplesMax, into: &page))
            != nil
    else { return 0 }
    expect(page.request.runs.count == page.lines.count, "a line for each run")
    let limits = LabelLimits()
    var scanner = LabelScanner(limits: limits, hasher: hasher)
    var scratch: [UInt8] = []
    for run in page.request.runs {
        expect(run.labels.upperBound <= text.count && run.sampleCount == 1, "a run within the page")
        let read = ExpositionParser.readLabels(bytes, run.labels, limits: limits)
        scratch.removeAll()
        let scanned = scanner.labels(read, scratch: &scratch)
        compare(read, .some(scanned), scratch.span.bytes)
    }
    return 0
}
