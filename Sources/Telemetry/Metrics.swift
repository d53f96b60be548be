import Synchronization

/// A monotonic count, cheap enough for any path that runs once a batch.
public final class Counter: Sendable {
    private let total = Atomic<Int64>(0)
    public init() {}
    public func add(_ amount: Int64 = 1) { total.add(amount, ordering: .relaxed) }
    public var value: Int64 { total.load(ordering: .relaxed) }
}

/// A value that goes up and down.
public final class Gauge: Sendable {
    private let bits = Atomic<UInt64>(0)
    public init() {}
    public func set(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }
    public var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }
}

/// The process's own metrics: `colossus_<noun>_<unit>[_total]`, printed in the exposition format.
public final class Metrics: Sendable {
    public struct Labels: Hashable, Sendable, ExpressibleByDictionaryLiteral {
        /// Sorted by name.
        public let pairs: [Pair]

        public struct Pair: Hashable, Sendable {
            public let name: String
            public let value: String
        }

        public init(dictionaryLiteral elements: (String, String)...) {
            pairs = elements.map { Pair(name: $0.0, value: $0.1) }.sorted { $0.name < $1.name }
        }
    }

    private enum Source: Sendable {
        case counter(Counter)
        case gauge(Gauge)
        case computed(@Sendable () -> Double)
    }

    private struct Family: Sendable {
        var help: String
        var type: String
        var series: [Labels: Source] = [:]
    }

    private let families = Locked<[String: Family]>([:])

    public init() {}

    /// The counter of that name and those labels, made when it is new.
    public func counter(_ name: String, _ help: String, _ labels: Labels = [:]) -> Counter {
        families.withLock { families in
            if case .counter(let known)? = families[name]?.series[labels] { return known }
            let counter = Counter()
            families[name, default: Family(help: help, type: "counter")].series[labels] = .counter(counter)
            return counter
        }
    }

    public func gauge(_ name: String, _ help: String, _ labels: Labels = [:]) -> Gauge {
        families.withLock { families in
            if case .gauge(let known)? = families[name]?.series[labels] { return known }
            let gauge = Gauge()
            families[name, default: Family(help: help, type: "gauge")].series[labels] = .gauge(gauge)
            return gauge
        }
    }

    /// A gauge that is worked out when somebody looks. `read` must not block and must not use this object.
    public func computed(
        _ name: String, _ help: String, type: String = "gauge", _ labels: Labels = [:],
        read: @escaping @Sendable () -> Double
    ) {
        families.withLock { families in
            families[name, default: Family(help: help, type: type)].series[labels] = .computed(read)
        }
    }

    /// Forgets all series of a family whose labels hold that pair; for things that went away.
    public func remove(label: String, value: String) {
        families.withLock { families in
            for name in Array(families.keys) {
                let kept = families[name]?.series.filter { labels, _ in
                    !labels.pairs.contains { $0.name == label && $0.value == value }
                }
                families[name]?.series = kept ?? [:]
            }
        }
    }

    /// Forgets one series; where there is none, nothing.
    public func remove(_ name: String, _ labels: Labels) {
        families.withLock { families in _ = families[name]?.series.removeValue(forKey: labels) }
    }

    /// Prometheus text 0.0.4, families and series in a fixed order.
    public func exposition() -> String {
        let all = families.withLock { $0 }
        var text = ""
        for (name, family) in all.sorted(by: { $0.key < $1.key }) where !family.series.isEmpty {
            text +=
                "# HELP \(name) \(Self.escaped(family.help, quotes: false))\n# TYPE \(name) \(family.type)\n"
            let lines = family.series.map { labels, source in
                name + Self.rendered(labels) + " " + Self.number(Self.value(source))
            }
            text += lines.sorted().joined(separator: "\n") + "\n"
        }
        return text
    }

    private static func value(_ source: Source) -> Double {
        switch source {
        case .counter(let counter): Double(counter.value)
        case .gauge(let gauge): gauge.value
        case .computed(let read): read()
        }
    }

    private static func rendered(_ labels: Labels) -> String {
        guard !labels.pairs.isEmpty else { return "" }
        let inside = labels.pairs.map { "\($0.name)=\"\(escaped($0.value, quotes: true))\"" }
        return "{" + inside.joined(separator: ",") + "}"
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var out = ""
        for character in text {
            switch character {
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\"" where quotes: out += "\\\""
            default: out.append(character)
            }
        }
        return out
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        if value == value.rounded(), abs(value) < 1e15 { return String(Int64(value)) }
        return String(value)
    }
}
