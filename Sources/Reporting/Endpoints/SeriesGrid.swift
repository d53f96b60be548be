import Store
import Telemetry
import WireFormats

/// A window, or some after each other, as series: for each level and entity the GPU counts, then each field's statistics; a row a series. A fleet has
/// millions of them every ten seconds, hence the care for what is done once a window, once an entity and once a series.
struct SeriesGrid: WindowGrid {
    /// What is made of the series.
    enum Format: Sendable {
        case remoteWrite, otlp, influx

        /// How many times larger than in remote write a series may be.
        func bytes(_ inRemoteWrite: Int, payload: PayloadEncoding) -> Int {
            switch self {
            case .remoteWrite: inRemoteWrite
            case .otlp: payload == .json ? inRemoteWrite * 3 + 512 : inRemoteWrite * 2 + 128
            // Each byte of a name may be escaped.
            case .influx: inRemoteWrite * 2
            }
        }
    }

    private let sections: [Section]
    private let format: Format
    private let payload: PayloadEncoding
    let form: WireForm
    let rowCount: Int
    let memory: SeriesMemory?

    /// - Parameter memory: of the windows before: series that come to their end get a last row, behind the others of
    ///   their window. `nil`: none do.
    init(
        windows: [SelectedWindow], _ configuration: EndpointConfiguration, _ format: Format,
        after memory: SeriesMemory? = nil
    ) {
        var sections: [Section] = []
        var start: Int { sections.last?.rows.upperBound ?? 0 }
        var names = SeriesNames()
        var memory = memory
        for window in windows {
            let common = Self.commonLabels(window.summary, configuration)
            for level in window.levels {
                let made = SeriesLevel(
                    level, of: window, firstRow: start, common: common, &names, configuration, format)
                sections.append(.level(made))
            }
            guard let all = memory?.take(window), !all.isEmpty else { continue }
            let time = SeriesTime(startMs: window.summary.startMs, endMs: window.summary.endMs)
            if let ended = EndedSeries(
                all, time: time, firstRow: start, common: common, &names, configuration, format)
            {
                sections.append(.ended(ended))
            }
        }
        self.sections = sections
        self.memory = memory
        self.format = format
        payload = configuration.payload
        form = configuration.encoding.form
        rowCount = start
    }

    func weight(row: Int) -> RowWeight { sections[sectionIndex(row)].weight(row: row) }

    func cut(from first: Int, limits: BatchLimits) -> (end: Int, samples: Int) {
        var fill = PartFill(limits: limits)
        var row = first
        while row < rowCount {
            let section = sections[sectionIndex(row)]
            // Ends are in parts of their own: others have the same rows in each life of the process.
            if section.isEnded, row == section.rows.lowerBound, fill.samples > 0 { break }
            guard section.take(&row, &fill) else { break }
        }
        return (row, fill.samples)
    }

    func body(_ rows: Range<Int>, id: String, part: Int, form: WireForm) -> [UInt8] {
        let plain =
            switch format {
            case .remoteWrite where form.version == 2: write(rows, with: SeriesMessage2())
            case .remoteWrite: write(rows, with: SeriesMessage())
            case .otlp where payload == .json: write(rows, with: OTLPJSONMessage())
            case .otlp: write(rows, with: OTLPMessage())
            case .influx: write(rows, with: InfluxLines())
            }
        return form.compression.pack(plain)
    }

    /// Remote write 1.0 as it was published has no histograms.
    func leftOut(_ rows: Range<Int>, form: WireForm) -> Int {
        guard format == .remoteWrite, form.version < 2 else { return 0 }
        return sections.reduce(0) { sum, section in
            guard section.hasDistributions, section.rows.overlaps(rows) else { return sum }
            return sum + section.distributions(in: section.rows.clamped(to: rows))
        }
    }

    private func write(_ rows: Range<Int>, with writer: some SeriesWriter) -> [UInt8] {
        var writer = writer
        for section in sections where section.rows.overlaps(rows) {
            section.write(section.rows.clamped(to: rows), to: &writer)
        }
        return writer.finish()
    }

    private func sectionIndex(_ row: Int) -> Int {
        var index = 0
        while row >= sections[index].rows.upperBound { index += 1 }
        return index
    }

    /// Rows of one level of one window, or the ends of series that a window has no more.
    private enum Section: Sendable {
        case level(SeriesLevel)
        case ended(EndedSeries)

        var isEnded: Bool { if case .ended = self { true } else { false } }

        var rows: Range<Int> {
            switch self {
            case .level(let level): level.rows
            case .ended(let ended): ended.rows
            }
        }

        var hasDistributions: Bool {
            switch self {
            case .level(let level): level.hasDistributions
            case .ended(let ended): ended.hasDistributions
            }
        }

        func distributions(in rows: Range<Int>) -> Int {
            switch self {
            case .level(let level): level.distributions(in: rows)
            case .ended(let ended): ended.distributions(in: rows)
            }
        }

        func weight(row: Int) -> RowWeight {
            switch self {
            case .level(let level): level.weight(row: row)
            case .ended(let ended): ended.weight(row: row)
            }
        }

        /// Adds rows to a part as long as they fit.
        ///
        /// - Returns: `false` when the part is full.
        func take(_ row: inout Int, _ fill: inout PartFill) -> Bool {
            switch self {
            case .level(let level): return level.take(&row, &fill)
            case .ended(let ended):
                while row < ended.rows.upperBound {
                    guard fill.take(ended.weight(row: row)) else { return false }
                    row += 1
                }
                return true
            }
        }

        func write(_ rows: Range<Int>, to writer: inout some SeriesWriter) {
            switch self {
            case .level(let level): level.write(rows, to: &writer)
            case .ended(let ended): ended.write(rows, to: &writer)
            }
        }
    }

    private static func commonLabels(
        _ summary: WindowSummary, _ configuration: EndpointConfiguration
    ) -> [Label] {
        let changes = configuration.labels
        var labels: [Label] = []
        if summary.stream.isSimulated {
            labels.append(Label(changes.name("colossus_stream"), summary.stream.name))
        }
        // One that stands in for shorter windows is no sample of their series.
        if configuration.selection.resolutions != [summary.resolutionMs] {
            labels.append(Label(changes.name("resolution"), Resolution.text(summary.resolutionMs)))
        }
        return labels
    }
}

/// Series of the same name have the same number in all windows of a grid.
struct SeriesNames {
    private var numbers: [String: Int] = [:]

    mutating func number(_ name: String) -> Int {
        if let known = numbers[name] { return known }
        numbers[name] = numbers.count
        return numbers.count - 1
    }
}
