public import Telemetry

/// A series that tells of a (GPU, field): who delivers it, and where it is counted.
public struct SeriesSource: Sendable, Hashable {
    /// `ingest/10.0.0.7`
    public var sender: String
    public var shard: Int
    public var slot: UInt32
}

extension IngestServer {
    /// The series of a GPU's field, the first one first.
    ///
    /// - Parameter gpu: its index in the stream's topology.
    public func sources(gpu: Int32, field: FieldIndex) -> [SeriesSource] {
        core.registry.sources(gpu: gpu, field: field).map { found in
            SeriesSource(
                sender: core.senders.name(found.sender) ?? "?", shard: found.shard, slot: found.slot)
        }
    }
}

extension RegistryState {
    /// The series of a GPU's field, the first one first.
    func sources(gpu: Int32, field: FieldIndex) -> [(sender: SenderID, shard: Int, slot: UInt32)] {
        guard let shard = shard(ofGPU: gpu) else { return [] }
        var slots: [UInt32] = []
        if let first = owners.first(gpu: gpu, field: field) { slots.append(first.slot) }
        for origin in senderOfOrigin.indices {
            if let other = owners.other(gpu: gpu, field: field, origin: UInt32(origin)) {
                slots.append(other)
            }
        }
        return slots.map { slot in
            (senderOfOrigin[Int(series[shard][Int(slot)].origin)], shard, slot)
        }
    }

    private func shard(ofGPU gpu: Int32) -> Int? {
        guard let node = node(ofGPU: gpu) else { return nil }
        return nodes.first { $0.index == node }?.shard
    }
}
