import Store
import Telemetry
import WireFormats

/// A window as remote write series: for each level and entity the GPU counts, then each field's statistics; a row a
/// series. A fleet has millions of them every ten seconds, hence the care for what is done once a window, once an
/// entity and once a series.
struct SeriesGrid: WindowGrid {
    private let levels: [SeriesLevel]
    private let timeMs: Int64
    let rowCount: Int

    init(window: SelectedWindow, hasResolutionLabel: Bool) {
        let common = Self.commonLabels(window.summary, hasResolutionLabel: hasResolutionLabel)
        var levels: [SeriesLevel] = []
        var start = 0
        for level in window.levels {
            let made = SeriesLevel(level, of: window, firstRow: start, common: common)
            levels.append(made)
            start = made.rows.upperBound
        }
        self.levels = levels
        rowCount = start
        timeMs = window.summary.endMs
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

    func body(_ rows: Range<Int>, id: String, part: Int) -> [UInt8] {
        var message = SeriesMessage()
        for level in levels where level.rows.overlaps(rows) {
            level.write(level.rows.clamped(to: rows), timeMs: timeMs, to: &message)
        }
        return message.compressed()
    }

    private func levelIndex(_ row: Int) -> Int {
        var index = 0
        while row >= levels[index].rows.upperBound { index += 1 }
        return index
    }

    private static func commonLabels(_ summary: WindowSummary, hasResolutionLabel: Bool) -> [Label] {
        var labels: [Label] = []
        if summary.stream.isSimulated { labels.append(Label("colossus_stream", summary.stream.name)) }
        if hasResolutionLabel { labels.append(Label("resolution", Resolution.text(summary.resolutionMs))) }
        return labels
    }
}

/// The series of one level: `entity x cell`, where the cells are the GPU counts and then `field x statistic`.
private struct SeriesLevel: Sendable {
    private let window: SelectedWindow
    private let level: SelectedLevel
    private let common: [Label]
    /// The label `__name__` of each cell, encoded.
    private let names: [[UInt8]]
    /// The most bytes that a series can have.
    private let seriesBytesMax: Int
    let rows: Range<Int>

    private static let gpuStatistics = GPUStatistic.allCases
    private static let fieldStatistics = FieldStatistic.allCases
    private static let gpuCells = gpuStatistics.count
    private static let fieldCells = fieldStatistics.count

    init(_ level: SelectedLevel, of window: SelectedWindow, firstRow: Int, common: [Label]) {
        self.window = window
        self.level = level
        self.common = common
        let prefix = level.level.rawValue
        let counts = Self.gpuStatistics.map { "\(prefix):colossus_gpus:\($0.rawValue)" }
        let fields = level.columns.flatMap { column in
            Self.fieldStatistics.map { "\(prefix):\(column.field.field.name):\($0.rawValue)" }
        }
        names = (counts + fields).map { SeriesMessage.encoded([Label(Label.metricName, $0)]) }
        rows = firstRow..<(firstRow + level.entityCount * names.count)
        // 5 labels of the place at most, with 16 bytes each for name, tags and lengths; the sample and its frame.
        let fixed = 5 * 16 + 40 + SeriesMessage.encoded(common).count
        seriesBytesMax = fixed + window.placeBytesMax(level.level) + (names.map(\.count).max() ?? 0)
    }

    private var width: Int { names.count }

    func weight(row: Int) -> RowWeight {
        let (entity, cell) = (row - rows.lowerBound).quotientAndRemainder(dividingBy: width)
        return value(entity, cell) == nil ? .absent : weight(series: 1)
    }

