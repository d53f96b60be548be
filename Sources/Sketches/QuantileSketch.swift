/// A mergeable summary of a distribution: how many values fell into each exponential bucket.
///
/// Quantiles have a relative error of 0.55% at most. Merging adds counts, so that the result depends neither on the
/// order of the values nor on how they were divided: it is equal bit by bit.
public struct QuantileSketch: Sendable, Hashable {
    /// One bucket that holds something.
    public struct Bucket: Sendable, Hashable {
        public var key: SketchKey
        /// At least 1; stays at its greatest value instead of overflowing.
        public var count: UInt64

        @inlinable
        public init(key: SketchKey, count: UInt64) {
            self.key = key
            self.count = count
        }
    }

    /// In ascending order of their values; zero has the key 0, negative values have negative keys.
    public private(set) var buckets: [Bucket] = []

    public init() {}

    /// - Parameter sorted: ascending keys, each once, counts at least 1.
    init(sorted buckets: [Bucket]) { self.buckets = buckets }

    public init(_ values: some Sequence<Double>) {
        for value in values { add(value) }
    }

    public var isEmpty: Bool { buckets.isEmpty }

    /// How many values were added.
    public var count: UInt64 { buckets.reduce(0) { saturatingSum($0, $1.count) } }

    /// Adds a value `count` times.
    ///
    /// - Parameter value: finite. NaN and infinities are for the caller to reject.
    public mutating func add(_ value: Double, count: UInt64 = 1) {
        precondition(value.isFinite, "only finite values have a place in a sketch")
        guard count > 0 else { return }
        let key = SketchKey(value)
        var low = 0
        var high = buckets.count
        while low < high {
            let middle = (low + high) / 2
            if buckets[middle].key < key { low = middle + 1 } else { high = middle }
        }
        if low < buckets.count, buckets[low].key == key {
            buckets[low].count = saturatingSum(buckets[low].count, count)
        } else {
            buckets.insert(Bucket(key: key, count: count), at: low)
        }
    }

    public mutating func merge(_ other: QuantileSketch) {
        guard !other.isEmpty else { return }
        guard !isEmpty else {
            buckets = other.buckets
            return
        }
        var merged: [Bucket] = []
        merged.reserveCapacity(buckets.count + other.buckets.count)
        var left = 0
        var right = 0
        while left < buckets.count, right < other.buckets.count {
            let mine = buckets[left]
            let theirs = other.buckets[right]
            if mine.key == theirs.key {
                merged.append(Bucket(key: mine.key, count: saturatingSum(mine.count, theirs.count)))
                left += 1
                right += 1
            } else if mine.key < theirs.key {
                merged.append(mine)
                left += 1
            } else {
                merged.append(theirs)
                right += 1
            }
        }
        merged += buckets[left...]
        merged += other.buckets[right...]
        buckets = merged
    }

    /// What is in this sketch beyond another that was merged into it; `nil` where it was not.
    public func subtracting(_ other: QuantileSketch) -> QuantileSketch? {
        var rest = QuantileSketch()
        var next = 0
        for bucket in buckets {
            guard next < other.buckets.count, other.buckets[next].key == bucket.key else {
                rest.buckets.append(bucket)
                continue
            }
            guard other.buckets[next].count <= bucket.count else { return nil }
            let left = bucket.count - other.buckets[next].count
            if left > 0 { rest.buckets.append(Bucket(key: bucket.key, count: left)) }
            next += 1
        }
        return next == other.buckets.count ? rest : nil
    }

    public func merged(with other: QuantileSketch) -> QuantileSketch {
        var result = self
        result.merge(other)
        return result
    }

    /// The value that a share `q` of all values does not exceed, within 0.55%; `nil` when nothing was added.
    ///
    /// The rank is `q * (count - 1)` rounded down: 0 gives the least value, 1 the greatest.
    ///
    /// - Parameters:
    ///   - q: 0...1; beyond, it is clamped.
    ///   - range: the true minimum and maximum where they are known; the answer never leaves them.
    public func quantile(_ q: Double, clampedTo range: ClosedRange<Double>? = nil) -> Double? {
        guard let last = buckets.last else { return nil }
        let rank = Self.rank(q, of: count)
        var seen: UInt64 = 0
        var found = last.key
        for bucket in buckets {
            seen = saturatingSum(seen, bucket.count)
            if seen > rank {
                found = bucket.key
                break
            }
        }
        return Self.clamped(found.value, to: range)
    }

    static func rank(_ q: Double, of count: UInt64) -> UInt64 {
        guard count > 0, q > 0 else { return 0 }
        guard q < 1 else { return count - 1 }
        let rank = UInt64((q * Double(count - 1)).rounded(.down))
        return Swift.min(rank, count - 1)
    }

    static func clamped(_ value: Double, to range: ClosedRange<Double>?) -> Double {
        guard let range else { return value }
        return Swift.min(Swift.max(value, range.lowerBound), range.upperBound)
    }
}

@inlinable
func saturatingSum<Count: FixedWidthInteger & UnsignedInteger>(_ left: Count, _ right: Count) -> Count {
    let (sum, overflow) = left.addingReportingOverflow(right)
    return overflow ? .max : sum
}
