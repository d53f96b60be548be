import Telemetry

/// Where entities are: what is said of them in labels.
struct Places: Sendable {
    let topology: TopologySnapshot
    let labels: LabelChanges
    /// Names, of the level of jobs.
    var jobs: [String] = []

    /// The place of an entity, sorted by label name; entities without a name have an empty value there.
    ///
    /// Names are unique only within their parents (two halls may both have an array `a1`), hence all of them.
    func place(_ level: Level, _ entity: Int) -> [(name: String, value: String)] {
        let place = names(level, entity) + [("site", topology.site)]
        return labels.isEmpty ? place : labels.applied(to: place)
    }

    /// The most bytes that the names of one place of a level can have: a bound that costs nothing a row.
    func bytesMax(_ level: Level) -> Int {
        func longest(_ names: [String]) -> Int { names.reduce(0) { max($0, $1.utf8.count) } }
        var bytes = topology.site.utf8.count + labels.bytesMax
        if level == .job { return bytes + longest(jobs) }
        if level <= .hall { bytes += longest(topology.hallNames) }
        if level <= .array { bytes += longest(topology.arrayNames) }
        if level <= .rack { bytes += longest(topology.rackNames) }
        if level <= .node { bytes += longest(topology.nodeNames) }
        return bytes
    }

    static let nowhere = Places(topology: TopologySnapshot(site: ""), labels: LabelChanges())

    /// Entities of a level.
    func count(_ level: Level) -> Int {
        switch level {
        case .node: topology.nodeNames.count
        case .rack: topology.rackNames.count
        case .array: topology.arrayNames.count
        case .hall: topology.hallNames.count
        case .site: 1
        case .job: jobs.count
        }
    }

    /// What numbers the entities of a level have in another topology; -1 for those that are not there.
    ///
    /// - Returns: `nil` where all have the same: others may have come behind them.
    func numbers(in other: Places, _ level: Level) -> [Int32]? {
        let stay = stay(in: other, level)
        let count = count(level)
        if count <= other.count(level), stay.count == count, stay.allSatisfy(\.self) { return nil }
        func stays(_ entity: Int) -> Bool { entity < stay.count && stay[entity] }
        var known: [String: Int32] = [:]
        for entity in 0..<other.count(level) where !stays(entity) {
            known[other.key(level, entity)] = Int32(entity)
        }
        return (0..<count).map { stays($0) ? Int32($0) : known[key(level, $0)] ?? -1 }
    }

    /// Which of the numbers that both have stand for the same entity.
    private func stay(in other: Places, _ level: Level) -> [Bool] {
        func equal(_ names: [String], _ others: [String]) -> [Bool] {
            let count = min(names.count, others.count)
            // Mostly it is the same array, and then this costs nothing.
            if names == others { return Array(repeating: true, count: count) }
            return (0..<count).map { names[$0] == others[$0] }
        }
        func below(
            _ level: Level, _ names: KeyPath<TopologySnapshot, [String]>,
            _ parents: KeyPath<TopologySnapshot, [Int32]>
        ) -> [Bool] {
            let above = stay(in: other, level)
            var found = equal(topology[keyPath: names], other.topology[keyPath: names])
            let (one, two) = (topology[keyPath: parents], other.topology[keyPath: parents])
            for entity in found.indices where found[entity] {
                let parent = one[safely: entity] ?? -1
                found[entity] = parent == two[safely: entity] ?? -2 && above[safely: Int(parent)] ?? false
            }
            return found
        }
        let isSameSite = topology.site == other.topology.site
        switch level {
        case .site: return [isSameSite]
        case .job: return isSameSite ? equal(jobs, other.jobs) : []
        case .hall: return isSameSite ? equal(topology.hallNames, other.topology.hallNames) : []
        case .array: return below(.hall, \.arrayNames, \.arrayHall)
        case .rack: return below(.array, \.rackNames, \.rackArray)
        case .node: return below(.rack, \.nodeNames, \.nodeRack)
        }
    }

    /// Tells one entity of a level from others, in whatever order they come.
    func key(_ level: Level, _ entity: Int) -> String {
        (names(level, entity).map(\.value) + [topology.site]).joined(separator: "\u{0}")
    }

    private func names(_ level: Level, _ entity: Int) -> [(name: String, value: String)] {
        switch level {
        case .site: return []
        case .job: return [("job", jobs[safely: entity] ?? "")]
        case .hall: return hall(entity)
        case .array: return array(entity)
        case .rack: return rack(entity)
        case .node:
            let rackIndex = topology.nodeRack[safely: entity].map(Int.init)
            var names = rack(rackIndex ?? -1)
            names.insert(("node", topology.nodeNames[safely: entity] ?? ""), at: names.count - 1)
            return names
        }
    }

    private func hall(_ hall: Int) -> [(name: String, value: String)] {
        [("hall", topology.hallNames[safely: hall] ?? "")]
    }

    private func array(_ array: Int) -> [(name: String, value: String)] {
        let parent = topology.arrayHall[safely: array].map(Int.init) ?? -1
        return [("array", topology.arrayNames[safely: array] ?? "")] + hall(parent)
    }

    private func rack(_ rack: Int) -> [(name: String, value: String)] {
        let parent = topology.rackArray[safely: rack].map(Int.init) ?? -1
        return array(parent) + [("rack", topology.rackNames[safely: rack] ?? "")]
    }
}
