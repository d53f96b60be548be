import ControlAPI
import Logging
import Playback
import Settings
import Simulation
import Store
import Telemetry

// Faults on purpose, and what is true beside what was seen.
extension SimulationRuns {
    /// Injections of a run are few, and each is kept for ever.
    private static let injectionsMax = 1_000

    func inject(run name: String, _ request: InjectionRequest) async throws -> InjectionReply {
        guard let playing = runs[name], !playing.run.status().state.isOver else {
            _ = try await status(run: name)
            throw ControlError(.conflict, "Run \(name) is over.", hint: "Start another one.")
        }
        guard try await store.injections(run: name).count < Self.injectionsMax else {
            throw ControlError(.conflict, "Run \(name) has \(Self.injectionsMax) injected faults already.")
        }
        let forMs = try Self.length(request.for)
        let store = store
        let injection: FaultInjection?
        do {
            injection = try await playing.run.inject(request.kind, at: request.at, forMs: forMs) {
                injection in
                try await store.save(
                    StoredInjection(
                        timeMs: injection.timeMs, kind: request.kind, entity: request.at, forMs: forMs),
                    run: name)
            }
        } catch let problem as ScenarioProblem {
            throw Self.error(problem)
        }
        guard let injection else {
            throw ControlError(.conflict, "Run \(name) is over.", hint: "Start another one.")
        }
        logger.notice(
            "a fault is injected",
            metadata: ["run": "\(name)", "kind": "\(request.kind)", "entity": "\(request.at)"])
        return InjectionReply(
            run: name, kind: request.kind, at: request.at, time: UTCTime(ms: injection.timeMs),
            forSeconds: forMs.map { Double($0) / 1_000 })
    }

    /// The faults that a run was given before.
    func injections(_ name: String, _ plan: FleetPlan) async throws -> [FaultInjection] {
        try await store.injections(run: name).compactMap { stored in
            try? plan.injection(stored.kind, at: stored.entity, timeMs: stored.timeMs, forMs: stored.forMs)
        }
    }

    func truth(run name: String, _ request: TruthRequest) async throws -> TruthReply {
        let status = try await status(run: name)
        guard let stream = StreamID.simulated(run: name) else {
            throw ControlError(.failed, "The stored run \(name) has no valid name.")
        }
        let plan = try await plan(name)
        let injections = try await injections(name, plan)
        let position = runs[name]?.run.status().positionMs ?? status.now.time.ms
        guard !isTellingTruth else {
            throw ControlError(
                .tryAgain, "Another trajectory is being worked out.", hint: "Try again in some seconds.")
        }
        isTellingTruth = true
        defer { isTellingTruth = false }
        // Following every node through months takes seconds; nobody else waits for it.
        let faults = await Task.detached {
            var model = FleetModel(plan: plan, injections: injections)
            model.keepsTruth = true
            model.advance(to: position)
            return model.faults
        }.value
        let meant = request.injected ? faults.filter(\.isInjected) : faults
        var rows: [FaultRow] = []
        var reader = DetectionReader(
            store: store, stream: stream, plan: plan, resolutions: try await store.resolutions(stream),
            closedThroughMs: try await store.closedThrough(stream) ?? .min)
        for fault in meant.suffix(request.limit) { rows.append(try await reader.row(fault)) }
        // Right after a restart a run has not come to the last ones yet.
        let waiting = try await store.injections(run: name).filter { $0.timeMs > position }
        rows += waiting.map { stored in
            let parts = stored.entity.split(separator: "/")
            return FaultRow(
                time: UTCTime(ms: stored.timeMs), kind: stored.kind, entity: String(parts.first ?? ""),
                gpu: parts.count == 2 ? Int(parts[1]) : nil, injected: true, detection: .unknown)
        }
        return TruthReply(
            run: name, until: UTCTime(ms: position), total: meant.count + waiting.count, faults: rows)
    }

    /// Forgets a run that is over.
    func remove(run name: String) async throws -> SimulationStatus {
        let last = try await status(run: name)
        if let playing = runs[name], !playing.run.status().state.isOver {
            throw ControlError(
                .conflict, "Run \(name) is playing.", hint: "Stop it first: colossusctl simulate stop \(name)"
            )
        }
        // A run that has just finished or stopped is over once its last window is stored.
        // One that could not go on, or has the name of the cluster's, plays no more.
        let isOver = last.state.isOver || runs[name] == nil && !isStarting(name)
        guard isOver, runs[name]?.hasEnded != false else {
            throw ControlError(.tryAgain, "Run \(name) is about to end.", hint: "Try again in a moment.")
        }
        guard let stream = StreamID.simulated(run: name) else { return last }
        try await store.remove(stream)
        forget(name)
        logger.notice("a run is removed", metadata: ["run": "\(name)"])
        return last
    }

    private func plan(_ name: String) async throws -> FleetPlan {
        if let playing = runs[name] { return playing.run.plan }
        guard let record = try await store.runs().first(where: { $0.name == name }) else {
            throw ControlError(.notFound, "There is no run \(name).")
        }
        return try FleetPlan(parseScenario(record.scenario, file: record.path, seed: record.seed))
    }

    static func error(_ problem: ScenarioProblem) -> ControlError {
        ControlError(
            problem.key == "at" ? .notFound : .badRequest, problem.found.capitalizedFirst + ".",
            hint: "Expected: \(problem.expected).")
    }

