import Aggregation
import Alerts
import ControlAPI
import ControlServer
import Glibc
import Logging
import Receivers
import Settings
import Store
import Telemetry

// What the control interface can ask for.
extension Daemon: ControlPlane {
    func ready() async throws -> ReadyReply {
        ReadyReply(ready: waitsFor == nil, state: state, reason: waitsFor)
    }

    func simulations() async throws -> [SimulationStatus] {
        let own = try await running().runs.statuses()
        return (own + (await sharedStatuses)).sorted { $0.run < $1.run }
    }

    func simulation(run: String) async throws -> SimulationStatus {
        if let shared = try sharedRun(run) { return try await sharedStatus(shared) }
        return try await running().runs.status(run: run)
    }

    func startSimulation(_ start: SimulationStart) async throws -> SimulationStatus {
        if start.isShared == true { return try await startShared(start) }
        return try await running().runs.start(start)
    }

    func changeSimulation(run: String, _ action: SimulationAction) async throws -> SimulationStatus {
        if action == .stop, let stopped = try await stopUnplayed(run) { return stopped }
        if let shared = try sharedRun(run) { return try await changeShared(shared, action) }
        return try await running().runs.change(run: run, action)
    }

    func removeSimulation(run: String) async throws -> SimulationStatus {
        // Before this member has joined, its history has at most a run of its own of this name.
        if try running().cluster?.member?.parts.control?.fleet.run == run {
            try refuseShared(run, "is not removed")
        }
        let last = try await running().runs.remove(run: run)
        if let stream = StreamID.simulated(run: run) { try? await running().alerts.forget(stream) }
        return last
    }

    func inject(run: String, _ request: InjectionRequest) async throws -> InjectionReply {
        if let shared = try sharedRun(run) { return try await injectShared(shared, request) }
        return try await running().runs.inject(run: run, request)
    }

    func truth(run: String, _ request: TruthRequest) async throws -> TruthReply {
        try refuseShared(run, "has no truth to show")
        return try await running().runs.truth(run: run, request)
    }

    func exports() async throws -> [ExportStatus] { try await running().runs.exportStatuses }

    func export(name: String) async throws -> ExportStatus { try await running().runs.export(name: name) }

    func startExport(_ start: ExportStart) async throws -> ExportStatus {
        try await running().runs.startExport(start)
    }

    func stopExport(name: String) async throws -> ExportStatus {
        try await running().runs.stopExport(name: name)
    }

    func status() async throws -> StatusReply {
        let now = clock.nowMs()
        var reply = StatusReply(
            version: Colossusd.version, pid: Int(getpid()), started: UTCTime(ms: startedMs),
            uptimeSeconds: Double(now - startedMs) / 1_000, state: state, ready: waitsFor == nil,
            reason: waitsFor)
        guard let parts else { return reply }
        reply.simulations = try await simulations()
        for id in parts.streams.all {
            guard let index = parts.streams.find(id), let status = parts.core.status(index) else { continue }
            var row = ControlAPI.StreamStatus(
                status, rate: rates.perSecond[id] ?? 0, run: reply.simulations.first { $0.run == id.run })
            if let gpus = try await newestGPUs(id, parts) {
                row.gpusExpected = Int(gpus.expected[0])
                row.gpusReporting = Int(gpus.reporting[0])
            }
            reply.streams.append(row)
        }
        reply.endpoints = try await endpoints()
        reply.store = StoreStatus(
            path: places.stateDirectory, bytes: parts.store.sizeBytes, bytesMax: settings.store.bytesMax)
        reply.cluster = clusterStatus()
        let total = parts.core.creditMax
        reply.shards = parts.core.creditUsed.enumerated().map { shard, used in
            ShardStatus(shard: shard, series: 0, creditFree: total - used, creditTotal: total)
        }
        if !planned.isEmpty {
            reply.maintenance = maintenanceRows
            reply.maintenanceGpus = planned.gpuCount(
                parts.streams.topology(parts.merged ?? parts.measured).snapshot())
        }
        reply.warnings = warnings(reply)
        if let obstacle = parts.log?.obstacle {
            reply.warnings.append("The ingest log takes nothing: \(obstacle).")
        }
        if let replay = parts.ingest.replay, let log = parts.log {
            reply.ingestLog = IngestLogStatus(
                bytes: log.bytes, bytesMax: settings.ingest.limits.ingestLogBytes, replayed: replay.share,
                records: replay.records, unreadable: replay.unreadable)
            reply.ingestLog?.obstacle = parts.log?.obstacle
        }
        let folded = parts.ingest.foldedCount
        if folded > 0 {
            reply.warnings.append(
                "\(folded) series are beyond a limit and folded into __other__: `colossusctl top series` shows whose."
            )
        }
        return reply
    }

