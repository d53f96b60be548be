/// Where reading the finals of a cluster stands: when the stream is opened, from which place, and whose deliveries
/// count. A pure value; `FinalsReader` does what it says.
struct FinalsReading: Sendable {
    /// A place to open the stream at.
    struct Opening: Equatable, Sendable {
        /// Tells the deliveries of one opening from those of the others.
        var number: Int
        /// The first message that is wanted.
        var sequence: UInt64
    }

    private enum Phase: Equatable {
        /// The next tick opens.
        case due
        /// Only deliveries of this opening count.
        case open(Int)
        /// There is no room for more; closed on purpose.
        case resting
        case stopped
    }

    private var phase = Phase.due
    private var openings = 0
    /// Everything before this sequence has been handed on.
    private(set) var next: UInt64

    /// - Parameter sequence: the first message that is wanted.
    init(from sequence: UInt64) { next = max(1, sequence) }

    var isStopped: Bool { phase == .stopped }

    /// Whether what this opening delivers is handed on, and whether its cursor is kept.
    func isCurrent(_ number: Int) -> Bool { phase == .open(number) }

    /// Where to open, when it is time to. Whoever gets a place opens it, and asks then whether it is still wanted.
    mutating func open() -> Opening? {
        guard phase == .due else { return nil }
        openings += 1
        phase = .open(openings)
        return Opening(number: openings, sequence: next)
    }

    /// A message has been handed on.
    mutating func pass(_ sequence: UInt64) {
        next = max(next, sequence == .max ? sequence : sequence + 1)
    }

    /// Reading has ended by itself: the next tick goes on behind what was handed on. So a broker that refuses is asked
    /// once a tick.
    mutating func end(_ number: Int) {
        if isCurrent(number) { phase = .due }
    }

    /// Some of what was handed on already is wanted again.
    mutating func reread(from sequence: UInt64) {
        guard !isStopped else { return }
        next = sequence
        phase = .due
    }

    /// Nothing more is wanted for now.
    ///
    /// - Returns: whether this opening was the current one, so that its cursor is to be closed.
    mutating func rest(_ number: Int) -> Bool {
        guard isCurrent(number) else { return false }
        phase = .resting
        return true
    }

    /// More is wanted.
    mutating func wake() {
        if phase == .resting { phase = .due }
    }

    mutating func stop() { phase = .stopped }
}
