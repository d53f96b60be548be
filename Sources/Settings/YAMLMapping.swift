import Yams

/// A mapping of a file. The keys that are asked for are the keys that are allowed: whatever else is there is reported
/// when the reading is done, so read all keys before leaving, whatever their values are.
public final class YAMLMapping {
    private let value: YAMLValue
    private var entries: [(key: String, keyValue: YAMLValue, value: YAMLValue)] = []
    private var asked: [String] = []

    /// Keys of one mapping.
    static let keysMax = 10_000

    init?(_ value: YAMLValue, expected: String) {
        self.value = value
        guard case .mapping(let mapping) = value.node else {
            if case .scalar(let scalar) = value.node, scalar.string.isEmpty, scalar.style == .plain {
                value.fail("the value is empty", expected: expected)
            } else {
                value.fail("\(value.shown) is not allowed here", expected: expected)
            }
            return nil
        }
        guard value.isUntagged(mapping.tag), mapping.count <= Self.keysMax else {
            value.fail("a tag, or more than \(Self.keysMax) keys", expected: expected)
            return nil
        }
        var seen = Set<String>()
        for (key, entry) in mapping {
            let keyValue = YAMLValue(node: key, report: value.report)
            guard case .scalar(let scalar) = key else {
                keyValue.fail("\(keyValue.shown) is not allowed as a key", expected: "a text")
                continue
            }
            guard seen.insert(scalar.string).inserted else {
                keyValue.fail("`\(scalar.string)` given twice", expected: "each key once")
                continue
            }
            entries.append((scalar.string, keyValue, YAMLValue(node: entry, report: value.report)))
        }
    }

    /// Where the mapping starts.
    public var place: YAMLPlace { value.place }

    /// All keys, in the order of the file.
    public var keys: [String] { entries.map(\.key) }

    /// The value of a key, for reading it by hand.
    public func value(_ key: String) -> YAMLValue? {
        if !asked.contains(key) { asked.append(key) }
        return entries.first { $0.key == key }?.value
    }

    /// The value of a key that must be there; `nil` after reporting.
    public func required<Value>(_ key: String, _ type: YAMLType<Value>) -> Value? {
        guard let found = value(key) else {
            value.fail("`\(key)` is missing", expected: type.expected)
            return nil
        }
        return found.read(type)
    }

    /// The value of a key that must be there. The placeholder stands in for it when it is missing or wrong: that has
    /// been reported, so nobody will ever see the result.
    public func required<Value>(_ key: String, _ type: YAMLType<Value>, placeholder: Value) -> Value {
        required(key, type) ?? placeholder
    }

    /// The value of a key that may be missing; `nil` when it is, and after reporting.
    public func optional<Value>(_ key: String, _ type: YAMLType<Value>) -> Value? {
        value(key).flatMap { $0.read(type) }
    }

    /// The value of a key, or the default when it is missing.
    public func optional<Value>(_ key: String, _ type: YAMLType<Value>, default other: Value) -> Value {
        optional(key, type) ?? other
    }

    /// A nested mapping that may be missing, when it is read into something that exists already.
    public func section(_ key: String, _ read: (YAMLMapping) -> Void) {
        guard let found = value(key),
            let mapping = YAMLMapping(found, expected: "a mapping of keys to values")
        else { return }
        read(mapping)
        mapping.finish()
    }

    /// A list of mappings that may be missing, when they are read into something that exists already.
    ///
    /// - Parameter expected: what one of them is.
    public func each(_ key: String, _ expected: String, max: Int, _ read: (YAMLMapping) -> Void) {
        let list = "a list of at most \(max) mappings, each \(expected)"
        guard let found = value(key), let entries = found.list(list) else { return }
        if entries.count > max { found.fail("the list has \(entries.count) entries", expected: list) }
        for entry in entries.prefix(max) {
            guard let mapping = YAMLMapping(entry, expected: expected) else { continue }
            read(mapping)
            mapping.finish()
        }
    }

    /// Reports an error at the value of a key, or at the mapping when the key is missing.
    public func fail(_ key: String, _ problem: String, expected: String = "") {
        (entries.first { $0.key == key }?.value ?? value).fail(problem, expected: expected)
    }

    /// Reports an error at a path such as `phases[1].groups[0].gpus`, or at the deepest part of it that is there.
    func fail(at path: String, _ problem: String, expected: String = "") {
        var place = value
        for part in path.split(whereSeparator: { ".[]".contains($0) }) {
            switch place.node {
            case .mapping(let mapping):
                guard let entry = mapping.first(where: { $0.key.scalar?.string == String(part) }) else {
                    return place.fail(problem, expected: expected)
                }
                place = YAMLValue(node: entry.value, report: value.report)
            case .sequence(let sequence):
                guard let index = Int(part), sequence.indices.contains(index) else {
                    return place.fail(problem, expected: expected)
                }
                place = YAMLValue(node: sequence[index], report: value.report)
            default: return place.fail(problem, expected: expected)
            }
        }
        place.fail(problem, expected: expected)
    }

    /// Where the value of a key is, or the mapping when the key is missing.
    public func place(_ key: String) -> YAMLPlace {
        entries.first { $0.key == key }?.value.place ?? place
    }

    /// Every key with its value; all keys are allowed then.
    func all<Value>(_ type: YAMLType<Value>) -> [(key: String, value: Value)] {
        entries.compactMap { entry in
            _ = value(entry.key)
            return entry.value.read(type).map { (entry.key, $0) }
        }
    }

    /// Reports the keys that nobody asked for.
    func finish() {
        for entry in entries where !asked.contains(entry.key) {
            let near = Suggestion.nearest(to: entry.key, in: asked)
            let hint = near.map { "; did you mean `\($0)`?" } ?? ""
            let list = asked.prefix(40).joined(separator: ", ") + (asked.count > 40 ? ", …" : "")
            entry.keyValue.fail("unknown key `\(entry.key)`\(hint)", expected: "one of: \(list)")
        }
    }
}

/// Guesses what somebody meant to write.
public enum Suggestion {
    /// The candidate that is at most a third of its letters away, by insertions, deletions, replacements and swaps.
    public static func nearest(to word: String, in candidates: [String]) -> String? {
        guard word.count <= 64 else { return nil }
        let scored = candidates.map { (name: $0, distance: distance(word.lowercased(), $0.lowercased())) }
        guard let best = scored.min(by: { $0.distance < $1.distance }) else { return nil }
        return best.distance <= max(1, max(word.count, best.name.count) / 3) ? best.name : nil
    }

    /// Optimal string alignment distance.
    static func distance(_ left: String, _ right: String) -> Int {
        let (a, b) = (Array(left), Array(right))
        var before: [Int] = []
        var last = Array(0...b.count)
        for i in a.indices {
            var row = [i + 1]
            for j in b.indices {
                let cost = a[i] == b[j] ? 0 : 1
                var best = min(last[j + 1] + 1, row[j] + 1, last[j] + cost)
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = min(best, before[j - 1] + 1) }
                row.append(best)
            }
            (before, last) = (last, row)
        }
        return last[b.count]
    }
}
