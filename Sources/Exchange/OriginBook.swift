import Telemetry

/// What a worker has to say of one window of the telemetry that it ingests: all of it, also when it says it again.
public struct OriginWindow: Sendable {
    /// Number of the window.
    public var window: Int64
    /// 0 for the first time; 1, 2 … with what came late.
    public var revision: UInt64
    /// How much of its senders the worker has heard, 0...1.
    public var coverage: Double
    /// Nodes that it knows.
    public var nodes: Int
    /// By slice.
    public var shares: [Int: [PartialGroup]]

    public init(
        window: Int64, revision: UInt64 = 0, coverage: Double = 1, nodes: Int, shares: [Int: [PartialGroup]]
    ) {
        self.window = window
        self.revision = revision
        self.coverage = coverage
        self.nodes = nodes
        self.shares = shares
    }
}

/// The windows that a worker's shards have closed of what it ingests, by slices, for as long as late samples may
/// change them: what is late is added here, so that a share that is sent again is whole.
struct OriginBook: Sendable {
    private struct Entry {
        var shares: [Int: GroupSum] = [:]
        /// How often it was taken.
        var taken: UInt64 = 0
        /// With which it was taken the first time: what is late has the names of then.
        var topology: TopologySnapshot?
    }

    let fleet: FleetMap
    private var entries: [Int64: Entry] = [:]
    private var places: Places?
    /// Of windows that were closed before nodes moved.
    private var formerPlaces: Places?
    /// Late shares of windows that are not kept any more.
    private(set) var tooLate: UInt64 = 0

    init(fleet: FleetMap) { self.fleet = fleet }

    var count: Int { entries.count }

    mutating func add(_ partial: WindowPartial, _ topology: TopologySnapshot) {
        guard let window = fleet.window(startingMs: partial.startMs) else { return }
        if partial.isLate, entries[window] == nil {
            tooLate += 1
            return
        }
        var entry = entries.removeValue(forKey: window) ?? Entry()
        let placed = entry.topology.map { topology.arranged(as: $0) } ?? topology
        let places = self.places(placed, isFormer: placed.version != topology.version)
        for (row, group) in partial.groups.enumerated() {
            let rack = Int(group.rack)
            entry.shares[places.slices[rack], default: GroupSum()].add(
                PartialGroup(
                    key: PartialGroupKey(level: .rack, name: places.racks[rack], job: group.job),
                    gpus: GroupGPUs(partial.groupGPUs, row),
                    fields: WindowShares.statistics(partial.groupColumns, row)), .late)
        }
        for (row, node) in partial.nodes.enumerated() {
            let slice = places.slices[Int(placed.nodeRack[Int(node)])]
            entry.shares[slice, default: GroupSum()].add(places.node(Int(node), partial, row), .late)
        }
        entries[window] = entry
    }

    private mutating func places(_ topology: TopologySnapshot, isFormer: Bool) -> Places {
        if let known = isFormer ? formerPlaces : places, known.isOf(topology) { return known }
        let made = Places(topology, fleet)
        if isFormer { formerPlaces = made } else { places = made }
        return made
    }

    /// All that is known of a window by now. From the first time on it is kept until `forget`.
    ///
    /// - Parameter more: what else is known of its nodes; counts the first time.
    mutating func take(
        _ window: Int64, coverage: Double, topology: TopologySnapshot, more: WindowNodes = WindowNodes()
    ) -> OriginWindow {
        var entry = entries[window] ?? Entry()
        if entry.taken == 0 {
            entry.topology = topology
            add(more, to: &entry, topology)
        }
        defer {
            entry.taken += 1
            entries[window] = entry
        }
        return OriginWindow(
            window: window, revision: entry.taken, coverage: min(1, max(0, coverage)),
            nodes: topology.count(.node), shares: entry.shares.mapValues(\.sorted))
    }

    private mutating func add(_ more: WindowNodes, to entry: inout Entry, _ topology: TopologySnapshot) {
        let places = places(topology, isFormer: false)
        for (job, nodes) in more.jobs {
            for node in nodes {
                let key = PartialGroupKey(level: .job, name: places.nodes[Int(node)], job: job)
                entry.shares[places.slices[Int(topology.nodeRack[Int(node)])], default: GroupSum()].add(
                    PartialGroup(key: key, fields: []), .late)
            }
        }
        for (node, count) in more.faulted {
            var group = places.node(Int(node))
            group.gpus.faulted = count
            entry.shares[places.slices[Int(topology.nodeRack[Int(node)])], default: GroupSum()].add(
                group, .late)
        }
    }

    mutating func forget(before window: Int64) { entries = entries.filter { $0.key >= window } }
}

/// The names of a fleet as they go on the bus.
private struct Places {
    private let version: Int
    let racks: [String]
    let slices: [Int]
    let nodes: [String]
    /// `nil` where a node has GPUs beyond those that can be told apart.
    private let known: [UInt64?]
    private let counts: [UInt32]
    private let gpuCount: Int

    init(_ topology: TopologySnapshot, _ fleet: FleetMap) {
        version = topology.version
        let places = topology.rackNames.indices.map { rack -> (hall: String, array: String) in
            let array = Int(topology.rackArray[rack])
            return (topology.hallNames[Int(topology.arrayHall[array])], topology.arrayNames[array])
        }
        racks = topology.rackNames.indices.map {
            PlacedName.rack(hall: places[$0].hall, array: places[$0].array, rack: topology.rackNames[$0])
        }
        slices = places.enumerated().map { rack, place in
            fleet.slice(hall: place.hall, array: place.array, rack: topology.rackNames[rack])
        }
        let racks = racks
        nodes = topology.nodeNames.indices.map {
            PlacedName.node(
                topology.nodeNames[$0], rack: racks[Int(topology.nodeRack[$0])], model: topology.nodeModel[$0]
            )
        }
        var known = Array(repeating: UInt64(0) as UInt64?, count: topology.nodeNames.count)
        var counts = Array(repeating: UInt32(0), count: topology.nodeNames.count)
        for (gpu, node) in topology.gpuNode.enumerated() {
            let ordinal = topology.gpuOrdinal[gpu]
            counts[Int(node)] += 1
            let bits = known[Int(node)]
            known[Int(node)] = ordinal < GPUOrdinals.max ? bits.map { $0 | 1 << UInt64(ordinal) } : nil
        }
        self.known = known
        self.counts = counts
        gpuCount = topology.gpuNode.count
    }

    /// Versions alone do not tell: a fleet of before has a number of before, and what is new since.
    func isOf(_ topology: TopologySnapshot) -> Bool {
        version == topology.version && racks.count == topology.rackNames.count
            && nodes.count == topology.nodeNames.count && gpuCount == topology.gpuNode.count
    }

    /// A node that nothing was heard of.
    func node(_ node: Int) -> PartialGroup {
        PartialGroup(
            key: PartialGroupKey(level: .node, name: nodes[node]), gpus: GroupGPUs(expected: counts[node]),
            ordinals: known[node].map { GPUOrdinals(known: $0) }, fields: [])
    }

    func node(_ node: Int, _ partial: WindowPartial, _ row: Int) -> PartialGroup {
        var group = PartialGroup(
            key: PartialGroupKey(level: .node, name: nodes[node]), gpus: GroupGPUs(partial.nodeGPUs, row),
            fields: WindowShares.statistics(partial.nodeColumns, row))
        group.gpus.expected = counts[node]
        if row < partial.nodeOrdinals.count, let known = known[node] {
            group.ordinals = partial.nodeOrdinals[row]
            group.ordinals?.known = known
            group.countOrdinals()
        }
        return group
    }
}
