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
    /// What stands around a summary.
    enum Layout: Sendable {
        /// Nothing, or an end of line.
        case plain, line
        /// `application/cloudevents+json`: the summary is the `data` of an event.
        case event
        /// `application/cloudevents-batch+json`: each row is an event of its own, `colossus.summary_row/v1`.
        case events
    }

    let window: SelectedWindow
    let layout: Layout
    let form: WireForm
    private let statistics: [FieldStatistic]
    private let hasGPUCounts: Bool
    private let source: String
    /// First row of each level, and the end.
    private let starts: [Int]
    private let placeBytesMax: [Int]

    /// Every line starts like this, and goes on with the id: `FileAppender` reads ids back.
    static let idPrefix = "{\"schema\":\"colossus.summary/v1\",\"id\":\""

    init(window: SelectedWindow, _ configuration: EndpointConfiguration, layout: Layout) {
        self.window = window
        self.layout = layout
        form = WireForm(compression: configuration.compression ?? .none)
        statistics = FieldStatistic.allCases.filter {
            configuration.statistics.isEmpty || configuration.statistics.contains($0)
        }
        hasGPUCounts = configuration.hasGPUCounts
        source = configuration.source
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
        var samples = hasGPUCounts && level.hasGPUs(entity) ? GPUStatistic.allCases.count : 0
        // Names of the level and of the place, with their keys; JSON may need 6 bytes for one.
        var bytes = (layout == .events ? 1_024 : 256) + placeBytesMax[index] * 6
        for column in level.columns where entity < column.entityCount && column.count[entity] > 0 {
            // A double has 24 characters at most, and there are 8 of them with short keys.
            let hasQuantiles = level.level.hasQuantiles && !column.p50.isEmpty
            samples += statistics.count { hasQuantiles || !$0.isQuantile }
            bytes += 8 * 36 + 64
        }
        if level.level == .job, level.jobs[safely: entity]?.isEmpty ?? true { return .absent }
        return samples == 0 ? .absent : RowWeight(samples: samples, bytes: bytes)
    }

    func body(_ rows: Range<Int>, id: String, part: Int, form: WireForm) -> [UInt8] {
        var json = JSONWriter()
        switch layout {
        case .plain, .line: json.object { summary(rows, id: id, part: part, &$0) }
        case .event:
            json.object { json in
                envelope(id: id, type: "colossus.summary", &json)
                json.key("data")
                json.object { summary(rows, id: id, part: part, &$0) }
            }
        case .events:
            json.array { json in
                for row in rows where weight(row: row).isPresent { json.object { event(row, id: id, &$0) } }
            }
        }
        if layout == .line { json.newline() }
        return form.compression.pack(json.bytes)
    }

    private func summary(_ rows: Range<Int>, id: String, part: Int, _ json: inout JSONWriter) {
        let summary = window.summary
        json.field("schema", "colossus.summary/v1")
        json.field("id", id)
        header(&json)
        json.field("part", Int64(part))
        json.field("coverage", summary.coverage)
        if let timeline = summary.timeline, rows.contains(0) { Self.write(timeline, &json) }
        json.key("rows")
        json.array { json in
            for row in rows where weight(row: row).isPresent {
                if let (index, entity) = locate(row) {
                    json.object { fields(of: window.levels[index], entity, &$0) }
                }
            }
        }
    }

    private func header(_ json: inout JSONWriter) {
        let summary = window.summary
        json.field("stream", summary.stream.name)
        json.field("resolution", Resolution.text(summary.resolutionMs))
        json.field("resolution_ms", summary.resolutionMs)
        json.field("start", UTC.timestamp(summary.startMs))
        json.field("end", UTC.timestamp(summary.endMs))
        json.field("start_ms", summary.startMs)
        json.field("end_ms", summary.endMs)
        json.field("revision", Int64(summary.revision))
    }

    /// CloudEvents 1.0.2, JSON event format.
    private func envelope(id: String, type: String, _ json: inout JSONWriter) {
        json.field("specversion", "1.0")
        json.field("id", id)
        json.field("source", source)
        json.field("type", type)
        json.field("time", UTC.timestamp(window.summary.endMs))
        json.field("datacontenttype", "application/json")
    }

    /// One row; its id does not depend on where parts end.
    private func event(_ row: Int, id: String, _ json: inout JSONWriter) {
        let base = Part.id(of: window.summary)
        let place = locate(row)
        let type = place == nil ? "colossus.timeline" : "colossus.summary_row"
        envelope(id: "\(base)/row-\(row)", type: type, &json)
        json.key("data")
        json.object { json in
            json.field("schema", type + "/v1")
            header(&json)
            json.field("coverage", window.summary.coverage)
            if let (index, entity) = place {
                fields(of: window.levels[index], entity, &json)
            } else if let timeline = window.summary.timeline {
                Self.write(timeline, &json)
            }
        }
    }

    private func locate(_ row: Int) -> (level: Int, entity: Int)? {
        guard row > 0 else { return nil }
        var level = 0
        while starts[level + 1] <= row { level += 1 }
        return (level, row - starts[level])
    }

    private func fields(of level: SelectedLevel, _ entity: Int, _ json: inout JSONWriter) {
        json.field("level", level.level.rawValue)
        for (name, value) in window.place(level.level, entity) where !value.isEmpty {
            json.field(name, value)
        }
        if hasGPUCounts, level.hasGPUs(entity) {
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
                json.key(column.field.field.name)
                json.object { json in
                    for statistic in statistics {
                        if let value = statistic.value(column, entity) {
                            json.field(statistic.rawValue, value)
                        }
                    }
                }
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
