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

/// The fleet of one stream at one version: names and parents, index by index. Indices never change and never go
/// away while a stream lives; a later version only has more of them.
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
        gpuNode: [Int32], gpuOrdinal: [UInt8]
    ) {
        func parents(_ parents: [Int32], of count: Int, in parentCount: Int) -> Bool {
            parents.count == count && parents.allSatisfy { $0 >= 0 && Int($0) < parentCount }
        }
        guard version >= 0, parents(arrayHall, of: arrayNames.count, in: hallNames.count),
            parents(rackArray, of: rackNames.count, in: arrayNames.count),
            parents(nodeRack, of: nodeNames.count, in: rackNames.count), nodeModel.count == nodeNames.count,
            parents(gpuNode, of: gpuOrdinal.count, in: nodeNames.count)
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
        self.gpuNode = gpuNode
        self.gpuOrdinal = gpuOrdinal
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
    /// A known node keeps the place at which it was first seen.
    @discardableResult
    public func node(_ name: String, at placement: @autoclosure () -> Placement) -> Int32 {
        state.withLock { state in
            if let known = state.nodeIndex[name] { return known }
            return Self.addNode(name, placement(), &state)
        }
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

    private static func addNode(_ name: String, _ place: Placement, _ state: inout State) -> Int32 {
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
        let node = index(name, &state.nodeIndex, &state.snapshot.nodeNames)
        state.snapshot.nodeRack.append(rack)
        state.snapshot.nodeModel.append(place.model)
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
