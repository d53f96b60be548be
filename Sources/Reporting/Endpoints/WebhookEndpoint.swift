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
/// Any 2xx is an answer that it has arrived. 408, 429 and 5xx are tried again, 410 switches the endpoint off, what is
/// refused otherwise becomes a dead letter (413: after it was cut into pieces).
struct WebhookEndpoint: EndpointEncoding {
    let configuration: EndpointConfiguration

    func grid(for window: StoredWindow) -> any WindowGrid {
        SummaryGrid(
            window: SelectedWindow(window, selection: configuration.selection), endsWithNewline: false)
    }

    func headers(for part: Part) -> [HTTPHeader] {
        headers(id: part.id, type: "colossus.summary", timeMs: part.endMs)
    }

    /// An event that says nothing but that events arrive.
    func testRequest(nowMs: Int64) -> (headers: [HTTPHeader], body: [UInt8]) {
        var json = JSONWriter()
        json.object { json in
            json.field("schema", "colossus.test/v1")
            json.field("time", UTC.timestamp(nowMs))
        }
        return (headers(id: "test/\(nowMs)", type: "colossus.test", timeMs: nowMs), json.bytes)
    }

    private func headers(id: String, type: String, timeMs: Int64) -> [HTTPHeader] {
        [
            HTTPHeader("Content-Type", "application/json"),
            HTTPHeader("ce-specversion", "1.0"),
            HTTPHeader("ce-id", id),
            HTTPHeader("ce-source", configuration.source),
            HTTPHeader("ce-type", type),
            HTTPHeader("ce-time", UTC.timestamp(timeMs)),
            HTTPHeader("Idempotency-Key", id),
        ]
    }
}
