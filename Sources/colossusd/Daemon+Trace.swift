import Aggregation
import ControlAPI
import Receivers
import Reporting
import Settings
import Store
import Telemetry

// Where the last sample of a GPU's field is now.
extension Daemon {
    func metricsText() async throws -> MetricsReply { MetricsReply(text: metrics.exposition()) }

    func trace(_ request: TraceRequest) async throws -> TraceReply {
        let parts = try running()
        guard let field = FieldCatalog.find(name: request.field) else {
            let near = Suggestion.nearest(to: request.field, in: FieldCatalog.all.map(\.name))
            throw ControlError(
                .notFound,
                "\(request.field) is not a field." + (near.map { " Did you mean \($0)?" } ?? ""),
                hint: "Write a DCGM name: DCGM_FI_DEV_GPU_UTIL.")
        }
        let gpu = try gpu(request.gpu, parts.streams.topology(parts.measured).snapshot())
        var reply = TraceReply(gpu: request.gpu, field: field.field.name, verdict: "")
        let status = parts.core.status(parts.measured)
        reply.watermark = status?.watermarkMs.map { UTCTime(ms: $0) }
        reply.sources = await sources(gpu, field, parts)
        guard let newest = reply.sources.filter(\.counts).compactMap(\.time).max() else {
            reply.verdict =
                reply.sources.isEmpty
                ? "no series of it was received since the service began"
                : "its series is known, but none of its samples has counted yet"
            return reply
        }
        for resolution in settings.windows.resolutionsMs {
            reply.windows.append(try await window(at: newest.ms, resolution, field, parts))
        }
        reply.verdict = Self.verdict(reply, lateness: settings.windows.latenessMs)
        return reply
    }

    private func gpu(_ name: String, _ fleet: TopologySnapshot) throws -> Int32 {
        guard let slash = name.lastIndex(of: "/"), let ordinal = UInt8(name[name.index(after: slash)...])
        else {
            throw ControlError(.badRequest, "\(name) is not a GPU.", hint: "Write NODE/ORDINAL: node-17-3/5.")
        }
        let nodeName = String(name[..<slash])
        guard let node = fleet.nodeNames.firstIndex(of: nodeName) else {
            let near = Suggestion.nearest(to: nodeName, in: fleet.nodeNames)
            throw ControlError(
                .notFound,
                "There is no node \(nodeName) in the measured fleet."
                    + (near.map { " Did you mean \($0)?" } ?? ""),
                hint: "`colossusctl summary --level node --gpus` lists them.")
        }
        let found = fleet.gpuNode.indices.first {
            fleet.gpuNode[$0] == Int32(node) && fleet.gpuOrdinal[$0] == ordinal
        }
        guard let found else {
            throw ControlError(.notFound, "Nothing was ever heard of GPU \(ordinal) of \(nodeName).")
        }
        return Int32(found)
    }

    private func sources(_ gpu: Int32, _ field: FieldIndex, _ parts: DaemonParts) async -> [TraceSource] {
        let found = parts.ingest.sources(gpu: gpu, field: field)
        guard let shard = found.first?.shard else { return [] }
        let states = await withCheckedContinuation { continuation in
            parts.core.look(at: found.map(\.slot), stream: parts.measured, shard: shard) {
                continuation.resume(returning: $0)
            }
        }
        return found.map { source in
            let state = states.first { $0.slot == source.slot }
            let time = state?.newestMs.map { UTCTime(ms: $0) }
            return TraceSource(
                sender: source.sender, shard: source.shard, time: time,
                value: time == nil ? nil : state?.value, counts: state?.counts ?? false)
        }
    }

    /// The window that holds a moment, and who has got it.
    private func window(
        at timeMs: Int64, _ resolutionMs: Int64, _ field: FieldIndex, _ parts: DaemonParts
    ) async throws -> TraceWindow {
        let rest = timeMs % resolutionMs
        let start = timeMs - (rest < 0 ? rest + resolutionMs : rest)
        var row = TraceWindow(
            resolution: DurationText.text(ms: resolutionMs), start: UTCTime(ms: start),
            end: UTCTime(ms: start + resolutionMs), committed: false)
        let stored = try await parts.store.window(
            .measured, resolutionMs: resolutionMs, startMs: start, levels: [.site], fields: [field])
        guard let stored, stored.summary.startMs == start else { return row }
        row.committed = true
        row.revision = stored.summary.revision > 0 ? stored.summary.revision : nil
        let records = try await parts.store.endpointRecords()
        for endpoint in settings.endpoints.map({ EndpointConfiguration($0) }) {
            let selection = endpoint.selection
            guard selection.streams.contains(.measured),
                selection.resolutions.isEmpty || selection.resolutions.contains(resolutionMs),
                selection.fields.isEmpty || selection.fields.contains(field)
            else { continue }
            let record = records.first { $0.endpoint == endpoint.name }
            row.endpoints.append(
                TraceEndpoint(name: endpoint.name, delivered: record?.isBehind(stored.sequence) ?? false))
        }
        return row
    }

    private static func verdict(_ reply: TraceReply, lateness: Int64) -> String {
        guard let finest = reply.windows.first else { return "received" }
        guard finest.committed else {
            guard let watermark = reply.watermark, watermark >= finest.end else {
                return
                    "received; its window \(finest.resolution) closes when the watermark passes \(finest.end)"
            }
            return "received; its window \(finest.resolution) is over and is being committed"
        }
        let wanting = reply.windows.flatMap(\.endpoints)
        let pending = Set(wanting.filter { !$0.delivered }.map(\.name)).sorted()
        if wanting.isEmpty { return "committed; no endpoint wants it" }
        return pending.isEmpty
            ? "committed, and delivered to every endpoint that wants it"
            : "committed; not yet delivered to \(pending.joined(separator: ", "))"
    }
}
