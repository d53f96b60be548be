/// What is known of finals that there was no room for, until they are read again. They are refused partition by partition,
/// each from its first on, so that what was taken of a partition is always the beginning of what it says.
struct RefusedFinals: Sendable {
    /// By partition, the first that was refused.
    private var first: [Int: UInt64] = [:]
    /// Windows that refused finals are of.
    private(set) var windows: Set<Int64> = []
    private let windowsMax: Int
    /// By partition, the last that was taken.
    private var taken: [Int: UInt64] = [:]
    /// Of that, what was taken before the last reading again: it comes a second time.
    private var repeated: [Int: UInt64] = [:]
    private var newest: UInt64 = 0
    private var newestRepeated: UInt64 = 0

    /// - Parameter windowsMax: windows that are counted; beyond, it makes no difference how many there are.
    init(windowsMax: Int) { self.windowsMax = windowsMax }

    var isEmpty: Bool { first.isEmpty }
    /// They are to be read again from here.
    var rereadFrom: UInt64? { first.values.min() }
    func has(_ partition: Int) -> Bool { first[partition] != nil }

    /// Whatever comes is seen first.
    ///
    /// - Returns: whether it comes for the first time.
    mutating func see(_ sequence: UInt64) -> Bool {
        newest = max(newest, sequence)
        return sequence > newestRepeated
    }

    func isTaken(_ sequence: UInt64, of partition: Int) -> Bool { sequence <= repeated[partition] ?? 0 }

    mutating func take(_ sequence: UInt64, of partition: Int) {
        taken[partition] = max(taken[partition] ?? 0, sequence)
    }

    mutating func refuse(_ sequence: UInt64, of partition: Int, window: Int64) {
        first[partition] = first[partition] ?? sequence
        if windows.count <= windowsMax { windows.insert(window) }
    }

    /// Windows up to this one are told.
    mutating func forget(through window: Int64) {
        if !windows.isEmpty { windows = windows.filter { $0 > window } }
    }

    /// All of them are read again from `rereadFrom` on.
    mutating func readAgain() {
        first = [:]
        windows = []
        repeated = taken
        newestRepeated = newest
    }
}
