import Sketches
import Telemetry
import WireFormats

/// The series of one level: `entity x cell`, where the cells are the GPU counts and then `field x statistic`.
struct SeriesLevel: Sendable {
    private let time: SeriesTime
    private let level: SelectedLevel
    private let places: Places
    private let common: [Label]
    private let columns: SeriesColumns
    private let cells: [SeriesCell]
    private let gpuStatistics: [GPUStatistic]
    private let fieldStatistics: [FieldStatistic]
    private let fieldCells: Int
    /// The most bytes that a series can have, distributions aside.
    private let seriesBytesMax: Int
    let rows: Range<Int>

    init(
        _ level: SelectedLevel, of window: SelectedWindow, firstRow: Int, common: [Label],
        _ names: inout SeriesNames, _ configuration: EndpointConfiguration, _ format: SeriesGrid.Format
    ) {
        time = SeriesTime(startMs: window.summary.startMs, endMs: window.summary.endMs)
        self.level = level
        self.common = common
        places = window.places(of: level)
        columns = SeriesColumns(level.level, level.columns.map(\.field), &names, configuration)
        cells = columns.cells
        gpuStatistics = columns.gpuStatistics
        fieldStatistics = columns.fieldStatistics
        fieldCells = columns.fieldCells
        rows = firstRow..<(firstRow + level.entityCount * cells.count)
        seriesBytesMax = columns.seriesBytesMax(
            places: places.bytesMax(level.level), common, configuration, format)
    }

    private var width: Int { cells.count }

    var hasDistributions: Bool { columns.hasDistributions }

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

    private func isNamed(_ entity: Int) -> Bool { level.isNamed(entity) }

    private func labels(_ entity: Int) -> [Label] {
        places.labels(level.level, entity, common)
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
