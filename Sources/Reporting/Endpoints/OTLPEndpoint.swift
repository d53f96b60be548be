import FoundationEssentials
import Store
import Telemetry
import WireFormats

/// OpenTelemetry metrics over HTTP (OTLP 1.x): gauges `level:field:statistic`, and delta exponential histograms
/// `level:field:distribution` where sketches are kept; protobuf or JSON.
///
/// A partial success is final: what was rejected is kept as a dead letter to be read, and nothing is sent again.
struct OTLPEndpoint: EndpointEncoding {
    let configuration: EndpointConfiguration

    var form: WireForm { WireForm(compression: configuration.compression ?? .gzip) }

    func grid(for window: StoredWindow) -> any WindowGrid { grid(for: [window]) }

    func grid(for windows: [StoredWindow]) -> any WindowGrid {
        SeriesGrid(windows: windows.map(configuration.selected), configuration, .otlp)
    }

    func headers(for part: Part, form: WireForm) -> [HTTPHeader] {
        headers(form) + [HTTPHeader("Idempotency-Key", part.id)]
    }

    func testRequest(nowMs: Int64) -> (headers: [HTTPHeader], body: [UInt8])? {
        let body = configuration.payload == .json ? Array("{\"resourceMetrics\":[]}".utf8) : []
        return (headers(form), form.compression.pack(body))
    }

    func verdict(_ outcome: AttemptOutcome, form: WireForm) -> Verdict {
        if case .response(200..<300, _, _, let details) = outcome, Self.rejected(details.body) > 0 {
            return .partial
        }
        return RetryPolicy.verdict(outcome, kind: .otlp)
    }

    func simpler(than form: WireForm, after outcome: AttemptOutcome) -> WireForm? {
        form.compression == .none ? nil : .plain
    }

    private func headers(_ form: WireForm) -> [HTTPHeader] {
        let type = configuration.payload == .json ? "application/json" : "application/x-protobuf"
        return [HTTPHeader("Content-Type", type)] + form.compression.header
    }

    func rejected(_ outcome: AttemptOutcome) -> Int? {
        guard case .response(200..<300, _, _, let details) = outcome else { return nil }
        let count = Self.rejected(details.body)
        return count > 0 ? Int(clamping: count) : nil
    }

    /// "A partial success with 0 rejected points is a warning": `error_message` without anything that was rejected.
    func warning(_ outcome: AttemptOutcome) -> String? {
        guard case .response(200..<300, _, _, let details) = outcome, !details.body.isEmpty else {
            return nil
        }
        let text: String?
        if details.body.first == UInt8(ascii: "{") {
            let reply = try? JSONDecoder().decode(JSONReply.self, from: Data(details.body))
            text = reply?.partialSuccess?.message
        } else {
            text = OTLPReply.warning(details.body)
        }
        guard let text, !text.isEmpty else { return nil }
        return ResponseHead.line(Array(text.utf8.prefix(ResponseHead.reasonBytesMax)))
    }

    /// Data points that were rejected by a request that was taken otherwise; 0 for what cannot be read.
    static func rejected(_ body: [UInt8]) -> Int64 {
        if body.first == UInt8(ascii: "{") {
            let reply = try? JSONDecoder().decode(JSONReply.self, from: Data(body))
            return reply?.partialSuccess?.count ?? 0
        }
        return OTLPReply.rejectedDataPoints(body) ?? 0
    }

    private struct JSONReply: Decodable {
        var partialSuccess: Partial?

        struct Partial: Decodable {
            var count: Int64
            var message: String?
            private enum CodingKeys: String, CodingKey { case rejectedDataPoints, errorMessage }

            /// 64-bit numbers are texts in the JSON of Protocol Buffers; not everybody knows.
            init(from decoder: any Decoder) throws {
                let container = try decoder.container(keyedBy: CodingKeys.self)
                message = try? container.decode(String.self, forKey: .errorMessage)
                if let text = try? container.decode(String.self, forKey: .rejectedDataPoints) {
                    count = Int64(text) ?? 0
                } else {
                    count = (try? container.decode(Int64.self, forKey: .rejectedDataPoints)) ?? 0
                }
            }
        }
    }
}
