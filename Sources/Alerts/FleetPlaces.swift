import Telemetry

/// A stream's fleet as alerts need it: names of places, and the way from names to indices.
struct FleetPlaces: Sendable {
    let topology: TopologySnapshot
    private let nodeIndex: [String: Int]
    /// Nodes of racks, arrays, halls and the site by name, the smaller ones first: a name means the smallest that has it.
    private let members: [[String: [Int]]]

    init(_ topology: TopologySnapshot) {
        self.topology = topology
        nodeIndex = Dictionary(
            topology.nodeNames.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        var racks: [String: [Int]] = [:]
        var arrays: [String: [Int]] = [:]
        var halls: [String: [Int]] = [:]
        for (node, rack) in topology.nodeRack.enumerated() {
            racks[topology.rackNames[Int(rack)], default: []].append(node)
            let array = Int(topology.rackArray[Int(rack)])
            guard topology.arrayNames.indices.contains(array) else { continue }
            arrays[topology.arrayNames[array], default: []].append(node)
            let hall = Int(topology.arrayHall[array])
            guard topology.hallNames.indices.contains(hall) else { continue }
            halls[topology.hallNames[hall], default: []].append(node)
        }
        members = [racks, arrays, halls, [topology.site: Array(topology.nodeRack.indices)]]
    }

    func node(_ name: String) -> Int? { nodeIndex[name] }

    /// Those that an inventory has taken out: nobody waits for them.
    var removedNodes: [Int] {
        topology.nodeStanding.indices.filter { topology.nodeStanding[$0] == .removed }
    }

    /// GPUs that are waited for.
    var expectedGPUs: Int { topology.gpuNode.count { topology.nodeStanding[Int($0)] != .removed } }

    /// Whether it is the name of a node, a rack, an array, a hall or the site.
    func knows(_ name: String) -> Bool {
        nodeIndex[name] != nil || members.contains { $0[name] != nil }
    }

    /// Nodes that a name means: one, or those of a rack, array, hall or the site.
    func nodes(named name: String) -> [Int] {
        node(name).map { [$0] } ?? members.lazy.compactMap { $0[name] }.first ?? []
    }

    /// Names of an entity and of what it is part of; names are unique only within their parents.
    func labels(_ level: Level, _ index: Int) -> [String: String] {
        var labels = ["site": topology.site]
        var rack = level == .rack ? index : -1
        if level == .node, topology.nodeNames.indices.contains(index) {
            labels["node"] = topology.nodeNames[index]
            rack = Int(topology.nodeRack[index])
        }
        var array = level == .array ? index : -1
        if topology.rackNames.indices.contains(rack) {
            labels["rack"] = topology.rackNames[rack]
            array = Int(topology.rackArray[rack])
        }
        var hall = level == .hall ? index : -1
        if topology.arrayNames.indices.contains(array) {
            labels["array"] = topology.arrayNames[array]
            hall = Int(topology.arrayHall[array])
        }
        if topology.hallNames.indices.contains(hall) { labels["hall"] = topology.hallNames[hall] }
        return labels
    }

    func name(_ level: Level, _ index: Int) -> String {
        let names = topology.names(level)
        return names.indices.contains(index) ? names[index] : ""
    }

    /// The index of what an entity of that level is part of.
    func parent(of index: Int, at level: Level) -> Int? {
        let parents: [Int32]
        switch level {
        case .node: parents = topology.nodeRack
        case .rack: parents = topology.rackArray
        case .array: parents = topology.arrayHall
        case .hall: return 0
        case .site, .job: return nil
        }
        return parents.indices.contains(index) ? Int(parents[index]) : nil
    }
}

/// Says of many units which of them something is true for, in as few words as possible: whatever is true for a whole rack,
/// array, hall or for all of the site is said once.
struct Grouping: Sendable {
    struct Unit: Sendable, Equatable {
        var index: Int
        /// It is true for all of it, and not only for a part: only such units are said together.
        var isWhole = true
        /// Is added up.
        var value: Double
    }

    struct Group: Sendable, Equatable {
        var level: Level
        var index: Int
        var value: Double
        /// How many units are said with it.
        var units: Int
    }

    private struct Tally {
        var units = 0
        var struck = 0
        var value = 0.0
        var isWhole: Bool { struck == units && units > 0 }
    }

    private static let ladder: [Level] = [.node, .rack, .array, .hall, .site]

    let places: FleetPlaces
    /// Of the units; not the job.
    let level: Level

    /// - Parameters:
    ///   - struck: for which it is true.
    ///   - counted: all units that could be.
    func groups(_ struck: [Unit], counted: some Sequence<Int>) -> [Group] {
        guard !struck.isEmpty, let first = Self.ladder.firstIndex(of: level) else { return [] }
        let levels = Array(Self.ladder[first...])
        let tallies = tallies(levels, struck, counted)
        var said: Set<[Int]> = []
        var groups: [Group] = []
        for unit in struck {
            var best = Group(level: level, index: unit.index, value: unit.value, units: 1)
            var index = unit.index
            for step in levels.indices.dropFirst() where unit.isWhole {
                guard let parent = places.parent(of: index, at: levels[step - 1]),
                    tallies[step].indices.contains(parent), tallies[step][parent].isWhole
                else { break }
                let tally = tallies[step][parent]
                // The lowest of those that hold equally many.
                if tally.units > best.units {
                    best = Group(level: levels[step], index: parent, value: tally.value, units: tally.units)
                }
                index = parent
            }
            let step = levels.firstIndex(of: best.level) ?? 0
            if said.insert([step, best.index]).inserted { groups.append(best) }
        }
        return groups
    }

    /// Index by index for each level, the first of them empty.
    private func tallies(
        _ levels: [Level], _ struck: [Unit], _ counted: some Sequence<Int>
    ) -> [[Tally]] {
        var tallies = levels.map { Array(repeating: Tally(), count: places.topology.count($0)) }
        tallies[0] = []
        func each(_ unit: Int, _ change: (inout Tally) -> Void) {
            var index = unit
            for step in levels.indices.dropFirst() {
                guard let parent = places.parent(of: index, at: levels[step - 1]),
                    tallies[step].indices.contains(parent)
                else { return }
                change(&tallies[step][parent])
                index = parent
            }
        }
        for unit in struck {
            each(unit.index) { tally in
                if unit.isWhole { tally.struck += 1 }
                tally.value += unit.value
            }
        }
        for index in counted { each(index) { $0.units += 1 } }
        return tallies
    }
}
