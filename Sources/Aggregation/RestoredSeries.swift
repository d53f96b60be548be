import Telemetry

/// What checkpoints say of the series of one shard, until those are there again.
struct RestoredSeries {
    /// Ascending by GPU and field.
    private var entries: [ShardCheckpoint.Entry] = []

    /// - Parameter owns: whether the shard owns a rack.
    init(_ checkpoints: [ShardCheckpoint], _ topology: TopologySnapshot, owns: (Int32) -> Bool) {
        for checkpoint in checkpoints {
            for entry in checkpoint.entries where Int(entry.gpu) < topology.gpuNode.count {
                let rack = topology.nodeRack[Int(topology.gpuNode[Int(entry.gpu)])]
                if owns(rack) { entries.append(entry) }
            }
        }
        // Of two that say something of the same series the newer one is found first.
        entries.sort { ($0.gpu, $0.field, $1.lastMs) < ($1.gpu, $1.field, $0.lastMs) }
    }

    var isEmpty: Bool { entries.isEmpty }

    func find(gpu: Int32, _ field: FieldIndex) -> ShardCheckpoint.Entry? {
        place(gpu, field).map { entries[$0] }
    }

    /// The same, once: a series that comes back later has gone on in between.
    mutating func take(gpu: Int32, _ field: FieldIndex) -> ShardCheckpoint.Entry? {
        guard let first = place(gpu, field), entries[first].lastMs != Slot.noTime else { return nil }
        let entry = entries[first]
        var place = first
        while place < entries.count, entries[place].gpu == gpu, entries[place].field == field {
            entries[place].lastMs = Slot.noTime
            place += 1
        }
        return entry
    }

    private func place(_ gpu: Int32, _ field: FieldIndex) -> Int? {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if (entries[middle].gpu, entries[middle].field) < (gpu, field) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        guard low < entries.count, entries[low].gpu == gpu, entries[low].field == field else { return nil }
        return low
    }
}
