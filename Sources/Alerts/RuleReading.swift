import Telemetry

/// Something that a rule has found to be so in a window.
struct Finding: Sendable {
    var entity: String
    /// Of the place, without the rule's own.
    var labels: [String: String]
    var value: Double
    var summary: String
    /// The rule's own; a `summary` of theirs takes the place of the one above.
    var annotations: [String: String] = [:]
    /// For what has no end of its own.
    var untilMs: Int64?
}

/// Reads a rule's value off a window.
struct RuleReading: Sendable {
    let rule: AlertRule
    let window: WindowSummary
    let level: LevelSummary?

    init(_ rule: AlertRule, _ window: WindowSummary) {
        self.rule = rule
        self.window = window
        level = window.level(rule.level)
    }

    var entityCount: Int {
        if rule.subject == .coverage { return 1 }
        guard let level else { return 0 }
        return switch rule.subject {
        case .field(let field, _): level.columns.first { $0.field == field }?.entityCount ?? 0
        default: level.gpus.expected.count
        }
    }

    /// Entities of which it is so, with the value.
    func struck() -> [(index: Int, value: Double)] {
        if rule.subject == .coverage {
            return rule.comparison.holds(window.coverage, rule.threshold) ? [(0, window.coverage)] : []
        }
        let value = reader()
        return (0..<entityCount).compactMap { index in
            guard let found = value(index), rule.comparison.holds(found, rule.threshold) else { return nil }
            return (index, found)
        }
    }

    /// Entities of which anything was heard.
    func known() -> [Int] {
        if rule.subject == .coverage { return [0] }
        let value = reader()
        return (0..<entityCount).filter { value($0) != nil }
    }

    /// The value of an entity; `nil` where nothing was heard.
    private func reader() -> (Int) -> Double? {
        guard let level else { return { _ in nil } }
        switch rule.subject {
        case .coverage: return { _ in window.coverage }
        case .gpus(let count): return { Self.count(count, level.gpus, $0) }
        case .share(let count):
            return { index in
                let expected = Double(level.gpus.expected[index])
                return expected == 0 ? nil : Self.count(count, level.gpus, index).map { $0 / expected }
            }
        case .field(let field, let statistic):
            guard let column = level.columns.first(where: { $0.field == field }) else { return { _ in nil } }
            return { Self.value(statistic, column, $0) }
        }
    }

    private static func count(_ count: AlertRule.GPUCount, _ gpus: GPUCounts, _ index: Int) -> Double? {
        guard gpus.expected[index] > 0 || gpus.reporting[index] > 0 else { return nil }
        return switch count {
        case .expected: Double(gpus.expected[index])
        case .reporting: Double(gpus.reporting[index])
        case .silent: Double(gpus.silent(index))
        case .inJob: Double(gpus.inJob[index])
        case .faulted: Double(gpus.faulted[index])
        }
    }

    private static func value(_ statistic: FieldStatistic, _ column: FieldColumn, _ index: Int) -> Double? {
        guard column.count[index] > 0 else { return nil }
        func quantile(_ values: [Double]) -> Double? { index < values.count ? values[index] : nil }
        return switch statistic {
        case .avg: column.mean(index)
        case .min: column.min[index]
        case .max: column.max[index]
        case .count: Double(column.count[index])
        case .sum: column.sum[index]
        case .p50: quantile(column.p50)
        case .p90: quantile(column.p90)
        case .p99: quantile(column.p99)
        }
    }
}

/// Numbers and names in the sentences of rules.
enum AlertText {
    /// At most four digits behind the point, and none that say nothing.
    static func number(_ value: Double) -> String {
        guard value.isFinite, abs(value) < 1e12 else { return "\(value)" }
        let scaled = (value * 10_000).rounded() / 10_000
        return scaled == scaled.rounded() ? "\(Int64(scaled))" : "\(scaled)"
    }

    static func filled(_ template: String, _ values: [String: String]) -> String {
        guard template.contains("{") else { return template }
        var text = ""
        var rest = Substring(template)
        while let open = rest.firstIndex(of: "{") {
            text += rest[..<open]
            rest = rest[open...]
            guard let close = rest.firstIndex(of: "}") else { break }
            let name = String(rest[rest.index(after: open)..<close])
            text += values[name] ?? String(rest[...close])
            rest = rest[rest.index(after: close)...]
        }
        return text + rest
    }
}
