import ControlAPI
import Settings
import Store
import Telemetry

// Where nodes stand.
extension Daemon {
    func inventory(_ request: InventoryRequest) async throws -> InventoryReply {
        let parts = try running()
        let stream = try await stream(named: request.stream, in: parts.store)
        var end: UTCTime?
        let fleet: TopologySnapshot
        if request.at == nil, stream == .measured, let merged = parts.merged {
            fleet = parts.streams.topology(merged).snapshot()
        } else {
            let window = try await window(of: stream, at: request.at, parts.store)
            fleet = window.topology
            end = UTCTime(ms: window.summary.endMs)
        }
        let rows = InventoryRow.all(fleet).filter { row in
            guard let only = request.entity else { return true }
            return [row.node, row.rack, row.array, row.hall].contains(only)
        }
        if let only = request.entity, rows.isEmpty, only != fleet.site {
            let names = [Level.node, .rack, .array, .hall].flatMap { fleet.names($0) }
            throw ControlError(
                .notFound,
                "There is no \(only) in \(stream)."
                    + (Suggestion.nearest(to: only, in: names).map { " Did you mean \($0)?" } ?? ""),
                hint: "`colossusctl inventory` lists the nodes.")
        }
        let shown = rows.filter { !request.removed || $0.standing == .removed }
        var reply = InventoryReply(
            stream: stream.name, version: fleet.version, site: fleet.site, nodes: shown)
        reply.windowEnd = end
        if shown.count > request.limit {
            reply.nodes = Array(shown.prefix(request.limit))
            reply.truncated = true
        }
        return reply
    }

    private func window(of stream: StreamID, at: UTCTime?, _ store: HistoryStore) async throws -> StoredWindow
    {
        for resolution in try await store.resolutions(stream) {
            let start = at.map { Self.floor($0.ms, resolution) - resolution }
            // Longer windows are kept for longer.
            if let found = try await store.window(
                stream, resolutionMs: resolution, startMs: start, levels: [.site], fields: [])
            {
                return found
            }
        }
        throw ControlError(
            .notFound, "\(stream) has no window there.", hint: "`colossusctl timeline` shows what there is.")
    }
}

extension InventoryRow {
    /// By hall, array, rack and name.
    fileprivate static func all(_ fleet: TopologySnapshot) -> [InventoryRow] {
        var gpus = [Int](repeating: 0, count: fleet.nodeNames.count)
        for node in fleet.gpuNode { gpus[Int(node)] += 1 }
        return fleet.nodeNames.indices.map { node in
            let place = fleet.placement(ofNode: node)
            return InventoryRow(
                node: fleet.nodeNames[node], rack: place.rack, array: place.array, hall: place.hall,
                model: place.model.isEmpty ? nil : place.model, gpus: gpus[node],
                standing: Standing(fleet.nodeStanding[node]))
        }
        .sorted { ($0.hall, $0.array, $0.rack, $0.node) < ($1.hall, $1.array, $1.rack, $1.node) }
    }
}

extension InventoryRow.Standing {
    fileprivate init(_ standing: NodeStanding) {
        self =
            switch standing {
            case .heard: .heard
            case .listed: .listed
            case .removed: .removed
            }
    }
}
