import WireFormats

/// A finding: libFuzzer writes down the input and stops.
func expect(_ isTrue: Bool, _ what: @autoclosure () -> String) {
    if !isTrue { fatalError(what()) }
}

/// The input as an array of exactly its length, so that Address Sanitizer sees every step beyond its end.
func input(_ start: UnsafePointer<UInt8>?, _ count: Int) -> [UInt8] {
    Array(UnsafeBufferPointer(start: start, count: count))
}

let hasher = IdentityHasher(seed: (1, 2))
let samplesMax = 1_000

/// What the scanner found, as the plain reading says it; the source is known by a hash alone.
func plain(_ scanned: ScannedLabels, _ bytes: RawSpan, source: String) -> GPULabels {
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
    labels.source = source
    return labels
}

/// Whether the scanner and the plain reading say the same of labels.
func compare(_ read: ReadLabels?, _ scanned: ScannedLabels??, _ bytes: RawSpan) {
    switch (read, scanned) {
    case (nil, nil): break
    case (.refused(.repeated)?, .some(.none)), (.refused?, .some(.none)): break
    case (.labels(let labels)?, .some(.some(let scanned))):
        let expected = GPULabels(labels)
        expect(plain(scanned, bytes, source: expected.source) == expected, "\(scanned) but \(expected)")
    // Names that differ in their bytes and are one to Unicode: strings know, bytes do not.
    case (.refused(.repeated)?, .some(.some)): break
    default: expect(false, "\(String(describing: read)) but \(String(describing: scanned))")
    }
}