    static func length(_ text: String?) throws -> Int64? {
        guard let text else { return nil }
        guard let ms = DurationText.milliseconds(text), (1_000...365 * UTC.dayMs).contains(ms) else {
            throw ControlError(.badRequest, "A fault for \(text) cannot be.", hint: "Write 1s to 365d.")
        }
        return ms
    }
}

/// Looks for a fault's first sign in the windows that the core closed.
private struct DetectionReader {
    /// Windows after a fault that are looked at.
    private static let windowsMax: Int64 = 12
    private static let windowsKept = 64

    private enum Sign: String { case xid, silence, temperature }

    let store: HistoryStore
    let stream: StreamID
    let plan: FleetPlan
    let resolutions: [Int64]
    let closedThroughMs: Int64
    private var known: [Key: StoredWindow] = [:]

    private struct Key: Hashable {
        var resolutionMs: Int64
        var startMs: Int64
    }

    init(
        store: HistoryStore, stream: StreamID, plan: FleetPlan, resolutions: [Int64], closedThroughMs: Int64
    ) {
        self.store = store
        self.stream = stream
        self.plan = plan
        self.resolutions = resolutions
        self.closedThroughMs = closedThroughMs
    }

    mutating func row(_ fault: TrueFault) async throws -> FaultRow {
        let cause = plan.cause(of: fault)
        var row = FaultRow(
            time: UTCTime(ms: fault.timeMs), kind: cause.name, entity: plan.entity(of: fault),
            gpu: plan.gpu(of: fault), injected: fault.isInjected, missed: fault.hasMissed, detection: .hidden)
        guard !fault.hasMissed, !row.entity.isEmpty, let sign = Self.sign(cause) else { return row }
        row.detection = .unknown
        for resolutionMs in resolutions {
            let startMs = fault.timeMs - fault.timeMs % resolutionMs
            guard try await window(resolutionMs, startMs) != nil else { continue }
            guard let endMs = try await first(sign, fault, resolutionMs, startMs) else {
                if startMs + Self.windowsMax * resolutionMs <= closedThroughMs { row.detection = .undetected }
                break
            }
            row.detection = .detected
            row.detected = UTCTime(ms: endMs)
            row.sign = sign.rawValue
            row.delaySeconds = Double(endMs - fault.timeMs) / 1_000
            break
        }
        return row
    }

    /// What a fault shows in telemetry before anybody does anything about it.
    private static func sign(_ cause: Scenario.Cause) -> Sign? {
        switch cause.effect {
        // A GPU that is off the bus cannot tell of its XID.
        case .gpu where cause.xid == 79, .node: .silence
        case .gpu, .software, .silent, .stall, .planned: cause.xid > 0 ? .xid : nil
        case .slow: cause.xid > 0 ? .xid : .temperature
        }
    }

    /// End of the first window with the sign.
    private mutating func first(
        _ sign: Sign, _ fault: TrueFault, _ resolutionMs: Int64, _ startMs: Int64
    ) async throws -> Int64? {
        var before = try await window(resolutionMs, startMs - resolutionMs).flatMap { reporting($0, fault) }
        for number in 0..<Self.windowsMax {
            let start = startMs + number * resolutionMs
            guard let window = try await window(resolutionMs, start) else { return nil }
            let now = reporting(window, fault)
            let isThere =
                switch sign {
                case .silence: before.flatMap { before in now.map { $0 < before } } ?? false
                case .xid: (value(.xidErrors, window, fault)?.sum ?? 0) > 0
                case .temperature:
                    (value(.gpuTemp, window, fault)?.max ?? 0)
                        > Double(plan.scenario.telemetry.throttleCelsius)
                }
            if isThere { return start + resolutionMs }
            before = now ?? before
        }
        return nil
    }

    private mutating func window(_ resolutionMs: Int64, _ startMs: Int64) async throws -> StoredWindow? {
        let key = Key(resolutionMs: resolutionMs, startMs: startMs)
        if let known = known[key] { return known }
        guard startMs + resolutionMs <= closedThroughMs,
            let window = try await store.window(
                stream, resolutionMs: resolutionMs, startMs: startMs, fields: [.xidErrors, .gpuTemp]),
            window.summary.startMs == startMs
        else { return nil }
        if known.count >= Self.windowsKept { known.removeAll() }
        known[key] = window
        return window
    }

    /// The finest level of a window, and the place of the fault's entity in it.
    private func place(_ window: StoredWindow, _ fault: TrueFault) -> (LevelSummary, Int)? {
        for level in [Level.node, .rack, .array, .hall, .site] {
            guard let summary = window.summary.level(level), let name = plan.area(of: fault, level: level),
                let index = window.topology.names(level).firstIndex(of: name),
                index < summary.gpus.reporting.count
            else { continue }
            return (summary, index)
        }
        return nil
    }

    private func reporting(_ window: StoredWindow, _ fault: TrueFault) -> UInt32? {
        place(window, fault).map { $0.gpus.reporting[$1] }
    }

    private func value(
        _ field: FieldIndex, _ window: StoredWindow, _ fault: TrueFault
    ) -> (sum: Double, max: Double)? {
        guard let (summary, index) = place(window, fault),
            let column = summary.columns.first(where: { $0.field == field }), column.count[index] > 0
        else { return nil }
        return (column.sum[index], column.max[index])
    }
}

extension String {
    fileprivate var capitalizedFirst: String { prefix(1).uppercased() + dropFirst() }
}
