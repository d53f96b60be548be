import Telemetry
import WireFormats

/// The ends of series that the window before had and this one has not: a job is over, a node was taken out, a field is not
/// sent any more. Each gets Prometheus' stale marker at this window's end, so that nobody takes the last value for that of
/// the next five minutes.
struct EndedSeries: Sendable {
    /// Neighbouring cells of an entity: its GPU counts, or the statistics of a field.
    private struct Block: Sendable {
        var level: Int32
        var entity: Int32
        /// -1 for the GPU counts.
        var column: Int32
        var firstRow: Int
    }

    private struct OfLevel: Sendable {
        let presence: SeriesPresence.OfLevel
        let columns: SeriesColumns
        let seriesBytesMax: Int
    }

    private let time: SeriesTime
    private let common: [Label]
    private let levels: [OfLevel]
    private let blocks: [Block]
    let rows: Range<Int>

    /// - Returns: `nil` where nothing has ended.
    init?(
        _ before: SeriesPresence, _ now: SeriesPresence, firstRow: Int, common: [Label],
        _ names: inout SeriesNames, _ configuration: EndpointConfiguration, _ format: SeriesGrid.Format
    ) {
        var levels: [OfLevel] = []
        var blocks: [Block] = []
        var row = firstRow
        for presence in before.levels {
            let missing = presence.missing(in: now.levels.first { $0.level == presence.level })
                .filter { $0.column != nil || configuration.hasGPUCounts }
            guard !missing.isEmpty else { continue }
            let columns = SeriesColumns(presence.level, presence.columns.map(\.field), &names, configuration)
            // What is the same for all series of an entity is made once: they stand together.
            for entity in 0..<(missing.map(\.entities.count).max() ?? 0) {
                for one in missing where one.entities[entity] {
                    blocks.append(
                        Block(
                            level: Int32(levels.count), entity: Int32(entity),
                            column: Int32(one.column ?? -1), firstRow: row))
                    row += columns.block(one.column).count
                }
            }
            levels.append(
                OfLevel(
                    presence: presence, columns: columns,
                    seriesBytesMax: columns.seriesBytesMax(
                        places: presence.places.bytesMax(presence.level), common, configuration, format)))
        }
        guard !blocks.isEmpty else { return nil }
        self.levels = levels
        self.blocks = blocks
        self.common = common
        time = SeriesTime(startMs: now.endMs - now.resolutionMs, endMs: now.endMs)
        rows = firstRow..<row
    }

    var hasDistributions: Bool { levels.contains { $0.columns.hasDistributions } }

    func distributions(in rows: Range<Int>) -> Int {
        rows.reduce(0) { sum, row in
            let found = self.block(row)
            let isDistribution = levels[Int(found.level)].columns.cells[cell(row, found)].isDistribution
            return sum + (isDistribution && weight(row: row).isPresent ? 1 : 0)
        }
    }

    func weight(row: Int) -> RowWeight {
        let found = block(row)
        guard isPresent(row, found) else { return .absent }
        return RowWeight(samples: 1, bytes: levels[Int(found.level)].seriesBytesMax)
    }

    func write(_ rows: Range<Int>, to writer: inout some SeriesWriter) {
        var index = blockIndex(rows.lowerBound)
        var row = rows.lowerBound
        while row < rows.upperBound {
            let block = blocks[index]
            let level = levels[Int(block.level)]
            let place = writer.place(level.presence.places.labels(level.presence.level, Int(block.entity), common))
            let end = index + 1 < blocks.count ? blocks[index + 1].firstRow : self.rows.upperBound
            while row < min(end, rows.upperBound) {
                if isPresent(row, block) { writer.end(level.columns.cells[cell(row, block)], place, time) }
                row += 1
            }
            index += 1
        }
    }

    /// The window before had a value there.
    private func isPresent(_ row: Int, _ block: Block) -> Bool {
        guard block.column >= 0 else { return true }
        let level = levels[Int(block.level)]
        let column = level.presence.columns[Int(block.column)]
        let (within, entity) = (row - block.firstRow, Int(block.entity))
        guard within < level.columns.fieldStatistics.count else { return column.sketches[entity] }
        return switch level.columns.fieldStatistics[within] {
        case .avg, .min, .max, .count, .sum: true
        case .p50: entity < column.p50Count
        case .p90: entity < column.p90Count
        case .p99: entity < column.p99Count
        }
    }

    private func cell(_ row: Int, _ block: Block) -> Int {
        let columns = levels[Int(block.level)].columns
        return columns.block(block.column < 0 ? nil : Int(block.column)).lowerBound + row - block.firstRow
    }

    private func block(_ row: Int) -> Block { blocks[blockIndex(row)] }

    /// The last that begins at the row or before.
    private func blockIndex(_ row: Int) -> Int {
        var (low, high) = (0, blocks.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if blocks[middle].firstRow <= row { low = middle } else { high = middle }
        }
        return low
    }
}
