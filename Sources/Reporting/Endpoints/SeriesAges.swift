import Telemetry

/// For how many windows each series of a stream and resolution has had no value, as far as it has not ended. Two bytes an entity and
/// field, where a window has some fifty.
struct SeriesAges: Sendable {
    /// Of the newest window, Unix milliseconds.
    private(set) var endMs: Int64
    private var levels: [Level: LevelAges] = [:]

    init(endMs: Int64) { self.endMs = endMs }

    /// Takes the next window.
    ///
    /// - Parameter windows: a series without a value in so many ends with the last of them.
    /// - Returns: what ends.
    mutating func take(_ window: SelectedWindow, after windows: UInt16) -> [EndedLevel] {
        endMs = window.summary.endMs
        var ended: [EndedLevel] = []
        for level in Level.allCases {
            let now = window.levels.first { $0.level == level }
            guard now != nil || levels[level] != nil else { continue }
            // Taken out, so that its arrays are not copied.
            var ages = levels.removeValue(forKey: level) ?? LevelAges(level)
            if let now { ages.renumber(as: window.places(of: now)) }
            let found = ages.age(now, after: windows)
            if !found.entities.isEmpty { ended.append(found) }
            levels[level] = ages
        }
        return ended
    }
}

/// Series of one level that end, together those of an entity.
struct EndedLevel: Sendable {
    /// What of an entity ends.
    enum Block: Sendable, Equatable {
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

    /// By number, in the order of the entities.
    mutating func add(_ found: [(entity: Int32, block: Block)]) {
        // Stable: blocks stay as they were found.
        let sorted = found.enumerated().sorted {
            ($0.element.entity, $0.offset) < ($1.element.entity, $1.offset)
        }
        var last: Int32 = -1
        for (_, one) in sorted {
            if one.entity == last {
                entities[entities.count - 1].blocks.append(one.block)
            } else {
                entities.append((.number(one.entity), [one.block]))
                last = one.entity
            }
        }
    }

    mutating func add(_ place: [(name: String, value: String)], _ blocks: [Block]) {
        entities.append((.gone(place), blocks))
    }
}

/// Ages of one level: 0 for what never was, or has ended; 1 for what is in the last window; then one more with each window.
private struct LevelAges: Sendable {
    private struct Column: Sendable {
        let field: FieldIndex
        var values: [UInt16]
        /// Empty where no sketch was ever kept.
        var distributions: [UInt16] = []
        var hasQuantiles = false
    }

    /// An entity that is in no window any more.
    private struct Leaver: Sendable {
        let place: [(name: String, value: String)]
        var gpus: UInt16
        var columns: [(field: FieldIndex, values: UInt16, distribution: UInt16, hasQuantiles: Bool)]

        var isOver: Bool { gpus == 0 && columns.allSatisfy { $0.values == 0 && $0.distribution == 0 } }
    }

    /// More at once are forgotten without an end.
    private static let leaversMax = 65_536

    private let level: Level
    private var places: Places?
    private var gpus: [UInt16] = []
    private var columns: [Column] = []
    private var leavers: [String: Leaver] = [:]

    init(_ level: Level) { self.level = level }

    // MARK: Numbers

    /// Entities get the numbers that they have in the next window.
    mutating func renumber(as new: Places) {
        let count = new.count(level)
        defer { places = new }
        guard let old = places, let numbers = old.numbers(in: new, level) else {
            let before = gpus.count
            resize(count)
            if !leavers.isEmpty { bringBack(before..<count, new) }
            return
        }
        for (entity, number) in numbers.enumerated() where number < 0 { leave(entity, old) }
        func moved(_ ages: [UInt16]) -> [UInt16] {
            guard !ages.isEmpty else { return [] }
            var moved = [UInt16](repeating: 0, count: count)
            for (entity, number) in numbers.enumerated() where number >= 0 && entity < ages.count {
                moved[Int(number)] = ages[entity]
            }
            return moved
        }
        gpus = moved(gpus)
        for index in columns.indices {
            columns[index].values = moved(columns[index].values)
            columns[index].distributions = moved(columns[index].distributions)
        }
        resize(count)
        if !leavers.isEmpty {
            var isKnown = [Bool](repeating: false, count: count)
            for number in numbers where number >= 0 { isKnown[Int(number)] = true }
            bringBack((0..<count).filter { !isKnown[$0] }, new)
        }
    }

    private mutating func resize(_ count: Int) {
        func resize(_ ages: inout [UInt16]) {
            if ages.count < count { ages += repeatElement(0, count: count - ages.count) }
        }
        resize(&gpus)
        for index in columns.indices {
            resize(&columns[index].values)
            if !columns[index].distributions.isEmpty { resize(&columns[index].distributions) }
        }
    }

    private mutating func leave(_ entity: Int, _ old: Places) {
        func age(_ ages: [UInt16]) -> UInt16 { ages[safely: entity] ?? 0 }
        let leaver = Leaver(
            place: old.place(level, entity), gpus: age(gpus),
            columns: columns.compactMap { column in
                let (values, distribution) = (age(column.values), age(column.distributions))
                guard values > 0 || distribution > 0 else { return nil }
                return (column.field, values, distribution, column.hasQuantiles)
            })
        guard !leaver.isOver, leavers.count < Self.leaversMax else { return }
        leavers[old.key(level, entity)] = leaver
    }

