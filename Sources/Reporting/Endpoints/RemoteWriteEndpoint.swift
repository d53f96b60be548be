import Store
import Telemetry
import WireFormats

/// Prometheus remote write 1.0: series `level:field:statistic`, one sample each, at the window's end.
///
/// Names: `rack:DCGM_FI_DEV_POWER_USAGE:avg` (min, max, count, sum; p50, p90, p99 from the rack upwards) and
/// `rack:colossus_gpus:expected` (reporting, silent, in_job, faulted). Labels: the place of the entity (`node`, `rack`,
/// `array`, `hall`, `site`; or `job`, `site`), `colossus_stream` for simulated streams, `resolution` when the
/// endpoint selects more than one.
struct RemoteWriteEndpoint: EndpointEncoding {
    let configuration: EndpointConfiguration

    func grid(for window: StoredWindow) -> any WindowGrid {
        SeriesGrid(
            window: SelectedWindow(window, selection: configuration.selection),
            hasResolutionLabel: configuration.selection.resolutions.count != 1
        )
    }

    func headers(for part: Part) -> [HTTPHeader] {
        Self.headers + [HTTPHeader("Idempotency-Key", part.id)]
    }

    /// An empty request: it is answered like any other and stores nothing.
    var testRequest: (headers: [HTTPHeader], body: [UInt8]) {
        (Self.headers, SeriesMessage().compressed())
    }

    private static let headers = [
        HTTPHeader("Content-Type", RemoteWriteEncoder.contentType),
        HTTPHeader("Content-Encoding", RemoteWriteEncoder.contentEncoding),
        HTTPHeader(RemoteWriteEncoder.versionHeader.0, RemoteWriteEncoder.versionHeader.1),
    ]
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
