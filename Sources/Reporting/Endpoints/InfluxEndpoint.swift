import Store
import Telemetry

/// InfluxDB v2 line protocol, which VictoriaMetrics takes, too: a line an entity and field, with the statistics as its
/// fields, `rack:DCGM_FI_DEV_POWER_USAGE,hall=h1,rack=r1,site=memphis avg=412.5,max=500 1725235210000`.
///
/// 400 refuses a whole request because of one line, hence halves; 422 has stored all but the bad ones, hence none.
struct InfluxEndpoint: EndpointEncoding {
    let configuration: EndpointConfiguration

    var form: WireForm { WireForm(compression: configuration.compression ?? .gzip) }

    func grid(for window: StoredWindow) -> any WindowGrid { grid(for: [window]) }

    func grid(for windows: [StoredWindow]) -> any WindowGrid {
        SeriesGrid(windows: windows.map(configuration.selected), configuration, .influx)
    }

    func headers(for part: Part, form: WireForm) -> [HTTPHeader] {
        Self.headers(form) + [HTTPHeader("Idempotency-Key", part.id)]
    }

    /// A line of comment only: stores nothing.
    func testRequest(nowMs: Int64) -> (headers: [HTTPHeader], body: [UInt8])? {
        (Self.headers(.plain), Array("# colossusd\n".utf8))
    }

    func verdict(_ outcome: AttemptOutcome, form: WireForm) -> Verdict {
        RetryPolicy.verdict(outcome, kind: .influx)
    }

    func simpler(than form: WireForm, after outcome: AttemptOutcome) -> WireForm? {
        form.compression == .none ? nil : .plain
    }

    private static func headers(_ form: WireForm) -> [HTTPHeader] {
        [HTTPHeader("Content-Type", "text/plain; charset=utf-8")] + form.compression.header
    }
}

extension EndpointConfiguration {
    /// Where requests go: of an InfluxDB with the organisation, the bucket and the precision.
    var requestURL: String {
        guard kind == .influx else { return url }
        var query = ["precision=ms"]
        if !org.isEmpty { query.append("org=" + Self.encoded(org)) }
        if !bucket.isEmpty { query.append("bucket=" + Self.encoded(bucket)) }
        return url + (url.contains("?") ? "&" : "?") + query.joined(separator: "&")
    }

    /// Percent-encoded, all but the unreserved characters of RFC 3986.
    private static func encoded(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"), UInt8(ascii: "~"):
                bytes.append(byte)
            default: bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