    /// Who left may be among these again.
    private mutating func bringBack(_ numbers: some Sequence<Int>, _ new: Places) {
        for number in numbers {
            guard let leaver = leavers.removeValue(forKey: new.key(level, number)) else { continue }
            gpus[number] = leaver.gpus
            for one in leaver.columns {
                guard let index = columns.firstIndex(where: { $0.field == one.field }) else { continue }
                columns[index].values[number] = one.values
                if columns[index].distributions.indices.contains(number) {
                    columns[index].distributions[number] = one.distribution
                }
            }
        }
    }

    // MARK: Ages

    mutating func age(_ now: SelectedLevel?, after windows: UInt16) -> EndedLevel {
        let places = places ?? Places.nowhere
        var found: [(entity: Int32, block: EndedLevel.Block)] = []
        Self.age(&gpus, after: windows, isPresent: { now?.hasCounts($0) ?? false }) {
            found.append(($0, .gpus))
        }
        for column in now?.columns ?? [] where !columns.contains(where: { $0.field == column.field }) {
            columns.append(Column(field: column.field, values: Array(repeating: 0, count: gpus.count)))
        }
        for index in columns.indices {
            let field = columns[index].field
            let values = now?.columns.first { $0.field == field }
            if let values {
                columns[index].hasQuantiles = !values.p50.isEmpty
                if !values.sketchOffsets.isEmpty, columns[index].distributions.isEmpty {
                    columns[index].distributions = Array(repeating: 0, count: gpus.count)
                }
            }
            let hasQuantiles = columns[index].hasQuantiles
            Self.age(
                &columns[index].values, after: windows, isPresent: { now?.hasValue(values, $0) ?? false }
            ) {
                found.append(($0, .values(field, hasQuantiles: hasQuantiles)))
            }
            Self.age(
                &columns[index].distributions, after: windows,
                isPresent: { now?.hasValue(values, $0) ?? false && values?.sketch($0).isEmpty == false }
            ) { found.append(($0, .distribution(field))) }
        }
        var ended = EndedLevel(level, places)
        ended.add(found)
        ageLeavers(after: windows, &ended)
        return ended
    }

    private static func age(
        _ ages: inout [UInt16], after windows: UInt16, isPresent: (Int) -> Bool, ended: (Int32) -> Void
    ) {
        for entity in ages.indices {
            if isPresent(entity) {
                ages[entity] = 1
            } else if ages[entity] > 0, Self.ends(&ages[entity], after: windows) {
                ended(Int32(entity))
            }
        }
    }

    private static func ends(_ age: inout UInt16, after windows: UInt16) -> Bool {
        guard age > 0 else { return false }
        // 1 is for the window with the value.
        guard age >= windows else {
            age += 1
            return false
        }
        age = 0
        return true
    }

    private mutating func ageLeavers(after windows: UInt16, _ ended: inout EndedLevel) {
        for key in leavers.keys.sorted() {
            guard var leaver = leavers[key] else { continue }
            var blocks: [EndedLevel.Block] = []
            if Self.ends(&leaver.gpus, after: windows) { blocks.append(.gpus) }
            for index in leaver.columns.indices {
                let column = leaver.columns[index]
                if Self.ends(&leaver.columns[index].values, after: windows) {
                    blocks.append(.values(column.field, hasQuantiles: column.hasQuantiles))
                }
                if Self.ends(&leaver.columns[index].distribution, after: windows) {
                    blocks.append(.distribution(column.field))
                }
            }
            if !blocks.isEmpty { ended.add(leaver.place, blocks) }
            leavers[key] = leaver.isOver ? nil : leaver
        }
    }
}

extension SelectedLevel {
    /// It has GPU counts to tell.
    fileprivate func hasCounts(_ entity: Int) -> Bool { isNamed(entity) && hasGPUs(entity) }

    fileprivate func hasValue(_ column: FieldColumn?, _ entity: Int) -> Bool {
        guard let column, entity < column.entityCount else { return false }
        return column.count[entity] > 0 && isNamed(entity)
    }
}

/// What an endpoint has been sent of streams and resolutions, as far as it takes to know what ends.
struct SeriesMemory: Sendable {
    private struct Key: Hashable {
        var stream: StreamID
        var resolutionMs: Int64
    }

    /// Streams and resolutions of which something is kept; those whose last window ended first go first.
    static let countMax = 16
    /// A window so much older than the last begins its stream anew.
    static let backMs: Int64 = 3_600_000

    /// Milliseconds without a value.
    let staleAfterMs: Int64
    private var ages: [Key: SeriesAges] = [:]

    init(staleAfterMs: Int64) { self.staleAfterMs = staleAfterMs }

    /// Takes a window.
    ///
    /// - Returns: series that end with it. None where it is older than another that was taken.
    mutating func take(_ window: SelectedWindow) -> [EndedLevel] {
        let summary = window.summary
        let key = Key(stream: summary.stream, resolutionMs: summary.resolutionMs)
        // Taken out, so that its arrays are not copied.
        var known = ages.removeValue(forKey: key) ?? SeriesAges(endMs: .min)
        if summary.endMs <= known.endMs {
            if known.endMs - summary.endMs < max(Self.backMs, 2 * summary.resolutionMs) {
                ages[key] = known
                return []
            }
            known = SeriesAges(endMs: .min)
        }
        let windows = (staleAfterMs + summary.resolutionMs - 1) / max(1, summary.resolutionMs)
        let ended = known.take(window, after: UInt16(clamping: max(1, windows)))
        ages[key] = known
        if ages.count > Self.countMax {
            let oldest = ages.filter { $0.key != key }.min { $0.value.endMs < $1.value.endMs }
            if let oldest { ages[oldest.key] = nil }
        }
        return ended
    }

    /// Whether something is known of a stream's windows.
    func knows(_ stream: StreamID) -> Bool { ages.keys.contains { $0.stream == stream } }
}
