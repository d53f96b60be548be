/// What many runs say of one number: 5% lie below `low`, half below `median`, 95% below `high`.
public struct Band: Sendable, Codable, Hashable {
    public var low: Double
    public var median: Double
    public var high: Double

    public init(low: Double, median: Double, high: Double) {
        self.low = low
        self.median = median
        self.high = high
    }

    /// `nil` without values.
    public init?(_ values: some Sequence<Double>) {
        let sorted = values.sorted()
        guard !sorted.isEmpty else { return nil }
        low = quantile(sorted, 0.05)
        median = quantile(sorted, 0.5)
        high = quantile(sorted, 0.95)
    }
}

/// Linear between the order statistics (type 7 of Hyndman and Fan 1996).
///
/// - Parameter sorted: rising and not empty.
public func quantile(_ sorted: [Double], _ share: Double) -> Double {
    precondition(!sorted.isEmpty, "no values")
    let place = share * Double(sorted.count - 1)
    let left = Int(place.rounded(.down))
    let right = min(left + 1, sorted.count - 1)
    return sorted[left] + (place - Double(left)) * (sorted[right] - sorted[left])
}