    func topSeries(_ request: TopSeriesRequest) async throws -> TopSeriesReply {
        TopSeriesReply(try running().ingest.census(rowsMax: request.limit), by: request.by)
    }

    /// GPUs of the whole site in the newest stored window.
    private func newestGPUs(_ stream: StreamID, _ parts: DaemonParts) async throws -> GPUCounts? {
        guard let finest = try await parts.store.resolutions(stream).first else { return nil }
        let window = try await parts.store.window(
            stream, resolutionMs: finest, levels: [.site], fields: [.gpuUtil])
        guard let gpus = window?.summary.level(.site)?.gpus, !gpus.expected.isEmpty else { return nil }
        return gpus
    }

    private func warnings(_ reply: StatusReply) -> [String] {
        var warnings: [String] = []
        for stream in reply.streams where !stream.keepingUp {
            warnings.append("Stream \(stream.stream) is \(stream.verdict).")
        }
        for endpoint in reply.endpoints where endpoint.state == .retrying || endpoint.state == .disabled {
            let error = endpoint.lastError.map { ": \($0)" } ?? ""
            warnings.append("Endpoint \(endpoint.name) takes nothing\(error).")
        }
        if let problem = reply.cluster?.problem {
            warnings.append("The cluster \(reply.cluster?.cluster ?? ""): \(problem).")
        }
        return warnings
    }

    /// Received samples a second of each stream, between two looks.
    func measureRates() {
        guard let parts else { return }
        for id in parts.streams.all {
            guard let index = parts.streams.find(id), let status = parts.core.status(index) else { continue }
            rates.note(id, received: status.ledger.received, nowMs: clock.nowMs())
        }
    }

    /// The line of `systemctl status`.
    func statusLine() async -> String {
        guard let reply = try? await status() else { return "starting" }
        var pieces = reply.streams.filter { $0.samples.received > 0 || $0.kind == .simulated }.map { stream in
            "\(stream.stream): \(stream.verdict), \(stream.gpusReporting) GPUs, "
                + "\(Int64(stream.samplesPerSecond)) samples/s"
        }
        if let log = reply.ingestLog, log.replayed < 1 {
            pieces.insert("repeats the ingest log: \(Int(log.replayed * 100))%", at: 0)
        }
        let down = reply.endpoints.filter { $0.state == .retrying || $0.state == .disabled }.count
        if !reply.endpoints.isEmpty {
            pieces.append("\(reply.endpoints.count - down) of \(reply.endpoints.count) endpoints ok")
        }
        pieces.append("up \(DurationText.rough(seconds: reply.uptimeSeconds.rounded()))")
        return pieces.joined(separator: "; ")
    }
}

/// Samples a second, from totals, over about ten seconds.
struct SampleRates {
    private var marks: [StreamID: [(ms: Int64, received: Int64)]] = [:]
    private(set) var perSecond: [StreamID: Double] = [:]

    mutating func note(_ stream: StreamID, received: Int64, nowMs: Int64) {
        var known = marks[stream, default: []]
        known.append((nowMs, received))
        if known.count > 6 { known.removeFirst() }
        marks[stream] = known
        guard let first = known.first, nowMs > first.ms else { return }
        perSecond[stream] = Double(received - first.received) * 1_000 / Double(nowMs - first.ms)
    }
}
