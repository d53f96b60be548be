import Telemetry

/// Events that wait for the next closing, in pieces: in a storm the oldest are let go a piece at a time, and nothing
/// that stays is moved.
struct PendingEvents: Sendable {
    /// Oldest first.
    private var pieces: [[Event]] = []
    private(set) var count = 0

    /// Smaller pieces are filled up.
    private static let pieceCount = 1_024

    var isEmpty: Bool { count == 0 }
    var all: [Event] { pieces.count == 1 ? pieces[0] : pieces.flatMap(\.self) }

    mutating func append(_ events: [Event]) {
        guard !events.isEmpty else { return }
        count += events.count
        if let last = pieces.indices.last, pieces[last].count + events.count <= Self.pieceCount {
            pieces[last] += events
        } else {
            pieces.append(events)
        }
    }

    /// Puts older ones before the others.
    mutating func prepend(_ events: [Event]) {
        guard !events.isEmpty else { return }
        count += events.count
        pieces.insert(events, at: 0)
    }

    /// Forgets the oldest pieces until no more than that many are left, but never the newest piece.
    ///
    /// - Returns: how many events were forgotten.
    mutating func forget(beyond most: Int) -> Int {
        var forgotten = 0
        var gone = 0
        while count - forgotten > most, gone < pieces.count - 1 {
            forgotten += pieces[gone].count
            gone += 1
        }
        pieces.removeFirst(gone)
        count -= forgotten
        return forgotten
    }
}
