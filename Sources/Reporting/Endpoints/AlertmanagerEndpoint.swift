import Store
import Telemetry

/// `POST /api/v2/alerts` of Alertmanager: all alerts that fire, again and again, and those that are over for some minutes.
///
/// Alertmanager keeps nothing that is not repeated: an alert that it has not heard of until `endsAt` is over for it. So
/// there is no cursor; what is said is always how things are now.
///
///     [{"labels":{"alertname":"GPUSilent","severity":"warning","rack":"r1",…},"annotations":{"summary":"…"},
///       "startsAt":"2026-11-22T10:00:00Z","endsAt":"2026-11-22T10:05:00Z","generatorURL":"http://…"}]
struct AlertmanagerEndpoint: EndpointEncoding {
    let configuration: EndpointConfiguration

    func grid(for window: StoredWindow) -> any WindowGrid { EmptyGrid() }

    func grid(for consignment: Consignment) -> any WindowGrid {
        guard case .alerts(let snapshot) = consignment else { return EmptyGrid() }
        return AlertGrid(
            snapshot: snapshot, labels: configuration.labels, resendMs: configuration.resendMs,
            generatorURL: configuration.generatorURL)
    }

    func headers(for part: Part, form: WireForm) -> [HTTPHeader] {
        [HTTPHeader("Content-Type", "application/json")]
    }

    /// No alert at all.
    func testRequest(nowMs: Int64) -> (headers: [HTTPHeader], body: [UInt8])? {
        ([HTTPHeader("Content-Type", "application/json")], Array("[]".utf8))
    }

    func verdict(_ outcome: AttemptOutcome, form: WireForm) -> Verdict {
        RetryPolicy.verdict(outcome, kind: .alertmanager)
    }
}

/// Alerts as they are now.
struct AlertSnapshot: Sendable {
    /// Grows with each.
    var version: Int64
    /// Firing, and resolved a short time ago.
    var alerts: [Alert]
    /// `endsAt` counts from when it is written.
    var nowMs: @Sendable () -> Int64

    /// How long an alert that is over is said to be.
    static let resolvedMs: Int64 = 300_000
}

/// Alerts in the form of Alertmanager's API v2, a row each.
struct AlertGrid: WindowGrid {
    let snapshot: AlertSnapshot
    let labels: LabelChanges
    let resendMs: Int64
    let generatorURL: String

    /// What fires ends after so many times without being heard of again: as Prometheus does it.
    static let missesMax: Int64 = 4

    var form: WireForm { .plain }
    var rowCount: Int { snapshot.alerts.count }

    func weight(row: Int) -> RowWeight {
        let alert = snapshot.alerts[row]
        let texts = [alert.labels, alert.annotations].flatMap {
            $0.map { $0.key.utf8.count + $0.value.utf8.count + 6 }
        }
        return RowWeight(
            samples: 1, bytes: 512 + generatorURL.utf8.count + labels.bytesMax + 6 * texts.reduce(0, +))
    }

    func body(_ rows: Range<Int>, id: String, part: Int, form: WireForm) -> [UInt8] {
        let nowMs = snapshot.nowMs()
        var json = JSONWriter()
        json.array { json in
            for alert in snapshot.alerts[rows] { json.object { write(alert, nowMs, &$0) } }
        }
        return json.bytes
    }

    private func write(_ alert: Alert, _ nowMs: Int64, _ json: inout JSONWriter) {
        let isOver = alert.state == .resolved
        // A simulated clock means nothing to Alertmanager.
        let startMs = alert.isSimulated ? alert.firedMs : min(alert.sinceMs, alert.firedMs)
        let endMs = isOver ? max(alert.resolvedMs, startMs + 1) : nowMs + Self.missesMax * resendMs
        json.texts("labels", all(alert))
        json.texts("annotations", alert.annotations.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
        json.field("startsAt", UTC.timestamp(startMs))
        json.field("endsAt", UTC.timestamp(endMs))
        if !generatorURL.isEmpty { json.field("generatorURL", generatorURL) }
    }

    private func all(_ alert: Alert) -> [(name: String, value: String)] {
        var own = alert.labels
        own["alertname"] = alert.rule
        own["severity"] = alert.severity.rawValue
        if alert.isSimulated { own["colossus_stream"] = alert.stream }
        return labels.applied(to: own.filter { !$0.value.isEmpty }.map { (name: $0.key, value: $0.value) })
    }
}
