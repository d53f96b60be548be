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
    /// Newest event time of each sender that is expected; none for simulated streams.
    var sendersNewestMs: [Int64]
    var faults: FaultTable
    var jobs: JobSnapshot
    var jobNames: [String]
    var events: [Event]
    /// What was rejected before the core.
    var accounted: Ledger
    /// The stream ends: rollups are closed although they are not full.
    var isFinal: Bool
    /// Monotonic, nanoseconds: when it was decided.
    var decidedAtNs: UInt64

    /// Share of the expected senders whose event time has reached a window.
    func coverage(fromMs: Int64) -> Double {
        guard !sendersNewestMs.isEmpty else { return 1 }
        return Double(sendersNewestMs.count { $0 >= fromMs }) / Double(sendersNewestMs.count)
    }
}
