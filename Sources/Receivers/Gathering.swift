/// How long an event loop rests after a round through its sockets, so that the next round finds requests of several senders.
///
/// Each round wakes a core, the log and the shards, whatever it brings; where cores sleep when they are idle that costs about as
/// much as a request itself. Network cards moderate their interrupts for the same reason. Nobody is held up who has more to send:
/// an event loop rests only as long as connections skip rounds, so when their senders pause for longer than a round takes. Rests
/// end by themselves when senders do not pause any more, and there are none for a few connections or for rare requests.
///
/// A pure value: times are nanoseconds of a clock that never goes back.
struct Gathering {
    /// A request is late by so much at most.
    static let restMaxNs: Int64 = 6_000_000
    /// Shorter rests cost more than they save.
    static let restMinNs: Int64 = 50_000
    /// Where connections come back sooner than in so many rounds, rests get shorter: so one is less than half of what senders pause.
    private static let roundsMin = 2.5
    /// Of one request in the mean.
    private static let weight = 1.0 / 32
    private static let stepNs: Int64 = 20_000

    /// Rounds that have begun.
    private(set) var rounds: UInt64 = 0
    /// From the answer on a connection to the next request on it, in rounds, 1 for the very next: the mean of the last requests.
    private var between = 0.0
    private var restNs: Int64 = 0
    private var beginNs: Int64 = 0
    /// Of the last round, with its rest.
    private var endNs: Int64?

    /// The round's first request is there.
    mutating func begin(nowNs: Int64) {
        rounds += 1
        beginNs = nowNs
    }

    /// A request came on a connection that was answered in that round, or behind it and before the next.
    mutating func came(answered round: UInt64) {
        between += (Double(rounds - round) - between) * Self.weight
    }

    /// The round's requests are handed on, and answered where nothing has to be waited for.
    ///
    /// - Returns: how long to rest now.
    mutating func end() -> Int64 {
        if between > Self.roundsMin {
            restNs = min(Self.restMaxNs, restNs + restNs / 8 + Self.stepNs)
        } else {
            restNs -= restNs / 4
            if restNs < Self.stepNs { restNs = 0 }
        }
        // Where nothing came for so long there is nothing to gather.
        let isRare = endNs.map { beginNs - $0 > Self.restMaxNs } ?? true
        return isRare || restNs < Self.restMinNs ? 0 : restNs
    }

    /// The round is over, and so is its rest.
    mutating func rested(nowNs: Int64) { endNs = nowNs }
}
