/// The buckets of one sketch, read once and used many times: for its quantiles, and to be added to others. Keeps its
/// memory from one sketch to the next.
public struct SketchBuckets: Sendable {
    /// The first `count` are the buckets, ascending.
    private var keys: [Int32] = []
    private var counts: [UInt32] = []
    /// Number of buckets.
    public private(set) var count = 0
    /// Number of values, with 32 bits a bucket.
    public private(set) var total: UInt64 = 0

    public init() {}

    public var isEmpty: Bool { count == 0 }
    var first: Int32 { keys[0] }
    var last: Int32 { keys[count - 1] }

    public mutating func removeAll() {
        count = 0
        total = 0
    }

    mutating func append(_ key: Int32, _ value: UInt32) {
        reserve(count + 1)
        keys[count] = key
        counts[count] = value
        count += 1
        total += UInt64(value)
    }

    mutating func reserve(_ wanted: Int) {
        let missing = wanted - keys.count
        guard missing > 0 else { return }
        let more = max(missing, keys.count, 64)
        keys.append(contentsOf: repeatElement(0, count: more))
        counts.append(contentsOf: repeatElement(0, count: more))
    }

    /// Reads an encoding that is part of an array; nothing for no bytes.
    ///
    /// - Throws: when the bytes are no sketch; there are no buckets then.
    @inline(__always)
    public mutating func read(_ bytes: [UInt8], in range: Range<Int>) throws(SketchDecodingError) {
        try read(bytes.span, in: range)
    }

    /// Reads an encoding; nothing for no bytes.
    ///
    /// - Throws: when the bytes are no sketch; there are no buckets then.
    public mutating func read(
        _ bytes: Span<UInt8>, in range: Range<Int>
    ) throws(SketchDecodingError) {
        removeAll()
        guard !range.isEmpty else { return }
        var position = range.lowerBound
        let end = range.upperBound
        let buckets = try SketchCoding.varint(bytes, &position, end)
        guard buckets >= 1, buckets <= UInt64(SketchCoding.bucketsMax), buckets <= UInt64(range.count) else {
            throw .tooManyBuckets(buckets)
        }
        reserve(Int(buckets))
        let sum = try Self.decode(bytes, &position, end, Int(buckets), &keys, &counts)
        guard position == end else { throw .trailingBytes(end - position) }
        count = Int(buckets)
        total = sum
    }

    /// - Returns: the sum of the counts.
    private static func decode(
        _ bytes: Span<UInt8>, _ position: inout Int, _ end: Int, _ buckets: Int,
        _ keyArray: inout [Int32], _ countArray: inout [UInt32]
    ) throws(SketchDecodingError) -> UInt64 {
        var keys = keyArray.mutableSpan
        var counts = countArray.mutableSpan
        let raw = try SketchCoding.varint(bytes, &position, end)
        guard raw <= UInt64(UInt32.max) else { throw .badKey }
        let bits = UInt32(truncatingIfNeeded: raw)
        var key = Int64(Int32(bitPattern: bits >> 1) ^ -Int32(bitPattern: bits & 1))
        var sum: UInt64 = 0
        for index in 0..<buckets {
            var value: UInt64
            // Mostly a step and a count of one byte each.
            if index > 0, position &+ 1 < end, (bytes[position] | bytes[position &+ 1]) < 0x80 {
                key &+= Int64(bytes[position]) &+ 1
                value = UInt64(bytes[position &+ 1])
                position &+= 2
            } else {
                if index > 0 {
                    let step = try SketchCoding.varint(bytes, &position, end)
                    guard step <= UInt64(UInt32.max) else { throw .badKey }
                    key &+= Int64(step) &+ 1
                }
                guard abs(key) <= Int64(SketchKey.rawMax) else { throw .badKey }
                value = try SketchCoding.varint(bytes, &position, end)
                value = min(value, UInt64(UInt32.max))
            }
            guard value > 0 else { throw .emptyBucket }
            keys[index] = Int32(truncatingIfNeeded: key)
            counts[index] = UInt32(truncatingIfNeeded: value)
            sum &+= value
        }
        guard abs(key) <= Int64(SketchKey.rawMax) else { throw .badKey }
        return sum
    }

    /// Three quantiles; as `QuantileSketch.quantile`.
    ///
    /// - Parameter shares: ascending, 0...1.
    /// - Returns: `nil` when there are no buckets.
    public func quantiles(
        _ shares: (Double, Double, Double), clampedTo range: ClosedRange<Double>?
    ) -> (Double, Double, Double)? {
        guard count > 0 else { return nil }
        let ranks: InlineArray<3, UInt64> = [
            QuantileSketch.rank(shares.0, of: total), QuantileSketch.rank(shares.1, of: total),
            QuantileSketch.rank(shares.2, of: total),
        ]
        var found = InlineArray<3, Double>(repeating: 0)
        let counts = counts.span
        var seen: UInt64 = 0
        var next = 0
        for place in 0..<count {
            seen &+= UInt64(counts[place])
            while next < 3, seen > ranks[next] {
                found[next] = QuantileSketch.clamped(SketchKey(rawValue: keys[place]).value, to: range)
                next += 1
            }
            if next == 3 { break }
        }
        return (found[0], found[1], found[2])
    }

    /// Adds buckets from `from` on to a run's counters; stops at one that the run has no counter for.
    ///
    /// - Returns: the number of buckets that are in.
    func add(
        from first: Int, to sketch: Int, _ runs: inout MutableSpan<SketchArena.Run>,
        _ counters: inout MutableSpan<UInt32>
    ) -> Int {
        let keys = keys.span
        let counts = counts.span
        let run = runs[sketch]
        for index in first..<count {
            let key = keys[index]
            if key == 0 {
                runs[sketch].zeros = saturatingSum(runs[sketch].zeros, counts[index])
                continue
            }
            let place = UInt32(bitPattern: key &- run.base)
            guard place < run.width else { return index }
            let counter = Int(run.offset &+ place)
            counters[counter] = saturatingSum(counters[counter], counts[index])
        }
        return count
    }

    func bucket(_ index: Int) -> (key: Int32, count: UInt32) { (keys[index], counts[index]) }
}

extension SketchArena {
    /// Reads the buckets of one sketch.
    public borrowing func read(_ sketch: Int, into buckets: inout SketchBuckets) {
        buckets.removeAll()
        let run = runs[sketch]
        buckets.reserve(Int(run.width) + 1)
        forEachBucket(of: sketch) { buckets.append($0, $1) }
    }

    /// Adds buckets to a sketch.
    public mutating func merge(_ buckets: borrowing SketchBuckets, into target: Int) {
        guard !buckets.isEmpty else { return }
        makeRoom(from: buckets.first, through: buckets.last, in: target)
        var next = 0
        while true {
            next = withCounters { buckets.add(from: next, to: target, &$0, &$1) }
            guard next < buckets.count else { return }
            let bucket = buckets.bucket(next)
            add(SketchKey(rawValue: bucket.key), to: target, count: bucket.count)
            next += 1
        }
    }
}
