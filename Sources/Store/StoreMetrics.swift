import Telemetry

/// What the store does; the label `doing` of its errors.
enum StoreWork: String, CaseIterable, Sendable {
    case commit, cursor, retention, ladder, remove, run, senders, events, read
    /// Closings that can never be stored.
    case refused
    /// Dead letters that had to go because there are too many.
    case deadLettersFull = "dead_letters_full"
}

/// What the store counts about itself.
struct StoreMetrics: Sendable {
    let commits: Counter
    let commitSeconds: Gauge
    let bytes: Gauge
    let queueLength: Gauge
    private let metrics: Metrics
    private let errors: [StoreWork: Counter]

    init(_ metrics: Metrics) {
        self.metrics = metrics
        commits = metrics.counter("colossus_store_commits_total", "Closings that were committed.")
        commitSeconds = metrics.gauge(
            "colossus_store_commit_seconds", "Time that the last commit took, in seconds.")
        bytes = metrics.gauge("colossus_store_bytes", "Size of the history's files, in bytes.")
        queueLength = metrics.gauge("colossus_store_queue_length", "Closings that wait for their commit.")
        errors = Dictionary(
            uniqueKeysWithValues: StoreWork.allCases.map { work in
                let counter = metrics.counter(
                    "colossus_store_errors_total", "Failures of the store, by what it was doing.",
                    ["doing": work.rawValue])
                return (work, counter)
            })
    }

    func lost(_ count: RetentionLosses.Count, _ endpoint: String) {
        for (reason, windows) in [("coarsened", count.coarsened), ("dropped", count.dropped)]
        where windows > 0 {
            metrics.counter(
                "colossus_report_lost_windows_total",
                "Windows that retention took before the endpoint had got them: a longer one still waits (coarsened), or none.",
                ["endpoint": endpoint, "reason": reason]
            ).add(windows)
        }
    }

    func lost(events count: Int64, _ endpoint: String) {
        metrics.counter(
            "colossus_report_lost_events_total",
            "Events that retention took because of their age before the endpoint had got them.",
            ["endpoint": endpoint]
        ).add(count)
    }

    func lost(letters count: Int64, _ endpoint: String) {
        metrics.counter(
            "colossus_report_lost_dead_letters_total",
            "Dead letters that had to go unsent because the endpoint has too many, or too large ones.",
            ["endpoint": endpoint]
        ).add(count)
    }

    func error(_ work: StoreWork, count: Int64 = 1) { errors[work]?.add(count) }
}
