/// Where a node stands. Empty names mean "not known" and become `unassigned`.
public struct Placement: Hashable, Sendable {
    public var rack: String
    public var array: String
    public var hall: String
    public var model: String

    public static let unassigned = "unassigned"

    public init(rack: String = "", array: String = "", hall: String = "", model: String = "") {
        self.rack = rack.isEmpty ? Self.unassigned : rack
        self.array = array.isEmpty ? Self.unassigned : array
        self.hall = hall.isEmpty ? Self.unassigned : hall
        self.model = model
    }
}

/// Who says that a node belongs to the fleet.
public enum NodeStanding: UInt8, Sendable {
    /// It was heard of.
    case heard = 0
    /// An inventory lists it.
    case listed = 1
    /// An inventory listed it and does not any more: nobody waits for it, and what it says still counts.
    case removed = 2
}

/// What an inventory has changed in a fleet, by topology index, ascending.
public struct FleetChange: Sendable, Equatable {
    /// Nodes that stand in another rack, array or hall.
    public var moved: [Int32] = []
    /// Nodes that are not listed any more.
    public var removed: [Int32] = []
    /// Nodes that had been removed and are not any more.
    public var returned: [Int32] = []

    public init() {}
}

/// The fleet of one stream at one version: names and parents, index by index. Indices never change and never go
/// away while a stream lives. A later version has more of them, and nodes may stand elsewhere in it: windows keep the
/// version that they were closed with.
public struct TopologySnapshot: Sendable {
    /// Grows with each change of any name or parent.
    public internal(set) var version = 0
    public internal(set) var site: String
    public internal(set) var hallNames: [String] = []
    public internal(set) var arrayNames: [String] = []
    /// Hall of each array.
    public internal(set) var arrayHall: [Int32] = []
    public internal(set) var rackNames: [String] = []
    /// Array of each rack.
    public internal(set) var rackArray: [Int32] = []
    public internal(set) var nodeNames: [String] = []
    /// Rack of each node.
    public internal(set) var nodeRack: [Int32] = []
    public internal(set) var nodeModel: [String] = []
    public internal(set) var nodeStanding: [NodeStanding] = []
    /// Node of each GPU.
    public internal(set) var gpuNode: [Int32] = []
    /// Position of each GPU in its node, 0 based.
    public internal(set) var gpuOrdinal: [UInt8] = []

    public init(site: String) { self.site = site }

    /// A fleet as it was kept somewhere; `nil` unless every parent is there and the arrays that go together are
    /// equally long.
    public init?(
        version: Int, site: String, hallNames: [String], arrayNames: [String], arrayHall: [Int32],
        rackNames: [String], rackArray: [Int32], nodeNames: [String], nodeRack: [Int32], nodeModel: [String],
        nodeStanding: [NodeStanding]? = nil, gpuNode: [Int32], gpuOrdinal: [UInt8]
    ) {
        let standing = nodeStanding ?? Array(repeating: .heard, count: nodeNames.count)
        func parents(_ parents: [Int32], of count: Int, in parentCount: Int) -> Bool {
            parents.count == count && parents.allSatisfy { $0 >= 0 && Int($0) < parentCount }
        }
        guard version >= 0, parents(arrayHall, of: arrayNames.count, in: hallNames.count),
            parents(rackArray, of: rackNames.count, in: arrayNames.count),
            parents(nodeRack, of: nodeNames.count, in: rackNames.count), nodeModel.count == nodeNames.count,
            standing.count == nodeNames.count, parents(gpuNode, of: gpuOrdinal.count, in: nodeNames.count)
        else { return nil }
        self.version = version
        self.site = site
        self.hallNames = hallNames
        self.arrayNames = arrayNames
        self.arrayHall = arrayHall
        self.rackNames = rackNames
        self.rackArray = rackArray
        self.nodeNames = nodeNames
        self.nodeRack = nodeRack
        self.nodeModel = nodeModel
        self.nodeStanding = standing
        self.gpuNode = gpuNode
        self.gpuOrdinal = gpuOrdinal
    }

    /// Where a node stands.
    public func placement(ofNode node: Int) -> Placement {
        let rack = Int(nodeRack[node])
        let array = Int(rackArray[rack])
        return Placement(
            rack: rackNames[rack], array: arrayNames[array], hall: hallNames[Int(arrayHall[array])],
            model: nodeModel[node])
    }

    /// This fleet, with the nodes of an earlier version as they stood in that, and under its number; the fleet itself
    /// where they stand no differently. Where nothing is new, the earlier one comes back.
    public func arranged(as earlier: TopologySnapshot) -> TopologySnapshot {
        let known = 0..<earlier.nodeRack.count
        guard earlier.version != version, known.count <= nodeRack.count,
            earlier.rackNames.count <= rackNames.count,
            nodeRack[known] != earlier.nodeRack[known] || nodeStanding[known] != earlier.nodeStanding[known]
                || nodeModel[known] != earlier.nodeModel[known]
        else { return self }
        var arranged = self
        arranged.version = earlier.version
        arranged.nodeRack.replaceSubrange(known, with: earlier.nodeRack)
        arranged.nodeStanding.replaceSubrange(known, with: earlier.nodeStanding)
        arranged.nodeModel.replaceSubrange(known, with: earlier.nodeModel)
        return arranged
    }

