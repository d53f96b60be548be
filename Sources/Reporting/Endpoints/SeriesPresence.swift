import Telemetry

/// Which series a window had: a bit an entity and field. A window's numbers are hundreds of times larger.
struct SeriesPresence: Sendable {
    let stream: StreamID
    let resolutionMs: Int64
    /// Unix milliseconds.
    let endMs: Int64
    let levels: [OfLevel]

    struct OfLevel: Sendable {
        let level: Level
        let places: Places
        let gpus: EntityBits
        let columns: [OfColumn]
    }

    struct OfColumn: Sendable {
        let field: FieldIndex
        let values: EntityBits
        /// Entities that have these quantiles are the first so many.
        let p50Count: Int, p90Count: Int, p99Count: Int
        /// Where a sketch is kept, and with it a distribution.
        let sketches: EntityBits
    }

    init(_ window: SelectedWindow) {
        stream = window.summary.stream
        resolutionMs = window.summary.resolutionMs
        endMs = window.summary.endMs
        levels = window.levels.map { OfLevel($0, window.places(of: $0)) }
    }
}

extension SeriesPresence.OfLevel {
    fileprivate init(_ level: SelectedLevel, _ places: Places) {
        self.level = level.level
        self.places = places
        gpus = EntityBits(level.entityCount) { level.isNamed($0) && level.hasGPUs($0) }
        columns = level.columns.map { column in
            // Lent: an array in an array is counted once more for each look at it.
            let counts = column.count.span
            return SeriesPresence.OfColumn(
                field: column.field,
                values: EntityBits(column.entityCount) { counts[$0] > 0 && level.isNamed($0) },
                p50Count: column.p50.count, p90Count: column.p90.count, p99Count: column.p99.count,
                sketches: EntityBits(column.sketchOffsets.isEmpty ? 0 : column.entityCount) {
                    !column.sketch($0).isEmpty
                })
        }
    }

    /// Its GPU counts, and then the values of its fields, that another window of the level has no more.
    ///
    /// - Returns: entities of this one; `column` is `nil` for the GPU counts.
    func missing(in next: SeriesPresence.OfLevel?) -> [(column: Int?, entities: EntityBits)] {
        let isSame = next.map { places.hasSameNumbers(as: $0.places, level) } ?? true
        let numbers = isSame ? nil : numbers(in: next)
        func missing(_ bits: EntityBits, _ others: EntityBits?) -> EntityBits {
            guard let others else { return bits }
            guard let numbers else { return bits.subtracting(others) }
            return EntityBits(bits.count) { entity in bits[entity] && !(numbers[entity].map { others[$0] } ?? false) }
        }
        var found: [(column: Int?, entities: EntityBits)] = [(nil, missing(gpus, next?.gpus))]
        for (index, column) in columns.enumerated() {
            let other = next?.columns.first { $0.field == column.field }
            found.append((index, missing(column.values, other?.values)))
        }
        return found.filter { !$0.entities.isEmpty }
    }

    private var entityCount: Int { max(gpus.count, columns.map(\.values.count).max() ?? 0) }

    /// What each entity's number is in another window; `nil` for those that it does not know.
    private func numbers(in next: SeriesPresence.OfLevel?) -> [Int?] {
        var known: [String: Int] = [:]
        if let next {
            for entity in 0..<next.entityCount { known[next.places.key(level, entity)] = entity }
        }
        return (0..<entityCount).map { known[places.key(level, $0)] }
    }
}

/// Some of the entities of a level.
struct EntityBits: Sendable, Equatable {
    let count: Int
    private var words: [UInt64]

    init(_ count: Int, where isIn: (Int) -> Bool) {
        self.count = count
        words = (0..<(count + 63) / 64).map { word in
            var bits: UInt64 = 0
            for bit in 0..<min(64, count - word * 64) where isIn(word * 64 + bit) { bits |= 1 << UInt64(bit) }
            return bits
        }
    }

    /// `false` for whoever is not known.
    subscript(_ entity: Int) -> Bool {
        entity >= 0 && entity < count && words[entity >> 6] >> UInt64(entity & 63) & 1 == 1
    }

    var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

    func subtracting(_ others: EntityBits) -> EntityBits {
        var rest = self
        for word in 0..<min(words.count, others.words.count) { rest.words[word] &= ~others.words[word] }
        return rest
    }
}

/// The last windows of each stream and resolution that an endpoint got whole: what the next ones are compared with.
struct SeriesMemory: Sendable {
    private struct Key: Hashable {
        var stream: StreamID
        var resolutionMs: Int64
    }

    /// Streams and resolutions of which something is kept; those that ended longest ago go first.
    static let countMax = 64
    /// A window so much older than the last begins its stream anew.
    static let backMs: Int64 = 3_600_000

    private var presences: [Key: SeriesPresence] = [:]

    /// What the stream had just before a window; `nil` where that is not known, or where there is something later.
    func presence(before next: SeriesPresence) -> SeriesPresence? {
        let known = presences[Key(stream: next.stream, resolutionMs: next.resolutionMs)]
        return known.flatMap { $0.endMs < next.endMs ? $0 : nil }
    }

    mutating func note(_ presence: SeriesPresence) {
        let key = Key(stream: presence.stream, resolutionMs: presence.resolutionMs)
        if let known = presences[key], known.endMs > presence.endMs,
            known.endMs - presence.endMs < max(Self.backMs, 2 * presence.resolutionMs)
        {
            return
        }
        presences[key] = presence
        guard presences.count > Self.countMax else { return }
        let oldest = presences.filter { $0.key != key }.min { $0.value.endMs < $1.value.endMs }
        if let oldest { presences[oldest.key] = nil }
    }
}
