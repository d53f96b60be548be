import Telemetry

extension TopologySnapshot {
    /// What of a node is affected; what is said of its rack, array, hall or site is said of all of it.
    func affected(node: Int, by entities: [String: FaultTable.Affected]) -> FaultTable.Affected? {
        let rack = Int(nodeRack[node])
        let array = Int(rackArray[rack])
        let around = [rackNames[rack], arrayNames[array], hallNames[Int(arrayHall[array])], site]
        return around.lazy.compactMap { entities[$0] }.first(where: \.wholeNode) ?? entities[nodeNames[node]]
    }

    /// By node index.
    func affected(by entities: [String: FaultTable.Affected]) -> [Int: FaultTable.Affected] {
        guard !entities.isEmpty else { return [:] }
        var found: [Int: FaultTable.Affected] = [:]
        for node in nodeNames.indices { found[node] = affected(node: node, by: entities) }
        return found
    }
}

/// Which GPUs of some racks are under maintenance in one window, by rack and position: a share counts them neither as
/// reporting nor as in a job or broken.
struct MaintainedGPUs {
    private var words: [Int: [UInt64]] = [:]

    /// - Parameter racks: local numbers.
    init(
        _ entities: [String: FaultTable.Affected], racks: Range<Int>, _ directory: NodeDirectory,
        _ topology: TopologySnapshot
    ) {
        guard !entities.isEmpty else { return }
        for rack in racks {
            var ofNode: [Int32: FaultTable.Affected] = [:]
            for local in directory.nodesOfRack[rack] {
                ofNode[local] = topology.affected(node: Int(directory.nodes[Int(local)]), by: entities)
            }
            guard !ofNode.isEmpty else { continue }
            var bits = Array(repeating: UInt64(0), count: (directory.gpus[rack].count + 63) / 64)
            for (place, gpu) in directory.gpus[rack].enumerated() {
                guard let work = ofNode[directory.gpuNodes[rack][place]],
                    work.wholeNode || work.ordinals.contains(Int(topology.gpuOrdinal[Int(gpu)]))
                else { continue }
                bits[place / 64] |= 1 << UInt64(place % 64)
            }
            words[rack] = bits
        }
    }

    /// The GPUs of one word of a rack.
    func bits(rack: Int, word: Int) -> UInt64 {
        guard let bits = words[rack], word < bits.count else { return 0 }
        return bits[word]
    }
}
