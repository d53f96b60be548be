import NIOHTTP1
import Telemetry

/// The receivers' own metrics.
struct IngestMetrics: Sendable {
    let bytes: Counter
    let samples: Counter
    let connections: Gauge
    let folded: Counter
    private let metrics: Metrics
    /// The most usual answer, which need not be looked up.
    private let written: Counter

    private static let requests = (
        name: "colossus_ingest_requests_total", help: "Requests by path and status code."
    )

    init(_ metrics: Metrics) {
        self.metrics = metrics
        bytes = metrics.counter("colossus_ingest_bytes_total", "Bytes of request bodies, as sent.")
        samples = metrics.counter(
            "colossus_ingest_samples_total", "Samples that were handed to the aggregation.")
        folded = metrics.counter(
            "colossus_ingest_folded_samples_total",
            "Samples of series beyond a limit that are aggregated under __other__.")
        written = metrics.counter(
            Self.requests.name, Self.requests.help, ["path": IngestRoute.write.rawValue, "code": "204"])
        connections = metrics.gauge("colossus_ingest_connections", "Connections that are open.")
    }

    func answered(_ answer: Answer, path: String) {
        if answer.status == .noContent, path == IngestRoute.write.rawValue { return written.add() }
        metrics.counter(
            Self.requests.name, Self.requests.help, ["path": path, "code": String(answer.status.code)]
        ).add()
        if let reason = answer.reason { rejected(reason) }
    }

    func rejected(_ reason: String) {
        metrics.counter(
            "colossus_ingest_rejected_requests_total", "Requests that were not served, by reason.",
            ["reason": reason]
        ).add()
    }

    func refusedEvents(_ counts: [String: Int]) {
        for (reason, count) in counts {
            metrics.counter(
                "colossus_ingest_refused_events_total", "Events that were not taken, by reason.",
                ["reason": reason]
            ).add(Int64(count))
        }
    }

    /// Parts of remote write that are read over.
    func unwritten(_ kind: String, _ count: Int) {
        guard count > 0 else { return }
        metrics.counter(
            "colossus_ingest_unwritten_total", "Native histograms and exemplars that came and are not kept.",
            ["kind": kind]
        ).add(Int64(count))
    }
}
