import Store
import Telemetry
import WireFormats

/// Prometheus remote write: series `level:field:statistic`, one sample each, at the window's end.
///
/// Names: `rack:DCGM_FI_DEV_POWER_USAGE:avg` (min, max, count, sum; p50, p90, p99 from the rack upwards) and
/// `rack:colossus_gpus:expected` (reporting, silent, in_job, faulted). Labels: the place of the entity (`node`, `rack`,
/// `array`, `hall`, `site`; or `job`, `site`), `colossus_stream` for simulated streams, `resolution` unless it
/// is the only one that the endpoint selects. In version 2.0 there are units and help texts, and on request native histograms
/// `rack:DCGM_FI_DEV_POWER_USAGE:distribution`, where sketches are kept.
///
/// Series that have had no value for `staleAfterMs` get a stale marker, as the specification asks of senders.
///
/// What is not understood is made simpler, and stays so: another compression than snappy first, which a receiver that
/// does not know it may call malformed (400), then 2.0 (after 415; after 2xx without any header
/// `X-Prometheus-Remote-Write-…-Written`, with which a receiver of 1.0 has stored nothing;
/// and after 400 to the very first request).
struct RemoteWriteEndpoint: EndpointEncoding {
    let configuration: EndpointConfiguration

    var form: WireForm {
        WireForm(
            compression: configuration.compression ?? .snappy, version: configuration.protocolVersion)
    }

    func grid(for window: StoredWindow) -> any WindowGrid { grid(for: [window]) }

    func grid(for windows: [StoredWindow]) -> any WindowGrid {
        SeriesGrid(windows: windows.map(configuration.selected), configuration, .remoteWrite)
    }

    func grid(for consignment: Consignment, after memory: SeriesMemory?) -> any WindowGrid {
        let windows: [StoredWindow] =
            switch consignment {
            case .window(let window): [window]
            case .windows(let windows): windows
            case .events, .alerts: []
            }
        return SeriesGrid(
            windows: windows.map(configuration.selected), configuration, .remoteWrite, after: memory)
    }

    func headers(for part: Part, form: WireForm) -> [HTTPHeader] {
        Self.headers(form) + [HTTPHeader("Idempotency-Key", part.id)]
    }

    /// An empty request: it is answered like any other and stores nothing.
    func testRequest(nowMs: Int64) -> (headers: [HTTPHeader], body: [UInt8])? {
        let empty = WireForm(compression: .snappy)
        return (Self.headers(empty), empty.compression.pack([]))
    }

    func verdict(_ outcome: AttemptOutcome, form: WireForm) -> Verdict {
        if form.version == 2, case .response(200..<300, _, _, let details) = outcome, !details.saysWritten {
            return .renegotiate
        }
        return RetryPolicy.verdict(outcome, kind: .remoteWrite)
    }

    func simpler(than form: WireForm, after outcome: AttemptOutcome) -> WireForm? {
        if form.compression != .snappy, [400, 415].contains(outcome.status) {
            return WireForm(compression: .snappy, version: form.version)
        }
        // 1.0 as it was published knows no other compression.
        return form.version == 2 ? WireForm(compression: .snappy, version: 1) : nil
    }

    private static func headers(_ form: WireForm) -> [HTTPHeader] {
        let type = RemoteWriteEncoder.contentType
        let isNew = form.version == 2
        return [
            HTTPHeader("Content-Type", isNew ? type + ";proto=io.prometheus.write.v2.Request" : type),
            HTTPHeader(
                RemoteWriteEncoder.versionHeader.0, isNew ? "2.0.0" : RemoteWriteEncoder.versionHeader.1),
        ] + form.compression.header
    }
}

/// `10s`, `1m`, `1h`: as users write resolutions.
enum Resolution {
    static func text(_ ms: Int64) -> String {
        if ms % 86_400_000 == 0 { return "\(ms / 86_400_000)d" }
        if ms % 3_600_000 == 0 { return "\(ms / 3_600_000)h" }
        if ms % 60_000 == 0 { return "\(ms / 60_000)m" }
        if ms % 1_000 == 0 { return "\(ms / 1_000)s" }
        return "\(ms)ms"
    }
}