    /// Adds rows to a part as long as they fit, blocks of the same entity and field at once where that is possible.
    ///
    /// - Returns: `false` when the part is full.
    func take(_ row: inout Int, _ fill: inout PartFill) -> Bool {
        var (entity, cell) = (row - rows.lowerBound).quotientAndRemainder(dividingBy: width)
        while row < rows.upperBound {
            if let block = block(entity, cell), fill.hasRoom(for: weight(series: block.present)) {
                _ = fill.take(weight(series: block.present))
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

    func write(_ rows: Range<Int>, timeMs: Int64, to message: inout SeriesMessage) {
        var (entity, cell) = (rows.lowerBound - self.rows.lowerBound).quotientAndRemainder(dividingBy: width)
        var labels: [UInt8]?
        for _ in rows {
            if let value = value(entity, cell) {
                let encoded = labels ?? self.labels(entity)
                labels = encoded
                message.add(name: names[cell], labels: encoded, timeMs: timeMs, value: value)
            }
            cell += 1
            if cell == width {
                cell = 0
                entity += 1
                labels = nil
            }
        }
    }

    private func weight(series: Int) -> RowWeight {
        RowWeight(samples: series, bytes: series * seriesBytesMax)
    }

    /// What begins at a cell, if that is the first of a block: its cells, and how many of them are present.
    private func block(_ entity: Int, _ cell: Int) -> (cells: Int, present: Int)? {
        if cell == 0 { return (Self.gpuCells, hasCounts(entity) ? Self.gpuCells : 0) }
        let within = cell - Self.gpuCells
        guard within >= 0, within % Self.fieldCells == 0 else { return nil }
        return (
            Self.fieldCells, isNamed(entity) ? level.columns[within / Self.fieldCells].statistics(entity) : 0
        )
    }

    private func value(_ entity: Int, _ cell: Int) -> Double? {
        if cell < Self.gpuCells {
            return hasCounts(entity) ? Double(Self.gpuStatistics[cell].value(level.gpus, entity)) : nil
        }
        guard isNamed(entity) else { return nil }
        let (column, statistic) = (cell - Self.gpuCells).quotientAndRemainder(dividingBy: Self.fieldCells)
        return Self.fieldStatistics[statistic].value(level.columns[column], entity)
    }

    private func hasCounts(_ entity: Int) -> Bool { level.hasGPUs(entity) && isNamed(entity) }

    /// A job without a name is what is outside of any job: no series.
    private func isNamed(_ entity: Int) -> Bool {
        level.level != .job || !(level.jobs[safely: entity]?.isEmpty ?? true)
    }

    private func labels(_ entity: Int) -> [UInt8] {
        let place = window.place(level.level, entity).map { Label($0.name, $0.value) }
        return SeriesMessage.encoded((place + common).sorted { $0.name < $1.name })
    }
}

extension FieldColumn {
    /// How many statistics an entity has.
    fileprivate func statistics(_ entity: Int) -> Int {
        guard entity < entityCount, count[entity] > 0 else { return 0 }
        return 5 + (entity < p50.count ? 1 : 0) + (entity < p90.count ? 1 : 0) + (entity < p99.count ? 1 : 0)
    }
}

/// A remote write 1.0 message of series with one sample each, put together from labels that were encoded before: a
/// label is encoded once a window or once an entity, and not once a series.
struct SeriesMessage {
    private var bytes: [UInt8] = []

    init() {}

    /// `Label { name = 1; value = 2 }` as field 1 of a series, one after the other; those without a value are left out.
    static func encoded(_ labels: [Label]) -> [UInt8] {
        var bytes: [UInt8] = []
        for label in labels where !label.value.isEmpty {
            var inner: [UInt8] = []
            for (tag, text) in [(UInt8(0x0A), label.name), (0x12, label.value)] {
                inner.append(tag)
                appendVarint(UInt64(text.utf8.count), to: &inner)
                inner.append(contentsOf: text.utf8)
            }
            bytes.append(0x0A)
            appendVarint(UInt64(inner.count), to: &bytes)
            bytes += inner
        }
        return bytes
    }

    /// `TimeSeries { labels = 1; samples = 2 }` as field 1 of the request.
    mutating func add(name: [UInt8], labels: [UInt8], timeMs: Int64, value: Double) {
        let time = UInt64(bitPattern: timeMs)
        let timeBytes = max(1, (UInt64.bitWidth - time.leadingZeroBitCount + 6) / 7)
        let sample = 9 + 1 + timeBytes
        bytes.append(0x0A)
        Self.appendVarint(UInt64(name.count + labels.count + 2 + sample), to: &bytes)
        bytes += name
        bytes += labels
        // `Sample { double value = 1; int64 timestamp = 2 }`.
        bytes.append(0x12)
        bytes.append(UInt8(sample))
        bytes.append(0x09)
        withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
        bytes.append(0x10)
        Self.appendVarint(time, to: &bytes)
    }

    func compressed() -> [UInt8] { Snappy.encode(bytes) }

    private static func appendVarint(_ value: UInt64, to bytes: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}
