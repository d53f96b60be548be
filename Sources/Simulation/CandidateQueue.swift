/// Nodes that became ready and may join the job, oldest first; some have failed again since.
///
/// A rack that becomes ready is one entry: its first node, and a bit for each node that passed.
struct CandidateQueue: Sendable {
    struct Entry: Sendable {
        var first: Int32
        /// Bit k stands for node `first` + k.
        var nodes: UInt8
    }

    private var entries: [Entry] = []
    private var head = 0
    private var end = 0

    var isEmpty: Bool { head == end }

    mutating func removeAll() { (head, end) = (0, 0) }

    @inline(__always)
    mutating func append(_ node: Int) { append(Entry(first: Int32(node), nodes: 1)) }

    @inline(__always)
    mutating func append(_ entry: Entry) {
        if end < entries.count { entries[end] = entry } else { entries.append(entry) }
        end += 1
    }

    @inline(__always)
    mutating func removeFirst() -> Entry? {
        guard head < end else {
            (head, end) = (0, 0)
            return nil
        }
        head += 1
        return entries[head - 1]
    }

    /// What was taken out last and has not been used up is the first again.
    mutating func putBack(_ entry: Entry) {
        head -= 1
        entries[head] = entry
    }
}
