import Store
import Telemetry

/// A POST of `colossus.summary/v1` (see `SummaryGrid`) as a CloudEvent in binary mode
/// (CloudEvents 1.0.2, HTTP protocol binding, section 3.1).
///
///     ce-specversion: 1.0
///     ce-id: measured/10000/1725235200000/0/0    (the same on each attempt; also as Idempotency-Key)
///     ce-source: /colossusd
///     ce-type: colossus.summary
///     ce-time: 2024-09-02T00:00:10Z              (the window's end)
///     Content-Type: application/json
///
/// Or in structured mode (`application/cloudevents+json`), or in batches of rows (`application/cloudevents-batch+json`).
///
/// Any 2xx is an answer that it has arrived. 408, 429 and 5xx are tried again, 410 switches the endpoint off, what is
/// refused otherwise becomes a dead letter (413: after it was cut into pieces).
struct WebhookEndpoint: EndpointEncoding {
    let configuration: EndpointConfiguration

    var form: WireForm { WireForm(compression: configuration.compression ?? .none) }

    func grid(for window: StoredWindow) -> any WindowGrid {
        let layout: SummaryGrid.Layout =
            switch configuration.format {
            case .binary: .plain
            case .structured: .event
            case .batch: .events
            }
        return SummaryGrid(window: configuration.selected(window), configuration, layout: layout)
    }

    func grid(for consignment: Consignment) -> any WindowGrid {
        switch consignment {
        case .window(let window): grid(for: window)
        case .events(let events):
            EventGrid(
                events: events, format: configuration.format, labels: configuration.labels,
                source: configuration.source, form: form)
        case .windows, .alerts: EmptyGrid()
        }
    }

    func headers(for part: Part, form: WireForm) -> [HTTPHeader] {
        let encoding = form.compression.header
        let key = [HTTPHeader("Idempotency-Key", part.id)]
        switch configuration.format {
        case .binary:
            return Self.event(part.id, part.type, part.endMs, configuration.source) + encoding
        case .structured: return [HTTPHeader("Content-Type", "application/cloudevents+json")] + encoding + key
        case .batch:
            return [HTTPHeader("Content-Type", "application/cloudevents-batch+json")] + encoding + key
        }
    }

    /// An event that says nothing but that events arrive.
    func testRequest(nowMs: Int64) -> (headers: [HTTPHeader], body: [UInt8])? {
        var json = JSONWriter()
        json.object { json in
            json.field("schema", "colossus.test/v1")
            json.field("time", UTC.timestamp(nowMs))
        }
        let headers = Self.event("test/\(nowMs)", "colossus.test", nowMs, configuration.source)
        return (headers, json.bytes)
    }

    func verdict(_ outcome: AttemptOutcome, form: WireForm) -> Verdict {
        RetryPolicy.verdict(outcome, kind: .webhook)
    }

    func simpler(than form: WireForm, after outcome: AttemptOutcome) -> WireForm? {
        form.compression == .none ? nil : .plain
    }

    private static func event(_ id: String, _ type: String, _ timeMs: Int64, _ source: String) -> [HTTPHeader]
    {
        [
            HTTPHeader("Content-Type", "application/json"),
            HTTPHeader("ce-specversion", "1.0"),
            HTTPHeader("ce-id", id),
            HTTPHeader("ce-source", source),
            HTTPHeader("ce-type", type),
            HTTPHeader("ce-time", UTC.timestamp(timeMs)),
            HTTPHeader("Idempotency-Key", id),
        ]
    }
}