    public func count(_ level: Level) -> Int {
        switch level {
        case .node: nodeNames.count
        case .rack: rackNames.count
        case .array: arrayNames.count
        case .hall: hallNames.count
        case .site: 1
        case .job: 0
        }
    }

    /// The names of a level in index order; empty for jobs, which come and go with the windows.
    public func names(_ level: Level) -> [String] {
        switch level {
        case .node: nodeNames
        case .rack: rackNames
        case .array: arrayNames
        case .hall: hallNames
        case .site: [site]
        case .job: []
        }
    }
}

/// The growing fleet of one stream, shared by whoever registers entities and whoever reads them.
public final class Topology: Sendable {
    private struct State {
        var snapshot: TopologySnapshot
        var hallIndex: [String: Int32] = [:]
        /// Keyed by hall and name: two halls may both have an array `a1`.
        var arrayIndex: [String: Int32] = [:]
        var rackIndex: [String: Int32] = [:]
        var nodeIndex: [String: Int32] = [:]
        /// Keyed by node * 256 + ordinal.
        var gpuIndex: [Int64: Int32] = [:]
        var nodesOfRack: [[Int32]] = []
        var gpusOfNode: [[Int32]] = []
    }

    private let state: Locked<State>

    public init(site: String) { state = Locked(State(snapshot: TopologySnapshot(site: site))) }

    /// Goes on where a kept fleet left off, with the same indices: after a restart, summaries that were made before
    /// and after can be merged.
    public init(restoring snapshot: TopologySnapshot) {
        var restored = State(snapshot: snapshot)
        for (index, name) in snapshot.hallNames.enumerated() { restored.hallIndex[name] = Int32(index) }
        let arrayKeys = zip(snapshot.arrayNames, snapshot.arrayHall).map { name, hall in
            snapshot.hallNames[Int(hall)] + "\u{0}" + name
        }
        for (index, key) in arrayKeys.enumerated() { restored.arrayIndex[key] = Int32(index) }
        for (index, name) in snapshot.rackNames.enumerated() {
            let key = arrayKeys[Int(snapshot.rackArray[index])] + "\u{0}" + name
            restored.rackIndex[key] = Int32(index)
        }
        restored.nodesOfRack = Array(repeating: [], count: snapshot.rackNames.count)
        for (index, name) in snapshot.nodeNames.enumerated() {
            restored.nodeIndex[name] = Int32(index)
            restored.nodesOfRack[Int(snapshot.nodeRack[index])].append(Int32(index))
        }
        restored.gpusOfNode = Array(repeating: [], count: snapshot.nodeNames.count)
        for (index, node) in snapshot.gpuNode.enumerated() {
            restored.gpuIndex[Int64(node) << 8 | Int64(snapshot.gpuOrdinal[index])] = Int32(index)
            restored.gpusOfNode[Int(node)].append(Int32(index))
        }
        state = Locked(restored)
    }

    /// The index of a node, made with its rack, array and hall when it is new.
    /// A known node keeps the place at which it was first seen, until `arrange` says otherwise.
    @discardableResult
    public func node(
        _ name: String, at placement: @autoclosure () -> Placement, standing: NodeStanding = .heard
    ) -> Int32 {
        state.withLock { state in
            if let known = state.nodeIndex[name] { return known }
            return Self.addNode(name, placement(), standing, &state)
        }
    }

    /// The index of a rack, made with its array and hall when it is new.
    public func rack(at placement: Placement) -> Int32 {
        state.withLock { state in
            let count = state.snapshot.rackNames.count
            let rack = Self.rack(at: placement, &state)
            if state.snapshot.rackNames.count > count { state.snapshot.version += 1 }
            return rack
        }
    }

    /// Has the nodes that are known stand as a list says. Those that it does not have and a former one had are removed;
    /// those that no list ever had stay as they are. Nodes must not be added meanwhile.
    ///
    /// - Parameter listed: where a node stands, of its name and of where it stood; `nil` when the list does not have it.
    public func arrange(listed: (_ node: String, _ now: Placement) -> Placement?) -> FleetChange {
        let known = snapshot()
        var change = FleetChange()
        var places: [(node: Int32, place: Placement)] = []
        var standings: [(node: Int32, standing: NodeStanding)] = []
        for node in known.nodeNames.indices {
            let now = known.placement(ofNode: node)
            let standing = known.nodeStanding[node]
            guard let place = listed(known.nodeNames[node], now) else {
                guard standing == .listed else { continue }
                standings.append((Int32(node), .removed))
                change.removed.append(Int32(node))
                continue
            }
            if standing != .listed { standings.append((Int32(node), .listed)) }
            if standing == .removed { change.returned.append(Int32(node)) }
            guard place != now else { continue }
            places.append((Int32(node), place))
            var there = place
            there.model = now.model
            if there != now { change.moved.append(Int32(node)) }
        }
        guard !places.isEmpty || !standings.isEmpty else { return change }
        state.withLock { state in
            for (node, standing) in standings { state.snapshot.nodeStanding[Int(node)] = standing }
            for (node, place) in places { Self.move(node, to: place, &state) }
            state.snapshot.version += 1
        }
        return change
    }

