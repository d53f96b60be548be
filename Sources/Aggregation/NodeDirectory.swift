import Telemetry

/// The nodes and racks that a shard owns, numbered from 0 in the order in which it met them.
///
/// The windows of a shard are arrays over these numbers; topology indices would leave them mostly empty.
struct NodeDirectory {
    /// By topology index, or -1.
    private var localOfNode: [Int32] = []
    private var localOfRack: [Int32] = []
    /// By topology index: position among the GPUs of its rack, or -1.
    private var ordinalOfGPU: [Int32] = []

    /// By local number.
    private(set) var nodes: [Int32] = []
    private(set) var racks: [Int32] = []
    /// Local rack of each local node.
    private(set) var rackOfNode: [Int32] = []
    /// Local nodes of each local rack.
    private(set) var nodesOfRack: [[Int32]] = []
    /// For each local rack, the local node and the topology index of each GPU by its position.
    private(set) var gpuNodes: [[Int32]] = []
    private(set) var gpus: [[Int32]] = []

    /// Of GPUs that have moved, by topology index: all the places that they have had.
    private(set) var placesOfMoved: [Int32: [Place]] = [:]
    /// For each local rack of such a place, a bit set over the positions of its GPUs.
    private var movedInRack: [Int32: [UInt64]] = [:]

    /// A local rack, and a position among its GPUs.
    struct Place: Hashable {
        var rack: Int32
        var ordinal: Int32
    }

    /// How much of a topology's snapshot has been read in (fleets only).
    private var readNodes = 0
    private var readGPUs = 0

    mutating func rack(_ rack: Int32) -> Int32 {
        let known = Self.value(localOfRack, rack)
        guard known < 0 else { return known }
        let local = Int32(racks.count)
        Self.set(&localOfRack, rack, local)
        racks.append(rack)
        nodesOfRack.append([])
        gpuNodes.append([])
        gpus.append([])
        return local
    }

    /// A node that has moved gets a number in its new rack, and keeps that of the old one: windows that are open go on
    /// with both.
    mutating func node(_ node: Int32, rack: Int32) -> Int32 {
        let known = Self.value(localOfNode, node)
        if known >= 0 {
            if rackOfNode[Int(known)] == rack { return known }
            if let before = nodesOfRack[Int(rack)].first(where: { nodes[Int($0)] == node }) {
                localOfNode[Int(node)] = before
                return before
            }
        }
        let local = Int32(nodes.count)
        Self.set(&localOfNode, node, local)
        nodes.append(node)
        rackOfNode.append(rack)
        nodesOfRack[Int(rack)].append(local)
        return local
    }

    /// The position of a GPU among those of its rack; both `rack` and `node` are local.
    mutating func ordinal(gpu: Int32, node: Int32, rack: Int32) -> Int32 {
        let known = Self.value(ordinalOfGPU, gpu)
        if known >= 0 {
            if Int(known) < gpus[Int(rack)].count, gpus[Int(rack)][Int(known)] == gpu { return known }
            if let before = gpus[Int(rack)].firstIndex(of: gpu) {
                ordinalOfGPU[Int(gpu)] = Int32(before)
                return Int32(before)
            }
        }
        let ordinal = Int32(gpuNodes[Int(rack)].count)
        Self.set(&ordinalOfGPU, gpu, ordinal)
        gpuNodes[Int(rack)].append(node)
        gpus[Int(rack)].append(gpu)
        return ordinal
    }

    /// Gives a GPU its place with the node's new number.
    mutating func move(_ old: Place, to node: Int32) -> Place {
        let gpu = gpus[Int(old.rack)][Int(old.ordinal)]
        let rack = rackOfNode[Int(node)]
        let new = Place(rack: rack, ordinal: ordinal(gpu: gpu, node: node, rack: rack))
        for place in [old, new] where placesOfMoved[gpu]?.contains(place) != true {
            placesOfMoved[gpu, default: []].append(place)
            note(place)
        }
        return new
    }

    private mutating func note(_ place: Place) {
        var words = movedInRack.removeValue(forKey: place.rack) ?? []
        let word = Int(place.ordinal) >> 6
        while words.count <= word { words.append(0) }
        words[word] |= 1 << UInt64(place.ordinal & 63)
        movedInRack[place.rack] = words
    }

    /// Of 64 GPUs of a local rack, those that have another place too.
    func moved(rack: Int, word: Int) -> UInt64 {
        guard !movedInRack.isEmpty, let words = movedInRack[Int32(rack)], word < words.count else { return 0 }
        return words[word]
    }

    /// Local number of a node that is known, or -1.
    func find(node: Int32) -> Int32 { Self.value(localOfNode, node) }

    /// Local number of a rack that is known, or -1.
    func find(rack: Int32) -> Int32 { Self.value(localOfRack, rack) }

    /// Meets every GPU of the racks that this shard owns, in the order of the topology: in a rack that was not met
    /// before, a GPU's position is then its bit in a `RackTick`.
    mutating func read(_ topology: TopologySnapshot, owns: (Int32) -> Bool) {
        while readNodes < topology.nodeRack.count {
            let rack = topology.nodeRack[readNodes]
            if owns(rack) { _ = node(Int32(readNodes), rack: self.rack(rack)) }
            readNodes += 1
        }
        while readGPUs < topology.gpuNode.count {
            let node = topology.gpuNode[readGPUs]
            let rack = topology.nodeRack[Int(node)]
            if owns(rack) {
                let local = self.rack(rack)
                _ = ordinal(gpu: Int32(readGPUs), node: self.node(node, rack: local), rack: local)
            }
            readGPUs += 1
        }
    }

    private static func value(_ table: [Int32], _ index: Int32) -> Int32 {
        Int(index) < table.count ? table[Int(index)] : -1
    }

    private static func set(_ table: inout [Int32], _ index: Int32, _ value: Int32) {
        if table.count <= Int(index) {
            table.append(contentsOf: repeatElement(-1, count: Int(index) + 1 - table.count))
        }
        table[Int(index)] = value
    }
}
