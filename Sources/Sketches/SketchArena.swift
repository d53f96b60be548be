/// Many sketches in two allocations, for the hot path: each has a run of counters around its own keys, which grows
/// when a value falls outside.
///
/// What lies too far away for one run (a second sign, a range of more than 2^128) goes into a table that all share:
/// slower, and just as exact. Counters are 32 bits wide and stay at their greatest value instead of overflowing.
public struct SketchArena: ~Copyable, Sendable {
    /// Where a sketch's counters are.
    public struct Run: Sendable {
        /// Index of the first counter.
        @usableFromInline var offset: UInt32 = 0
        /// Key of the first counter.
        @usableFromInline var base: Int32 = 0
        /// Number of counters: 0, or a power of two.
        @usableFromInline var width: UInt32 = 0
        @usableFromInline var zeros: UInt32 = 0

        @usableFromInline init() {}
    }

    /// Where a run was before everything was forgotten.
    private struct Hint: Sendable {
        var base: Int32 = 0
        var width: UInt32 = 0
    }

    private static let forgetEvery = 16
    private var hints: [Hint] = []
    private var emptied = 0

    /// Counters of a run at first, and at most: 128 octaves.
    static let widthMin: Int32 = 16
    static let widthMax: Int32 = 8_192

    @usableFromInline var runs: [Run] = []
    @usableFromInline var counters: [UInt32] = []
    /// By sketch and key.
    private var strays: [Int: [Int32: UInt32]] = [:]
    /// Buckets that are being merged; kept for its memory.
    private var scratch = SketchBuckets()

    public init(count: Int = 0) { resize(to: count) }

    /// Number of sketches.
    public var count: Int { runs.count }

    /// Appends empty sketches up to that number.
    public mutating func resize(to count: Int) {
        guard count > runs.count else { return }
        runs.append(contentsOf: repeatElement(Run(), count: count - runs.count))
    }

    /// Forgets everything, and keeps the memory.
    ///
    /// What comes next is taken to be much like what was there: a run that is made again is at once as wide as it
    /// was, for as long as nothing has to grow. Now and then that is forgotten, so that one odd value does not
    /// widen a run for ever.
    public mutating func removeAll() {
        emptied += 1
        if emptied % Self.forgetEvery == 0 {
            hints.removeAll(keepingCapacity: true)
        } else {
            if hints.count < runs.count {
                hints.append(contentsOf: repeatElement(Hint(), count: runs.count - hints.count))
            }
            for sketch in runs.indices where runs[sketch].width > 0 {
                hints[sketch] = Hint(base: runs[sketch].base, width: runs[sketch].width)
            }
        }
        runs.removeAll(keepingCapacity: true)
        counters.removeAll(keepingCapacity: true)
        strays.removeAll()
    }

    /// Gives direct access to the counters, for loops that add with `SketchArena.add`.
    @inlinable @inline(__always)
    public mutating func withCounters<Result>(
        _ body: (inout MutableSpan<Run>, inout MutableSpan<UInt32>) -> Result
    ) -> Result {
        Self.withSpans(&runs, &counters, body)
    }

    /// Apart, because only as arguments are two properties seen to be two.
    @inlinable @inline(__always)
    static func withSpans<Result>(
        _ runs: inout [Run], _ counters: inout [UInt32],
        _ body: (inout MutableSpan<Run>, inout MutableSpan<UInt32>) -> Result
    ) -> Result {
        var runSpan = runs.mutableSpan
        var counterSpan = counters.mutableSpan
        return body(&runSpan, &counterSpan)
    }

    /// The index of a key's counter, or -1 where there is none, for `count`. It holds until something is added that needs
    /// room.
    @inlinable @inline(__always)
    public static func find(_ key: SketchKey, in sketch: Int, _ runs: borrowing MutableSpan<Run>) -> Int32 {
        let run = runs[sketch]
        let place = UInt32(bitPattern: key.rawValue &- run.base)
        let index = run.offset &+ place
        // A zero has no counter in the run, and far behind so many of them none is told.
        return place < run.width && key.rawValue != 0 && index <= UInt32(Int32.max)
            ? Int32(bitPattern: index) : -1
    }

