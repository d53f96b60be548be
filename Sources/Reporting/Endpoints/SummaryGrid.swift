import Store
import Telemetry

/// The JSON form of a window, `colossus.summary/v1`: one row an entity, with all its fields.
///
///     {"schema":"colossus.summary/v1","id":"measured/10000/1725235200000/0/0","stream":"measured",
///      "resolution":"10s","resolution_ms":10000,"start":"2024-09-02T00:00:00Z","end":"2024-09-02T00:00:10Z",
///      "start_ms":1725235200000,"end_ms":1725235210000,"revision":0,"part":0,"coverage":1,
///      "timeline":{"day":122,"phase":"…","phase_day":…,"phase_days":…,"announced":…,"installed":…,"powered":…,
///                  "in_training":…,"utilization":0.97,"megawatts":141.2,"interruptions":3,"ettr":0.93},
///      "rows":[{"level":"rack","array":"a1","hall":"h1","rack":"r1","site":"memphis",
///               "gpus":{"expected":64,"reporting":64,"silent":0,"in_job":64,"faulted":0},
///               "fields":{"DCGM_FI_DEV_POWER_USAGE":{"avg":…,"min":…,"max":…,"count":640,"sum":…,
///                                                    "p50":…,"p90":…,"p99":…}}}]}
///
/// `timeline` is in the first part of windows that have one; quantiles are there from the rack upwards. Entities and
/// fields that nothing was heard of are left out. Keys come in this order; ids are stable over retries.
struct SummaryGrid: WindowGrid {
    let window: SelectedWindow
    let endsWithNewline: Bool
    /// First row of each level, and the end.
    private let starts: [Int]
    private let placeBytesMax: [Int]

    /// Every line starts like this, and goes on with the id: `FileAppender` reads ids back.
    static let idPrefix = "{\"schema\":\"colossus.summary/v1\",\"id\":\""

    init(window: SelectedWindow, endsWithNewline: Bool) {
        self.window = window
        self.endsWithNewline = endsWithNewline
        // Row 0 is the window itself, so that one with a timeline and no entity is still said.
        var starts = [1]
        for level in window.levels { starts.append((starts.last ?? 1) + level.entityCount) }
        self.starts = starts
        placeBytesMax = window.levels.map { window.placeBytesMax($0.level) }
    }

    var rowCount: Int { starts.last ?? 1 }

    func weight(row: Int) -> RowWeight {
        guard let (index, entity) = locate(row) else {
            return window.summary.timeline == nil ? .absent : RowWeight(samples: 1, bytes: 2_048)
        }
        let level = window.levels[index]
        var samples = level.hasGPUs(entity) ? GPUStatistic.allCases.count : 0
        // Names of the level and of the place, with their keys; JSON may need 6 bytes for one.
        var bytes = 256 + placeBytesMax[index] * 6
        for column in level.columns where entity < column.entityCount && column.count[entity] > 0 {
            // A double has 24 characters at most, and there are 8 of them with short keys.
            samples += level.level.hasQuantiles && !column.p50.isEmpty ? 8 : 5
            bytes += 8 * 36 + 64
        }
        if level.level == .job, level.jobs[safely: entity]?.isEmpty ?? true { return .absent }
        return samples == 0 ? .absent : RowWeight(samples: samples, bytes: bytes)
    }

    func body(_ rows: Range<Int>, id: String, part: Int) -> [UInt8] {
        let summary = window.summary
        var json = JSONWriter()
        json.object { json in
            json.field("schema", "colossus.summary/v1")
            json.field("id", id)
            json.field("stream", summary.stream.name)
            json.field("resolution", Resolution.text(summary.resolutionMs))
            json.field("resolution_ms", summary.resolutionMs)
            json.field("start", UTC.timestamp(summary.startMs))
            json.field("end", UTC.timestamp(summary.endMs))
            json.field("start_ms", summary.startMs)
            json.field("end_ms", summary.endMs)
            json.field("revision", Int64(summary.revision))
            json.field("part", Int64(part))
            json.field("coverage", summary.coverage)
            if let timeline = summary.timeline, rows.contains(0) { Self.write(timeline, &json) }
            json.key("rows")
            json.array { json in
                for row in rows where weight(row: row).isPresent {
                    if let (index, entity) = locate(row) { write(window.levels[index], entity, &json) }
                }
            }
        }
        if endsWithNewline { json.newline() }
        return json.bytes
    }

    private func locate(_ row: Int) -> (level: Int, entity: Int)? {
        guard row > 0 else { return nil }
        var level = 0
        while starts[level + 1] <= row { level += 1 }
        return (level, row - starts[level])
    }

    private func write(_ level: SelectedLevel, _ entity: Int, _ json: inout JSONWriter) {
        json.object { json in
            json.field("level", level.level.rawValue)
            for (name, value) in window.place(level.level, entity) where !value.isEmpty {
                json.field(name, value)
            }
            if level.hasGPUs(entity) {
                json.key("gpus")
                json.object { json in
                    for statistic in GPUStatistic.allCases {
                        json.field(statistic.rawValue, Int64(statistic.value(level.gpus, entity)))
                    }
                }
            }
            json.key("fields")
            json.object { json in
                for column in level.columns where entity < column.entityCount && column.count[entity] > 0 {
                    Self.write(column, entity, &json)
                }
            }
        }
    }

    private static func write(_ column: FieldColumn, _ entity: Int, _ json: inout JSONWriter) {
        json.key(column.field.field.name)
        json.object { json in
            for statistic in FieldStatistic.allCases {
                if let value = statistic.value(column, entity) { json.field(statistic.rawValue, value) }
            }
        }
    }

    private static func write(_ point: TimelinePoint, _ json: inout JSONWriter) {
        json.key("timeline")
        json.object { json in
            json.field("day", Int64(point.day))
            json.field("phase", point.phase)
            json.field("phase_day", Int64(point.phaseDay))
            json.field("phase_days", Int64(point.phaseDays))
            json.field("announced", Int64(point.announced))
            json.field("installed", Int64(point.installed))
            json.field("powered", Int64(point.powered))
            json.field("in_training", Int64(point.inTraining))
            json.field("utilization", point.utilization)
            json.field("megawatts", point.megawatts)
            json.field("interruptions", Int64(point.interruptions))
            json.field("ettr", point.ettr)
        }
    }
}
