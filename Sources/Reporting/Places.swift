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

    /// Every entity of a level has the same number in both.
    func hasSameNumbers(as other: Places, _ level: Level) -> Bool {
        if level == .job { return jobs == other.jobs && topology.site == other.topology.site }
        let (one, two) = (topology, other.topology)
        guard one.site == two.site else { return false }
        if level <= .hall, one.hallNames != two.hallNames { return false }
        if level <= .array, one.arrayNames != two.arrayNames || one.arrayHall != two.arrayHall { return false }
        if level <= .rack, one.rackNames != two.rackNames || one.rackArray != two.rackArray { return false }
        return level > .node || one.nodeNames == two.nodeNames && one.nodeRack == two.nodeRack
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
