import Telemetry
import WireFormats

/// What the series of a level's entities are called: the GPU counts, and then the statistics of each field.
struct SeriesColumns: Sendable {
    let level: Level
    let cells: [SeriesCell]
    let gpuStatistics: [GPUStatistic]
    /// The distribution, where it is wanted, comes behind them.
    let fieldStatistics: [FieldStatistic]
    /// Of one field.
    let fieldCells: Int

    init(
        _ level: Level, _ fields: [FieldIndex], _ names: inout SeriesNames,
        _ configuration: EndpointConfiguration
    ) {
        self.level = level
        gpuStatistics = configuration.hasGPUCounts ? GPUStatistic.allCases : []
        fieldStatistics = FieldStatistic.allCases.filter {
            configuration.statistics.isEmpty || configuration.statistics.contains($0)
        }
        let statistics =
            fieldStatistics.map(\.rawValue) + (configuration.hasHistograms ? [SeriesCell.distribution] : [])
        fieldCells = statistics.count
        var cells: [SeriesCell] = []
        func add(_ field: String, _ statistic: String, _ unit: String, _ help: String) {
            var cell = SeriesCell(
                index: 0, level: level, field: field, statistic: statistic, unit: unit, help: help)
            cell.index = names.number(cell.name)
            cells.append(cell)
        }
        for one in gpuStatistics { add("colossus_gpus", one.rawValue, "", "GPUs in the window.") }
        for field in fields.map(\.field) {
            for one in statistics {
                add(field.name, one, one == FieldStatistic.count.rawValue ? "" : field.unit, field.help)
            }
        }
        self.cells = cells
    }

    var hasDistributions: Bool { fieldCells > fieldStatistics.count }

    /// The most bytes that a series can have, distributions aside.
    func seriesBytesMax(
        places: Int, _ common: [Label], _ configuration: EndpointConfiguration, _ format: SeriesGrid.Format
    ) -> Int {
        // 5 labels of the place at most, with 16 bytes each for name, tags and lengths; the sample and its frame.
        let fixed = 5 * 16 + 40 + SeriesMessage.encoded(common).count
        let inRemoteWrite =
            fixed + places
            + (cells.map { $0.encodedName.count + $0.unit.utf8.count + $0.help.utf8.count }.max() ?? 0)
        return format.bytes(inRemoteWrite, payload: configuration.payload)
    }
}

extension Places {
    /// Those of an entity's series but the name, sorted.
    func labels(_ level: Level, _ entity: Int, _ common: [Label]) -> [Label] {
        Self.labels(place(level, entity), common)
    }

    static func labels(_ place: [(name: String, value: String)], _ common: [Label]) -> [Label] {
        (place.map { Label($0.name, $0.value) } + common)
            .filter { !$0.value.isEmpty }.sorted { $0.name < $1.name }
    }
}
