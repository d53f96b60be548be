/// The walk for messages as Prometheus and its kin make them.
///
/// A series of one sample ends with the bytes of that sample, and the bytes before are its labels: so much can be
/// seen from the end, without a step over each label. It is a guess: a series may also have two samples, of which
/// the last looks like this. It is right for certain when the identity of those labels is known already, because only
/// labels that were stepped over, one by one, become known; for all others there is `confirm`.
extension RemoteWriteDecoder {
    /// Reads like `decode`, with guesses where they can be made.
    ///
    /// Resolving each run that `isGuess` as its documentation says gives exactly what `decode` gives.
    public static func decodeGuessing(
        _ body: RawSpan, hasher: IdentityHasher, salt: UInt64, samplesMax: Int,
        into request: inout WriteRequest
    ) throws(WireError) {
        request.removeAll()
        guard body.byteCount <= Int(Int32.max) else { throw WireError(.tooLarge, at: 0) }
        var offset = 0
        while offset < body.byteCount {
            guessSeries(body, &offset, hasher, salt, samplesMax, &request)
            guard offset < body.byteCount else { return }
            try field(body, &offset, hasher, salt, samplesMax, &request)
        }
    }

    /// Whether a guess was right: there are labels from the start of the series to its only sample.
    ///
    /// When it was not, `series(of:)` reads the series again, with all checks.
    public static func confirm(_ guess: SeriesRun, in body: RawSpan) -> Bool {
        var offset = guess.labels.lowerBound
        let end = guess.labels.upperBound
        while offset < end {
            guard body.byte(offset) == 0x0A else { return false }
            offset += 1
            guard let length = try? Proto.length(body, &offset, end) else { return false }
            offset += length
        }
        return true
    }

    /// Reads the series of a wrong guess into `request`, which is emptied first.
    public static func series(
        of guess: SeriesRun, in body: RawSpan, hasher: IdentityHasher, salt: UInt64, samplesMax: Int,
        into request: inout WriteRequest
    ) throws(WireError) {
        request.removeAll()
        try series(body, Int(guess.labelStart)..<guess.seriesEnd, hasher, salt, samplesMax, &request)
    }

    /// Runs that are collected before they are appended: less to do for each.
    private static let chunk = 128
    /// `12 10 09 vvvvvvvv 10 tttttt`: a sample with a value and a time between 1971 and 2109.
    private static let longTail = 18
    /// `12 07 10 tttttt`: the same with the value 0, which is not written.
    private static let shortTail = 9

    // From here on raw memory, for speed. Invariants: `offset <= end`; a series lies within `start ..< seriesEnd`,
    // and `seriesEnd <= end` was checked. Reads near its end are behind `start + 2` by the check of its length, and
    // nothing else is read but by `identity`, which stays in its range.

    /// Reads series as long as they can be guessed, and stops before the first field that can not.
    private static func guessSeries(
        _ body: RawSpan, _ first: inout Int, _ hasher: IdentityHasher, _ salt: UInt64, _ samplesMax: Int,
        _ request: inout WriteRequest
    ) {
        body.withUnsafeBytes { bytes in
            withUnsafeTemporaryAllocation(of: SeriesRun.self, capacity: chunk) { runs in
                withUnsafeTemporaryAllocation(of: TimedValue.self, capacity: chunk) { samples in
                    guard let base = bytes.baseAddress, let runs = runs.baseAddress,
                        let samples = samples.baseAddress
                    else { return }
                    while true {
                        let room = min(chunk, samplesMax - request.samples.count)
                        let count = guessChunk(
                            base, &first, bytes.count, hasher, salt, request.samples.count, room, runs,
                            samples)
                        request.runs.append(contentsOf: UnsafeBufferPointer(start: runs, count: count))
                        request.samples.append(contentsOf: UnsafeBufferPointer(start: samples, count: count))
                        guard count == chunk else { return }
                    }
                }
            }
        }
    }

    /// - Parameters:
    ///   - known: samples that the request has already.
    ///   - room: how many may be written to `runs` and `samples`, which have no values before.
    /// - Returns: how many were written.
    private static func guessChunk(
        _ bytes: UnsafeRawPointer, _ first: inout Int, _ end: Int, _ hasher: IdentityHasher, _ salt: UInt64,
        _ known: Int, _ room: Int, _ runs: UnsafeMutablePointer<SeriesRun>,
        _ samples: UnsafeMutablePointer<TimedValue>
    ) -> Int {
        var offset = first
        var count = 0
        while count < room, end &- offset >= 4, bytes.load(fromByteOffset: offset, as: UInt8.self) == 0x0A {
            // A length of one or two bytes: series of less than 16 KiB.
            let low = Int(bytes.load(fromByteOffset: offset &+ 1, as: UInt8.self))
            let high = Int(bytes.load(fromByteOffset: offset &+ 2, as: UInt8.self))
            guard low < 0x80 || high < 0x80 else { break }
            let length = low < 0x80 ? low : low & 0x7F | high &<< 7
            let start = offset &+ (low < 0x80 ? 2 : 3)
            guard length <= end &- start, length > longTail else { break }
            let seriesEnd = start &+ length
            guard let timeMs = time(bytes, seriesEnd) else { break }
            let value: Double
            let tail: Int
            let long = bytes.loadUnaligned(fromByteOffset: seriesEnd &- longTail, as: UInt32.self)
            if UInt32(littleEndian: long) & 0xFF_FFFF == 0x09_1012 {
                tail = longTail
                let bits = bytes.loadUnaligned(fromByteOffset: seriesEnd &- longTail &+ 3, as: UInt64.self)
                value = Double(bitPattern: UInt64(littleEndian: bits))
            } else {
                let short = bytes.loadUnaligned(fromByteOffset: seriesEnd &- shortTail, as: UInt16.self)
                guard UInt16(littleEndian: short) == 0x0712 else { break }
                tail = shortTail
                value = 0
            }
            let labelEnd = seriesEnd &- tail
            let identity = hasher.identity(bytes + start, labelEnd &- start, salt: salt)
            (runs + count).initialize(
                to: SeriesRun(
                    guess: identity, labelStart: start, labelEnd: labelEnd,
                    tail: UInt32(truncatingIfNeeded: tail), sample: known &+ count))
            (samples + count).initialize(to: TimedValue(timeMs: timeMs, value: value))
            count &+= 1
            offset = seriesEnd
        }
        first = offset
        return count
    }

    /// The time in the last 6 bytes before `end`, if they are field 2 of a sample as a varint of 6 bytes.
    @inline(__always)
    private static func time(_ bytes: UnsafeRawPointer, _ end: Int) -> Int64? {
        time(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: end &- 8, as: UInt64.self)))
    }

    /// The same of 8 bytes, of which the first may be anything.
    @inline(__always)
    static func time(_ word: UInt64) -> Int64? {
        // The byte 0x10, five bytes with the upper bit, one without.
        guard (word >> 8) & 0xFF == 0x10, word & 0x8080_8080_8080_0000 == 0x0080_8080_8080_0000 else {
            return nil
        }
        let bits = (word >> 16) & 0x7F7F_7F7F_7F7F
        let low = (bits & 0x7F) | (bits >> 1 & 0x3F80) | (bits >> 2 & 0x1F_C000)
        let high = (bits >> 3 & 0xFE0_0000) | (bits >> 4 & 0x7_F000_0000) | (bits >> 5 & 0x3F8_0000_0000)
        return Int64(bitPattern: low | high)
    }
}