    /// There is no list any more: all nodes are only heard of. Those that a list had removed have returned.
    public func unlist() -> FleetChange {
        var change = FleetChange()
        state.withLock { state in
            let standings = state.snapshot.nodeStanding
            guard standings.contains(where: { $0 != .heard }) else { return }
            change.returned = standings.indices.filter { standings[$0] == .removed }.map(Int32.init)
            state.snapshot.nodeStanding = Array(repeating: .heard, count: standings.count)
            state.snapshot.version += 1
        }
        return change
    }

    /// The index of GPU `ordinal` of a node that is already there.
    @discardableResult
    public func gpu(node: Int32, ordinal: UInt8) -> Int32 {
        state.withLock { state in
            let key = Int64(node) << 8 | Int64(ordinal)
            if let known = state.gpuIndex[key] { return known }
            let index = Int32(state.snapshot.gpuNode.count)
            state.gpuIndex[key] = index
            state.snapshot.gpuNode.append(node)
            state.snapshot.gpuOrdinal.append(ordinal)
            state.gpusOfNode[Int(node)].append(index)
            state.snapshot.version += 1
            return index
        }
    }

    /// A node and its first `gpuCount` GPUs; for fleets that are known beforehand.
    @discardableResult
    public func node(_ name: String, at placement: Placement, gpuCount: Int) -> Int32 {
        let index = node(name, at: placement)
        for ordinal in 0..<gpuCount { gpu(node: index, ordinal: UInt8(ordinal)) }
        return index
    }

    public func snapshot() -> TopologySnapshot { state.withLock { $0.snapshot } }
    public var version: Int { state.withLock { $0.snapshot.version } }
    public func nodeIndex(_ name: String) -> Int32? { state.withLock { $0.nodeIndex[name] } }
    public func nodeName(_ node: Int32) -> String { state.withLock { $0.snapshot.nodeNames[Int(node)] } }
    public func rackOfNode(_ node: Int32) -> Int32 { state.withLock { $0.snapshot.nodeRack[Int(node)] } }
    public func nodes(ofRack rack: Int32) -> [Int32] { state.withLock { $0.nodesOfRack[Int(rack)] } }
    public func gpus(ofNode node: Int32) -> [Int32] { state.withLock { $0.gpusOfNode[Int(node)] } }

    private static func move(_ node: Int32, to place: Placement, _ state: inout State) {
        let old = state.snapshot.nodeRack[Int(node)]
        let rack = rack(at: place, &state)
        state.snapshot.nodeModel[Int(node)] = place.model
        guard rack != old else { return }
        state.snapshot.nodeRack[Int(node)] = rack
        state.nodesOfRack[Int(old)].removeAll { $0 == node }
        // In the order in which a restart finds them.
        let after = state.nodesOfRack[Int(rack)].firstIndex { $0 > node }
        state.nodesOfRack[Int(rack)].insert(node, at: after ?? state.nodesOfRack[Int(rack)].count)
    }

    /// The index of a rack, made with its array and hall when it is new.
    private static func rack(at place: Placement, _ state: inout State) -> Int32 {
        let hall = index(place.hall, &state.hallIndex, &state.snapshot.hallNames)
        let arrayKey = place.hall + "\u{0}" + place.array
        let array: Int32
        if let known = state.arrayIndex[arrayKey] {
            array = known
        } else {
            array = index(arrayKey, &state.arrayIndex, &state.snapshot.arrayNames)
            state.snapshot.arrayNames[Int(array)] = place.array
            state.snapshot.arrayHall.append(hall)
        }
        let rackKey = arrayKey + "\u{0}" + place.rack
        let rack: Int32
        if let known = state.rackIndex[rackKey] {
            rack = known
        } else {
            rack = index(rackKey, &state.rackIndex, &state.snapshot.rackNames)
            state.snapshot.rackNames[Int(rack)] = place.rack
            state.snapshot.rackArray.append(array)
            state.nodesOfRack.append([])
        }
        return rack
    }

    private static func addNode(
        _ name: String, _ place: Placement, _ standing: NodeStanding, _ state: inout State
    ) -> Int32 {
        let rack = rack(at: place, &state)
        let node = index(name, &state.nodeIndex, &state.snapshot.nodeNames)
        state.snapshot.nodeRack.append(rack)
        state.snapshot.nodeModel.append(place.model)
        state.snapshot.nodeStanding.append(standing)
        state.nodesOfRack[Int(rack)].append(node)
        state.gpusOfNode.append([])
        state.snapshot.version += 1
        return node
    }

    private static func index(_ key: String, _ table: inout [String: Int32], _ names: inout [String]) -> Int32
    {
        if let known = table[key] { return known }
        let index = Int32(names.count)
        table[key] = index
        names.append(key)
        return index
    }
}
