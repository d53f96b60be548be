import ControlAPI
import Telemetry

extension TimelineRow {
    init(_ point: TimelinePoint) {
        self.init(time: UTCTime(ms: point.timeMs))
        day = point.day
        phase = point.phase
        phaseDay = point.phaseDay
        phaseDays = point.phaseDays
        announced = point.announced
        installed = point.installed
        powered = point.powered
        inTraining = point.inTraining
        utilization = point.utilization
        megawatts = point.megawatts
        interruptions = point.interruptions
        // A job that has trained at all has one above zero.
        if point.ettr > 0 { ettr = point.ettr }
    }
}

extension EventRow {
    init(_ event: Event, sequence: Int64) {
        self.init(
            sequence: sequence, stream: event.stream.name, time: UTCTime(ms: event.timeMs),
            kind: event.kind.rawValue, message: event.sentence, source: event.source.rawValue)
        entity = event.entity
        gpu = event.gpu
        job = event.job
        value = event.value
        if !event.nodes.isEmpty { nodes = event.nodes }
    }
}

extension SampleAccount {
    init(_ ledger: Ledger) {
        let reasons = DropReason.allCases.filter { ledger[$0] != 0 }
        self.init(
            received: ledger.received, aggregated: ledger.aggregated,
            dropped: Dictionary(uniqueKeysWithValues: reasons.map { ($0.label, ledger[$0]) }),
            inFlight: ledger.inFlight)
        let advice = reasons.compactMap { reason in reason.advice.map { (reason.label, $0) } }
        if !advice.isEmpty { hints = Dictionary(uniqueKeysWithValues: advice) }
    }
}

extension SummaryReply {
    /// What a request asked for out of a window: the rows of one level, by entity and then by field.
    init(_ window: WindowSummary, names: [String], level: LevelSummary, request: SummaryRequest) {
        self.init(
            stream: window.stream.name, resolution: DurationText.text(ms: window.resolutionMs),
            windowStart: UTCTime(ms: window.startMs), windowEnd: UTCTime(ms: window.endMs),
            level: level.level.rawValue)
        revision = window.revision
        coverage = window.coverage
        let wanted = level.gpus.expected.indices.filter { entity in
            guard entity < names.count else { return false }
            if let only = request.entity { return names[entity] == only }
            return level.gpus.expected[entity] > 0 || level.columns.contains { $0.count[entity] > 0 }
        }
        for entity in wanted {
            guard gpus.count < request.limit else {
                truncated = true
                break
            }
            gpus.append(GPURow(names[entity], level.gpus, entity))
        }
        for entity in wanted {
            for column in level.columns {
                guard rows.count < request.limit else {
                    truncated = true
                    return
                }
                rows.append(SummaryRow(names[entity], column, entity))
            }
        }
    }
}

extension GPURow {
    fileprivate init(_ name: String, _ counts: GPUCounts, _ entity: Int) {
        self.init(
            entity: name, expected: Int(counts.expected[entity]), reporting: Int(counts.reporting[entity]),
            silent: Int(counts.silent(entity)), inJob: Int(counts.inJob[entity]),
            faulted: Int(counts.faulted[entity]))
        if counts.maintenance[entity] > 0 { maintenance = Int(counts.maintenance[entity]) }
    }
}

extension SummaryRow {
    fileprivate init(_ name: String, _ column: FieldColumn, _ entity: Int) {
        let field = column.field.field
        self.init(
            entity: name, field: field.name, unit: field.unit, count: Int64(column.count[entity]),
            mean: column.mean(entity))
        guard column.count[entity] > 0 else { return }
        min = column.min[entity]
        max = column.max[entity]
        guard !column.p50.isEmpty else { return }
        p50 = column.p50[entity]
        p90 = column.p90[entity]
        p99 = column.p99[entity]
    }
}
