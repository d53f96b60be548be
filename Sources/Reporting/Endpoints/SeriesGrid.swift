import Sketches
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

    private let levels: [SeriesLevel]
    private let format: Format
    private let payload: PayloadEncoding
    let form: WireForm
    let rowCount: Int

    init(windows: [SelectedWindow], _ configuration: EndpointConfiguration, _ format: Format) {
        var levels: [SeriesLevel] = []
        var start = 0
        var names = SeriesNames()
        for window in windows {
            let common = Self.commonLabels(window.summary, configuration)
            for level in window.levels {
                let made = SeriesLevel(
                    level, of: window, firstRow: start, common: common, &names, configuration, format)
                levels.append(made)
                start = made.rows.upperBound
            }
        }
        self.levels = levels
        self.format = format
        payload = configuration.payload
        form = configuration.encoding.form
        rowCount = start
    }

    func weight(row: Int) -> RowWeight { levels[levelIndex(row)].weight(row: row) }

    func cut(from first: Int, limits: BatchLimits) -> (end: Int, samples: Int) {
        var fill = PartFill(limits: limits)
        var row = first
        while row < rowCount {
            let level = levels[levelIndex(row)]
            guard level.take(&row, &fill) else { break }
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
        return levels.reduce(0) { sum, level in
            guard level.hasDistributions, level.rows.overlaps(rows) else { return sum }
            return sum + level.distributions(in: level.rows.clamped(to: rows))
        }
    }

    private func write(_ rows: Range<Int>, with writer: some SeriesWriter) -> [UInt8] {
        var writer = writer
        for level in levels where level.rows.overlaps(rows) {
            level.write(level.rows.clamped(to: rows), to: &writer)
        }
        return writer.finish()
    }

    private func levelIndex(_ row: Int) -> Int {
        var index = 0
        while row >= levels[index].rows.upperBound { index += 1 }
        return index
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

/// The series of one level: `entity x cell`, where the cells are the GPU counts and then `field x statistic`.
private struct SeriesLevel: Sendable {
    private let window: SelectedWindow
    private let time: SeriesTime
    private let level: SelectedLevel
    private let common: [Label]
    private let cells: [SeriesCell]
    private let gpuStatistics: [GPUStatistic]
    /// The distribution, where it is wanted, comes behind them.
    private let fieldStatistics: [FieldStatistic]
    private let fieldCells: Int
    /// The most bytes that a series can have, distributions aside.
    private let seriesBytesMax: Int
    let rows: Range<Int>

    init(
        _ level: SelectedLevel, of window: SelectedWindow, firstRow: Int, common: [Label],
        _ names: inout SeriesNames, _ configuration: EndpointConfiguration, _ format: SeriesGrid.Format
    ) {
        self.window = window
        time = SeriesTime(startMs: window.summary.startMs, endMs: window.summary.endMs)
        self.level = level
        self.common = common
        gpuStatistics = configuration.hasGPUCounts ? GPUStatistic.allCases : []
        fieldStatistics = FieldStatistic.allCases.filter {
            configuration.statistics.isEmpty || configuration.statistics.contains($0)
        }
        fieldCells = fieldStatistics.count + (configuration.hasHistograms ? 1 : 0)
        cells = Self.cells(level, gpuStatistics, fieldStatistics, configuration.hasHistograms).map { cell in
            var cell = cell
            cell.index = names.number(cell.name)
            return cell
        }
        rows = firstRow..<(firstRow + level.entityCount * cells.count)
        // 5 labels of the place at most, with 16 bytes each for name, tags and lengths; the sample and its frame.
        let fixed = 5 * 16 + 40 + SeriesMessage.encoded(common).count
        let inRemoteWrite =
            fixed + window.placeBytesMax(level.level)
            + (cells.map { $0.encodedName.count + $0.unit.utf8.count + $0.help.utf8.count }.max() ?? 0)
        seriesBytesMax = format.bytes(inRemoteWrite, payload: configuration.payload)
    }

    private static func cells(
        _ level: SelectedLevel, _ gpus: [GPUStatistic], _ statistics: [FieldStatistic], _ hasHistograms: Bool
    ) -> [SeriesCell] {
        var cells: [SeriesCell] = []
        for one in gpus {
            cells.append(
                SeriesCell(
                    index: cells.count, level: level.level, field: "colossus_gpus", statistic: one.rawValue,
                    unit: "", help: "GPUs in the window."))
        }
        for column in level.columns {
            let field = column.field.field
            for one in statistics.map(\.rawValue) + (hasHistograms ? [SeriesCell.distribution] : []) {
                cells.append(
                    SeriesCell(
                        index: cells.count, level: level.level, field: field.name, statistic: one,
                        unit: one == FieldStatistic.count.rawValue ? "" : field.unit, help: field.help))
            }
        }
        return cells
    }

    private var width: Int { cells.count }

    var hasDistributions: Bool { fieldCells > fieldStatistics.count }

    /// How many distributions there are in some rows.
    func distributions(in rows: Range<Int>) -> Int {
        let cells = self.cells.span
        return rows.reduce(0) { sum, row in
            let (entity, cell) = (row - self.rows.lowerBound).quotientAndRemainder(dividingBy: width)
            return sum + (cells[cell].isDistribution ? distributionWeight(entity, cell).samples : 0)
        }
    }

    func weight(row: Int) -> RowWeight {
        let (entity, cell) = (row - rows.lowerBound).quotientAndRemainder(dividingBy: width)
        if cells[cell].isDistribution { return distributionWeight(entity, cell) }
        return value(entity, cell) == nil ? .absent : weight(series: 1)
    }

    /// Adds rows to a part as long as they fit, blocks of the same entity and field at once where that is possible.
    ///
    /// - Returns: `false` when the part is full.
    func take(_ row: inout Int, _ fill: inout PartFill) -> Bool {
        guard width > 0 else { return true }
        var (entity, cell) = (row - rows.lowerBound).quotientAndRemainder(dividingBy: width)
        while row < rows.upperBound {
            if let block = block(entity, cell), fill.hasRoom(for: block.weight) {
                _ = fill.take(block.weight)
                row += block.cells
                cell += block.cells
            } else {
                guard fill.take(weight(row: row)) else { return false }
                row += 1
                cell += 1
            }
            if cell == width {
                cell = 0
                entity += 1
            }
        }
        return true
    }

    func write<Writer: SeriesWriter>(_ rows: Range<Int>, to writer: inout Writer) {
        guard width > 0 else { return }
        // Lent, not copied: a cell has half a dozen texts to count references of.
        let cells = self.cells.span
        var (entity, cell) = (rows.lowerBound - self.rows.lowerBound).quotientAndRemainder(dividingBy: width)
        var place: Writer.Place?
        for _ in rows {
            if cells[cell].isDistribution {
                if let value = distribution(entity, cell) {
                    let known = place ?? writer.place(labels(entity))
                    place = known
                    writer.add(cells[cell], known, time, value)
                }
            } else if let value = value(entity, cell) {
                let known = place ?? writer.place(labels(entity))
                place = known
                writer.add(cells[cell], known, time, value)
            }
            cell += 1
            if cell == width {
                cell = 0
                entity += 1
                place = nil
            }
        }
    }

    private func weight(series: Int) -> RowWeight {
        RowWeight(samples: series, bytes: series * seriesBytesMax)
    }

    /// A bucket is 3 bytes of a sketch at least, and 24 bytes at most in any of the formats.
    private func distributionWeight(_ entity: Int, _ cell: Int) -> RowWeight {
        guard isNamed(entity) else { return .absent }
        let column = level.columns[(cell - gpuStatistics.count) / fieldCells]
        guard let found = Distribution(column, entity) else { return .absent }
        let buckets = found.buckets.positive.counts.count + found.buckets.negative.counts.count
        return RowWeight(samples: 1, bytes: seriesBytesMax + 256 + 24 * buckets)
    }

    /// What begins at a cell, if that is the first of a block: its cells, and what is present of them.
    private func block(_ entity: Int, _ cell: Int) -> (cells: Int, weight: RowWeight)? {
        let gpuCells = gpuStatistics.count
        if cell == 0, gpuCells > 0 {
            return (gpuCells, weight(series: hasCounts(entity) ? gpuCells : 0))
        }
        let within = cell - gpuCells
        guard within >= 0, fieldCells > 0, within % fieldCells == 0 else { return nil }
        guard isNamed(entity) else { return (fieldCells, .absent) }
        var found = weight(
            series: level.columns.span[within / fieldCells].present(of: fieldStatistics, entity))
        if fieldCells > fieldStatistics.count {
            let distribution = distributionWeight(entity, cell + fieldStatistics.count)
            found.samples += distribution.samples
            found.bytes += distribution.bytes
        }
        return (fieldCells, found)
    }

    private func value(_ entity: Int, _ cell: Int) -> Double? {
        let gpuCells = gpuStatistics.count
        if cell < gpuCells {
            return hasCounts(entity) ? Double(gpuStatistics[cell].value(level.gpus, entity)) : nil
        }
        guard isNamed(entity) else { return nil }
        let (column, statistic) = (cell - gpuCells).quotientAndRemainder(dividingBy: fieldCells)
        return fieldStatistics[statistic].value(level.columns.span[column], entity)
    }

    private func distribution(_ entity: Int, _ cell: Int) -> Distribution? {
        guard isNamed(entity) else { return nil }
        return Distribution(level.columns[(cell - gpuStatistics.count) / fieldCells], entity)
    }

    private func hasCounts(_ entity: Int) -> Bool { level.hasGPUs(entity) && isNamed(entity) }

    /// A job without a name is what is outside of any job: no series.
    private func isNamed(_ entity: Int) -> Bool {
        level.level != .job || !(level.jobs[safely: entity]?.isEmpty ?? true)
    }

    private func labels(_ entity: Int) -> [Label] {
        let place = window.place(level.level, entity).map { Label($0.name, $0.value) }
        return (place + common).filter { !$0.value.isEmpty }.sorted { $0.name < $1.name }
    }
}

extension FieldColumn {
    /// How many of some statistics an entity has.
    fileprivate func present(of statistics: [FieldStatistic], _ entity: Int) -> Int {
        guard entity < entityCount, count[entity] > 0 else { return 0 }
        var present = 0
        for statistic in statistics {
            switch statistic {
            case .avg, .min, .max, .count, .sum: present += 1
            case .p50: present += entity < p50.count ? 1 : 0
            case .p90: present += entity < p90.count ? 1 : 0
            case .p99: present += entity < p99.count ? 1 : 0
            }
        }
        return present
    }
}
