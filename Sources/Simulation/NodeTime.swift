/// How many nodes are in some state, and for how long they have been, all together.
///
/// Arithmetic is unchecked, here and where a trajectory books: 500,000 nodes have fewer than 2^63 node-milliseconds in 580
/// years, and a scenario has a century at most.
///
/// Each change is booked with the time from it on. So changes may come in any order, and nothing has to be done in between.
struct NodeTime: Sendable {
    private let startMs: Int64
    private(set) var count = 0
    /// What `count` nodes from the start on would have more than these have.
    private var missingMs: Int64 = 0

    init(startMs: Int64) { self.startMs = startMs }

    @inline(__always)
    mutating func add(_ nodes: Int, at timeMs: Int64) {
        count &+= nodes
        missingMs &+= Int64(nodes) &* (timeMs &- startMs)
    }

    /// The same of changes at different times, whose sum is given, each counted from the start.
    @inline(__always)
    mutating func add(_ nodes: Int, sinceStartMs: Int64) {
        count &+= nodes
        missingMs &+= sinceStartMs
    }

    /// Without those.
    func less(_ others: NodeTime) -> NodeTime {
        var rest = self
        rest.count -= others.count
        rest.missingMs -= others.missingMs
        return rest
    }

    /// Node-milliseconds from the start to that time, which no change may come after.
    @inline(__always)
    func sum(until timeMs: Int64) -> Int64 { Int64(count) * (timeMs - startMs) - missingMs }
}
