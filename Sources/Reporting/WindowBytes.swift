/// How many bytes a window has when it is sent, as a mean of those that were sent lately: with it, what waits is estimated
/// without being encoded.
struct WindowBytes: Sendable {
    /// What is left of the weight of older windows with each new one.
    static let keep = 0.9
    private static let lanesMax = 64

    private var bytes = 0.0
    private var windows = 0.0
    /// The parts that were counted last, by lane: sent again, they count once.
    private var last: [Int: (id: String, sequence: Int64)] = [:]

    /// `nil` before the first.
    var mean: Double? { windows > 0 ? bytes / windows : nil }

    mutating func sent(_ count: Int, of part: Part, lane: Int) {
        guard !part.isPiece, last[lane]?.id != part.id else { return }
        // Of a window whose first part went out earlier, or elsewhere, the size is not known.
        guard part.index == 0 || last[lane]?.sequence == part.sequence else { return }
        if last.count >= Self.lanesMax { last = [:] }
        last[lane] = (part.id, part.sequence)
        if part.index == 0 {
            for _ in 0..<part.windows {
                bytes *= Self.keep
                windows *= Self.keep
            }
            windows += Double(part.windows)
        }
        bytes += Double(count)
    }
}
