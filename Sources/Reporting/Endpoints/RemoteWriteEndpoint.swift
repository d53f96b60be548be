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
        var encoder = RemoteWriteEncoder()
        return (Self.headers, encoder.finish())
    }

    private static let headers = [
        HTTPHeader("Content-Type", RemoteWriteEncoder.contentType),
        HTTPHeader("Content-Encoding", RemoteWriteEncoder.contentEncoding),
        HTTPHeader(RemoteWriteEncoder.versionHeader.0, RemoteWriteEncoder.versionHeader.1),
    ]
}

/// One row a series: for each level and entity the GPU counts, then each field's statistics.
struct SeriesGrid: WindowGrid {
    let window: SelectedWindow
    let hasResolutionLabel: Bool
    /// First row of each level, and the end.
    private let starts: [Int]
    /// The most bytes that a series of each level can have.
    private let seriesBytesMax: [Int]

    init(window: SelectedWindow, hasResolutionLabel: Bool) {
        self.window = window
        self.hasResolutionLabel = hasResolutionLabel
        var starts = [0]
        for level in window.levels {
            starts.append((starts.last ?? 0) + level.entityCount * Self.width(level))
        }
        self.starts = starts
        // 8 labels at most, with 16 bytes each for name, tags and lengths; the metric's name; the sample.
        let fixed = 8 * 16 + 80 + 32 + window.summary.stream.name.utf8.count
        seriesBytesMax = window.levels.map { fixed + window.placeBytesMax($0.level) }
    }

    var rowCount: Int { starts.last ?? 0 }

    func weight(row: Int) -> RowWeight {
        let series = locate(row)
        return value(series) == nil ? .absent : RowWeight(samples: 1, bytes: seriesBytesMax[series.level])
    }

    func body(_ rows: Range<Int>, id: String, part: Int) -> [UInt8] {
        var encoder = RemoteWriteEncoder()
        let timeMs = window.summary.endMs
        var labels: [Label] = []
        var labelsOf: (level: Int, entity: Int)?
        for row in rows {
            let series = locate(row)
            guard let value = value(series) else { continue }
            if labelsOf?.level != series.level || labelsOf?.entity != series.entity {
                labels = self.labels(series)
                labelsOf = (series.level, series.entity)
            }
            labels[0].value = name(series)
            encoder.add(labels: labels, samples: [TimedValue(timeMs: timeMs, value: value)])
        }
        return encoder.finish()
    }

    private struct Series {
        var level: Int
        var entity: Int
        /// GPU statistics first, then `columns x FieldStatistic`.
        var cell: Int
    }

    private static let gpuCells = GPUStatistic.allCases.count
    private static let gpuStatistics = GPUStatistic.allCases
    private static let fieldCells = FieldStatistic.allCases.count
    private static let fieldStatistics = FieldStatistic.allCases

    private static func width(_ level: SelectedLevel) -> Int {
        gpuCells + level.columns.count * fieldCells
    }

    private func locate(_ row: Int) -> Series {
        var level = 0
        while starts[level + 1] <= row { level += 1 }
        let within = row - starts[level]
        let width = Self.width(window.levels[level])
        return Series(level: level, entity: within / width, cell: within % width)
    }

    private func value(_ series: Series) -> Double? {
        let level = window.levels[series.level]
        // Jobs without a name are what is outside of any job: no series.
        if level.level == .job, level.jobs[safely: series.entity]?.isEmpty ?? true { return nil }
        if series.cell < Self.gpuCells {
            guard level.hasGPUs(series.entity) else { return nil }
            return Double(Self.gpuStatistics[series.cell].value(level.gpus, series.entity))
        }
        let cell = series.cell - Self.gpuCells
        return Self.fieldStatistics[cell % Self.fieldCells]
            .value(level.columns[cell / Self.fieldCells], series.entity)
    }

    private func name(_ series: Series) -> String {
        let level = window.levels[series.level]
        if series.cell < Self.gpuCells {
            return "\(level.level.rawValue):colossus_gpus:\(Self.gpuStatistics[series.cell].rawValue)"
        }
        let cell = series.cell - Self.gpuCells
        let field = level.columns[cell / Self.fieldCells].field.field.name
        return "\(level.level.rawValue):\(field):\(Self.fieldStatistics[cell % Self.fieldCells].rawValue)"
    }

    /// Sorted by name; the first is the metric's name, still empty.
    private func labels(_ series: Series) -> [Label] {
        var labels = window.place(window.levels[series.level].level, series.entity).map {
            Label($0.name, $0.value)
        }
        if window.summary.stream.isSimulated {
            labels.append(Label("colossus_stream", window.summary.stream.name))
        }
        if hasResolutionLabel {
            labels.append(Label("resolution", Resolution.text(window.summary.resolutionMs)))
        }
        labels.sort { $0.name < $1.name }
        return [Label(Label.metricName, "")] + labels
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
