import Telemetry

/// One step of closing a stream, as decided by its control: everything that the roller has to know besides the
/// shares of the shards.
struct CloseStep: Sendable {
    /// Windows that end by this time are closed with this step.
    var throughMs: Int64
    /// Windows from here on are made even if nothing was heard in them; `nil` passes over what is empty.
    var emptyFromMs: Int64?
    /// Starts of windows that a tick fell into: they are made even if no GPU was there.
    var tickedMs: [Int64]
    /// The expected GPUs come from the ticks, not from the topology.
    var isFleet: Bool
    /// The event times of each sender that is expected; none for simulated streams.
    var senders: [Heard]
    var faults: FaultTable
    var jobs: JobSnapshot
    var jobNames: [String]
    var events: PendingEvents
    /// What was rejected before the core.
    var accounted: Ledger
    /// The stream ends: rollups are closed although they are not full.
    var isFinal: Bool
    /// What was received before this place in the log is in the ledgers of the step.
    var cut: LogPosition?
    /// Monotonic, nanoseconds: when it was decided.
    var decidedAtNs: UInt64

    /// What a sender has told, from the first to the newest event time since the stream was opened.
    struct Heard: Sendable, Hashable {
        var firstMs: Int64
        var newestMs: Int64
        /// It may have told of times before `firstMs` to a process that is no more, or was already there when the
        /// stream began: it is missed in windows before.
        var isMissedBefore: Bool
    }

    /// Share of the expected senders that was heard in a window: one whose event time has reached it, for the part of
    /// the window that it began to tell of.
    func coverage(fromMs: Int64, toMs: Int64) -> Double {
        var expected = 0
        var heard = 0.0
        for sender in senders {
            guard sender.isMissedBefore || sender.firstMs < toMs else { continue }
            expected += 1
            guard sender.newestMs >= fromMs, sender.firstMs < toMs else { continue }
            heard += Double(toMs - max(sender.firstMs, fromMs)) / Double(toMs - fromMs)
        }
        return expected == 0 ? (senders.isEmpty ? 1 : 0) : heard / Double(expected)
    }
}
