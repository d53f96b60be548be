import Synchronization

/// Keeps one kind of entry from filling the journal: so many of a kind in an interval pass, the others are counted, and
/// the count is told.
///
/// A pure state machine; time comes in. Kinds are bounded: beyond `kindsMax` they share one.
public struct LogGate: Sendable {
    /// Entries of a kind that pass in an interval.
    public var burst = 50
    public var intervalMs: Int64 = 30_000
    static let kindsMax = 1_000
    private static let others = "other kinds"

    public enum Verdict: Sendable, Equatable {
        /// With how many of this kind were held back since the last that passed.
        case pass(heldBack: Int)
        case hold
    }

    private struct Kind: Sendable {
        var beganMs: Int64
        var passed = 0
        var held = 0
    }

    private var kinds: [String: Kind] = [:]
    /// Of all kinds, since the process began.
    public private(set) var heldTotal = 0

    public init() {}

    public mutating func admit(_ name: String, nowMs: Int64) -> Verdict {
        let name = kinds[name] != nil || kinds.count < Self.kindsMax ? name : Self.others
        var kind = kinds[name] ?? Kind(beganMs: nowMs)
        defer { kinds[name] = kind }
        // A clock that was set back must not hold entries for long.
        if nowMs - kind.beganMs >= intervalMs || nowMs < kind.beganMs {
            kind.beganMs = nowMs
            kind.passed = 0
        }
        guard kind.passed < burst else {
            kind.held += 1
            heldTotal += 1
            return .hold
        }
        kind.passed += 1
        let held = kind.held
        kind.held = 0
        return .pass(heldBack: held)
    }

    /// Kinds of which nothing came any more after some were held back: their counts, told once; and forgets the rest.
    public mutating func settle(nowMs: Int64) -> [(name: String, heldBack: Int)] {
        let over = kinds.filter { nowMs - $0.value.beganMs >= intervalMs || nowMs < $0.value.beganMs }
        for name in over.keys { kinds[name] = nil }
        return over.filter { $0.value.held > 0 }.map { ($0.key, $0.value.held) }.sorted { $0.name < $1.name }
    }
}
