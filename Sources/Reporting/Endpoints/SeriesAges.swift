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
            var ages = levels.removeValue(forKey: level) ?? LevelAges(level)
            if let now { ages.renumber(as: window.places(of: now)) }
            let found = ages.age(now, after: windows)
            if !found.entities.isEmpty { ended.append(found) }
            levels[level] = ages
        }
        return ended
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
        // Lent to the loops: a fleet has half a million of these.
        let jobs = level == .job ? now?.jobs ?? [] : nil
        func isNamed(_ entity: Int) -> Bool {
            guard let jobs else { return true }
            return entity < jobs.count && !jobs[entity].isEmpty
        }
        Self.age(&gpus, after: windows, isPresent: { now?.hasGPUs($0) ?? false && isNamed($0) }) {
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
            let counts = values?.count ?? []
            func hasValue(_ entity: Int) -> Bool {
                entity < counts.count && counts[entity] > 0 && isNamed(entity)
            }
            Self.age(&columns[index].values, after: windows, isPresent: hasValue) {
                found.append(($0, .values(field, hasQuantiles: hasQuantiles)))
            }
            Self.age(
                &columns[index].distributions, after: windows,
                isPresent: { hasValue($0) && values?.sketch($0).isEmpty == false }
            ) { found.append(($0, .distribution(field))) }
        }
        var ended = EndedLevel(level, places)
        ended.add(found, of: gpus.count)
        ageLeavers(after: windows, &ended)
        return ended
    }

    @inline(__always)
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
        guard !leavers.isEmpty else { return }
        var over: [(key: String, blocks: [EndedLevel.Block])] = []
        var index = leavers.startIndex
        while index < leavers.endIndex {
            let blocks = Self.age(&leavers.values[index], after: windows)
            if !blocks.isEmpty { over.append((leavers.keys[index], blocks)) }
            leavers.formIndex(after: &index)
        }
        for one in over.sorted(by: { $0.key < $1.key }) {
            guard let leaver = leavers[one.key] else { continue }
            ended.add(leaver.place, one.blocks)
            if leaver.isOver { leavers[one.key] = nil }
        }
    }

    /// - Returns: what ends.
    private static func age(_ leaver: inout Leaver, after windows: UInt16) -> [EndedLevel.Block] {
        var blocks: [EndedLevel.Block] = []
        if ends(&leaver.gpus, after: windows) { blocks.append(.gpus) }
        for index in leaver.columns.indices {
            let (field, hasQuantiles) = (leaver.columns[index].field, leaver.columns[index].hasQuantiles)
            if ends(&leaver.columns[index].values, after: windows) {
                blocks.append(.values(field, hasQuantiles: hasQuantiles))
            }
            if ends(&leaver.columns[index].distribution, after: windows) {
                blocks.append(.distribution(field))
            }
        }
        return blocks
    }
}