    /// Adds to a counter that was found.
    @inlinable @inline(__always)
    public static func count(_ index: Int, _ counters: inout MutableSpan<UInt32>) {
        counters[index] = saturatingSum(counters[index], 1)
    }

    /// Adds to a counter that is there already.
    ///
    /// - Returns: false when the run has to grow first: nothing was added, call `add(_:to:count:)` on the arena.
    @inlinable @inline(__always)
    public static func add(
        _ key: SketchKey, to sketch: Int, count: UInt32 = 1, _ runs: inout MutableSpan<Run>,
        _ counters: inout MutableSpan<UInt32>
    ) -> Bool {
        if key.rawValue == 0 {
            runs[sketch].zeros = saturatingSum(runs[sketch].zeros, count)
            return true
        }
        let run = runs[sketch]
        let place = UInt32(bitPattern: key.rawValue &- run.base)
        guard place < run.width else { return false }
        let index = Int(run.offset &+ place)
        counters[index] = saturatingSum(counters[index], count)
        return true
    }

    /// Adds, growing the run where needed.
    public mutating func add(_ key: SketchKey, to sketch: Int, count: UInt32 = 1) {
        let added = withCounters { SketchArena.add(key, to: sketch, count: count, &$0, &$1) }
        guard !added, count > 0 else { return }
        if grow(sketch, toHold: key.rawValue, through: key.rawValue) {
            _ = withCounters { SketchArena.add(key, to: sketch, count: count, &$0, &$1) }
        } else {
            let known = strays[sketch]?[key.rawValue] ?? 0
            strays[sketch, default: [:]][key.rawValue] = saturatingSum(known, count)
        }
    }

    /// Adds one sketch of another arena.
    public mutating func merge(_ sketch: Int, of other: borrowing SketchArena, into target: Int) {
        other.forEachBucket(of: sketch) { key, count in
            add(SketchKey(rawValue: key), to: target, count: count)
        }
    }

    /// Makes one sketch empty; its counters stay its own.
    public mutating func clear(_ sketch: Int) {
        let run = runs[sketch]
        for place in 0..<Int(run.width) { counters[Int(run.offset) + place] = 0 }
        runs[sketch].zeros = 0
        strays[sketch] = nil
    }

    /// Adds an encoded sketch.
    ///
    /// - Throws: when the bytes are no sketch; nothing has been added then.
    public mutating func merge(
        encoded bytes: ArraySlice<UInt8>, into target: Int
    ) throws(SketchDecodingError) {
        var buckets = SketchBuckets()
        swap(&buckets, &scratch)
        defer { swap(&buckets, &scratch) }
        try buckets.read(bytes.span, in: 0..<bytes.count)
        merge(buckets, into: target)
    }

    /// Adds values that lie next to each other; all must be finite.
    ///
    /// - Parameter extremes: their least and greatest, so that the run is made wide enough at once.
    public mutating func add(
        _ values: Span<Double>, in range: Range<Int>, extremes: (Double, Double), to sketch: Int
    ) {
        makeRoom(
            from: SketchKey(extremes.0).rawValue, through: SketchKey(extremes.1).rawValue, in: sketch)
        var next = range.lowerBound
        while next < range.upperBound {
            next = withCounters { runs, counters in
                var index = next
                while index < range.upperBound {
                    guard SketchArena.add(SketchKey(values[index]), to: sketch, &runs, &counters) else {
                        return index
                    }
                    index += 1
                }
                return index
            }
            if next < range.upperBound {
                add(SketchKey(values[next]), to: sketch)
                next += 1
            }
        }
    }

    /// Widens a run so that it holds the keys from `low` through `high`, where a run may.
    mutating func makeRoom(from low: Int32, through high: Int32, in sketch: Int) {
        // Zero has a counter of its own.
        let first = low == 0 ? 1 : low
        let last = high == 0 ? -1 : high
        guard first <= last else { return }
        let run = runs[sketch]
        if run.width > 0, first >= run.base, last < run.base + Int32(run.width) { return }
        if (first > 0) == (last > 0) { _ = grow(sketch, toHold: first, through: last) }
    }

