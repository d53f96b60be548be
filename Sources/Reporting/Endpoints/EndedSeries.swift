import Telemetry
import WireFormats

/// The ends of series that have had no value for a while: a job is over, a node was taken out, a field is not sent any more. Each
/// gets Prometheus' stale marker at the window's end, so that nobody takes the last value for that of the next minutes.
struct EndedSeries: Sendable {
    private struct OfLevel: Sendable {
        let ended: EndedLevel
        let columns: SeriesColumns
        let seriesBytesMax: Int
    }

    /// A cell of an entity.
    private struct Row: Sendable {
        var level: Int32
        /// Among those that end.
        var entity: Int32
        var cell: Int32
    }

    private let time: SeriesTime
    private let common: [Label]
    private let levels: [OfLevel]
    private let ends: [Row]
    let rows: Range<Int>

    /// - Parameter time: of the window in which they end.
    /// - Returns: `nil` where nothing has ended that the endpoint wants.
    init?(
        _ ended: [EndedLevel], time: SeriesTime, firstRow: Int, common: [Label], _ names: inout SeriesNames,
        _ configuration: EndpointConfiguration, _ format: SeriesGrid.Format
    ) {
        var levels: [OfLevel] = []
        var ends: [Row] = []
        for level in ended {
            var kinds: Set<EndedLevel.Block> = []
            for one in level.entities { kinds.formUnion(one.blocks) }
            let fields = Set(kinds.compactMap(\.field)).sorted()
            let columns = SeriesColumns(level.level, fields, &names, configuration)
            var known: [EndedLevel.Block: [Int]] = [:]
            for (entity, one) in level.entities.enumerated() {
                for block in one.blocks {
                    let cells = known[block] ?? columns.cells(of: block, fields)
                    known[block] = cells
                    for cell in cells {
                        ends.append(Row(level: Int32(levels.count), entity: Int32(entity), cell: Int32(cell)))
                    }
                }
            }
            let gone = level.entities.reduce(0) { max($0, $1.entity.bytes) }
            levels.append(
                OfLevel(
                    ended: level, columns: columns,
                    seriesBytesMax: columns.seriesBytesMax(
                        places: max(gone, level.places.bytesMax(level.level)), common, configuration, format))
            )
        }
        guard !ends.isEmpty else { return nil }
        self.levels = levels
        self.ends = ends
        self.time = time
        self.common = common
        rows = firstRow..<(firstRow + ends.count)
    }

    var hasDistributions: Bool { levels.contains { $0.columns.hasDistributions } }

    func distributions(in rows: Range<Int>) -> Int {
        rows.reduce(0) { sum, row in
            let end = ends[row - self.rows.lowerBound]
            return sum + (levels[Int(end.level)].columns.cells[Int(end.cell)].isDistribution ? 1 : 0)
        }
    }

    func weight(row: Int) -> RowWeight {
        RowWeight(samples: 1, bytes: levels[Int(ends[row - rows.lowerBound].level)].seriesBytesMax)
    }

    func write<Writer: SeriesWriter>(_ rows: Range<Int>, to writer: inout Writer) {
        var last: (level: Int32, entity: Int32, place: Writer.Place)?
        for row in rows {
            let end = ends[row - self.rows.lowerBound]
            let place =
                last.flatMap { ($0.level, $0.entity) == (end.level, end.entity) ? $0.place : nil }
                ?? writer.place(labels(end))
            last = (end.level, end.entity, place)
            writer.end(levels[Int(end.level)].columns.cells[Int(end.cell)], place, time)
        }
    }

    private func labels(_ end: Row) -> [Label] {
        let level = levels[Int(end.level)].ended
        return switch level.entities[Int(end.entity)].entity {
        case .number(let number): level.places.labels(level.level, Int(number), common)
        case .gone(let place): Places.labels(place, common)
        }
    }
}

extension EndedLevel.Block {
    fileprivate var field: FieldIndex? {
        switch self {
        case .gpus: nil
        case .values(let field, _), .distribution(let field): field
        }
    }
}

extension EndedLevel.Entity {
    /// Of its names, where they are not those of a topology.
    fileprivate var bytes: Int {
        if case .gone(let place) = self {
            place.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count }
        } else {
            0
        }
    }
}

extension SeriesColumns {
    /// - Parameter fields: those that it was made of.
    fileprivate func cells(of block: EndedLevel.Block, _ fields: [FieldIndex]) -> [Int] {
        func first(_ field: FieldIndex) -> Int {
            gpuStatistics.count + (fields.firstIndex(of: field) ?? 0) * fieldCells
        }
        switch block {
        case .gpus: return Array(0..<gpuStatistics.count)
        case .values(let field, let hasQuantiles):
            return fieldStatistics.indices.filter { hasQuantiles || !fieldStatistics[$0].isQuantile }
                .map { first(field) + $0 }
        case .distribution(let field): return hasDistributions ? [first(field) + fieldStatistics.count] : []
        }
    }
}
