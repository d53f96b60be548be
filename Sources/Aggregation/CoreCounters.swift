import Telemetry

/// The core's own metrics that all streams share.
struct CoreCounters: Sendable {
    private let received: Counter
    private let aggregated: Counter
    /// Indexed by `DropReason.rawValue`.
    private let dropped: [Counter]
    let windowsClosed: Counter
    let closeSeconds: Gauge
    let eventsForgotten: Counter

    init(_ metrics: Metrics) {
        received = metrics.counter(
            "colossus_samples_received_total", "Samples that were offered to the core or rejected before it.")
        aggregated = metrics.counter(
            "colossus_samples_aggregated_total", "Samples in windows that are committed.")
        dropped = DropReason.allCases.map { reason in
            metrics.counter(
                "colossus_samples_dropped_total", "Samples that do not count, by reason.",
                ["reason": reason.label])
        }
        windowsClosed = metrics.counter(
            "colossus_windows_closed_total", "Summaries made, of all resolutions.")
        closeSeconds = metrics.gauge(
            "colossus_window_close_seconds",
            "Time from the decision to close the last window to its hand-over.")
        eventsForgotten = metrics.counter(
            "colossus_events_forgotten_total", "Events that found no closing in time.")
    }

    func aggregated(_ count: Int64) { aggregated.add(count) }

    /// What a batch or a tick brought. What is accepted is told when it is committed.
    func add(_ ledger: Ledger) {
        received.add(ledger.received)
        for (index, count) in ledger.drops.enumerated() where count != 0 { dropped[index].add(count) }
    }
}