    /// Appends the encoding of a sketch; nothing for an empty one.
    public borrowing func encode(_ sketch: Int, into bytes: inout [UInt8]) {
        var encoder = SketchEncoder()
        encode(sketch, into: &encoder)
        bytes += encoder.bytes
    }

    /// The same, many times in a row.
    public borrowing func encode(_ sketch: Int, into encoder: inout SketchEncoder) {
        if !strays.isEmpty, strays[sketch] != nil {
            encoder.append(self.sketch(sketch).encoded())
            return
        }
        let run = runs[sketch]
        let counters = counters.span
        var buckets = run.zeros > 0 ? 1 : 0
        // Neither can overflow; without the checks the loop is vectorised.
        let first = Int(run.offset)
        for place in first..<first &+ Int(run.width) { buckets &+= counters[place] > 0 ? 1 : 0 }
        guard buckets > 0 else { return }
        encoder.write(run, counters, buckets)
    }

    /// The sketch as a value of its own.
    public borrowing func sketch(_ sketch: Int) -> QuantileSketch {
        var buckets: [QuantileSketch.Bucket] = []
        forEachBucket(of: sketch) { key, count in
            buckets.append(.init(key: SketchKey(rawValue: key), count: UInt64(count)))
        }
        return QuantileSketch(sorted: buckets)
    }

    /// Calls `body` with the buckets that hold something, in ascending order.
    borrowing func forEachBucket(of sketch: Int, _ body: (Int32, UInt32) -> Void) {
        let run = runs[sketch]
        if !strays.isEmpty, let strays = strays[sketch] {
            for (key, count) in sorted(sketch, with: strays) { body(key, count) }
            return
        }
        let zerosFirst = run.width == 0 || run.base > 0
        if zerosFirst, run.zeros > 0 { body(0, run.zeros) }
        let first = Int(run.offset)
        let counters = counters.span
        for place in 0..<Int(run.width) {
            let count = counters[first + place]
            if count > 0 { body(run.base + Int32(place), count) }
        }
        if !zerosFirst, run.zeros > 0 { body(0, run.zeros) }
    }

    private borrowing func sorted(_ sketch: Int, with strays: [Int32: UInt32]) -> [(Int32, UInt32)] {
        var all = strays.map { ($0.key, $0.value) }
        let run = runs[sketch]
        if run.zeros > 0 { all.append((0, run.zeros)) }
        for place in 0..<Int(run.width) where counters[Int(run.offset) + place] > 0 {
            all.append((run.base + Int32(place), counters[Int(run.offset) + place]))
        }
        return all.sorted { $0.0 < $1.0 }
    }

    /// Moves a run to the end of the counters, wide enough for the keys `low ... high` and what it has already.
    ///
    /// - Returns: false when no run may be so wide, or when it would span both signs.
    private mutating func grow(_ sketch: Int, toHold low: Int32, through high: Int32) -> Bool {
        let old = runs[sketch]
        let oldEnd = old.base + Int32(old.width)
        if old.width > 0, (old.base > 0) != (low > 0) { return false }
        let first = old.width == 0 ? low : min(low, old.base)
        let end = old.width == 0 ? high + 1 : max(high + 1, oldEnd)
        var width = Self.widthMin
        while width < end - first { width *= 2 }
        guard width <= Self.widthMax, counters.count + Int(width) <= Int(UInt32.max) else { return false }
        // The spare counters go to both sides, but a run never reaches zero: that has a counter of its own.
        var base = first - (width - (end - first)) / 2
        if first > 0 { base = max(base, 1) } else { base = min(base, -width) }
        if old.width == 0, sketch < hints.count {
            let hint = hints[sketch]
            if hint.width > 0, first >= hint.base, end <= hint.base + Int32(hint.width) {
                base = hint.base
                width = Int32(hint.width)
            }
        }
        let offset = counters.count
        HugePages.reserve(&counters, offset + Int(width))
        counters.append(contentsOf: repeatElement(0, count: Int(width)))
        for place in 0..<Int(old.width) {
            counters[offset + Int(old.base - base) + place] = counters[Int(old.offset) + place]
        }
        runs[sketch].offset = UInt32(offset)
        runs[sketch].base = base
        runs[sketch].width = UInt32(width)
        return true
    }
}
