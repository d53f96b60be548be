import Telemetry

/// Series of one level that end, together those of an entity.
struct EndedLevel: Sendable {
    /// What of an entity ends.
    enum Block: Sendable, Hashable {
        case gpus
        /// The statistics of a field, without and with quantiles.
        case values(FieldIndex, hasQuantiles: Bool)
        case distribution(FieldIndex)
    }

    enum Entity: Sendable {
        case number(Int32)
        /// It has left the topology, or the list of jobs.
        case gone([(name: String, value: String)])
    }

    let level: Level
    let places: Places
    private(set) var entities: [(entity: Entity, blocks: [Block])] = []

    init(_ level: Level, _ places: Places) {
        self.level = level
        self.places = places
    }

    /// Those of each column come in the order of the entities.
    ///
    /// - Parameter count: entities.
    mutating func add(_ found: [(entity: Int32, block: Block)], of count: Int) {
        guard !found.isEmpty else { return }
        // Put in order by counting: all of a fleet may end at once.
        var next = [Int32](repeating: 0, count: count + 1)
        for one in found { next[Int(one.entity) + 1] += 1 }
        for entity in 0..<count { next[entity + 1] += next[entity] }
        let starts = next
        var order = [Int32](repeating: 0, count: found.count)
        for (index, one) in found.enumerated() {
            order[Int(next[Int(one.entity)])] = Int32(index)
            next[Int(one.entity)] += 1
        }
        for entity in 0..<count where starts[entity] < starts[entity + 1] {
            let blocks = order[Int(starts[entity])..<Int(starts[entity + 1])].map { found[Int($0)].block }
            entities.append((.number(Int32(entity)), blocks))
        }
    }

    mutating func add(_ place: [(name: String, value: String)], _ blocks: [Block]) {
        entities.append((.gone(place), blocks))
    }
}
