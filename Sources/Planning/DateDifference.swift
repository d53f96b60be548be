import Telemetry

/// A date of one plan beside that of another.
public struct DateDifference: Sendable, Hashable {
    public var what: String
    public var plan: PlanReport.Date
    public var other: PlanReport.Date
    /// Of the medians, the plan's less the other's; `nil` unless the same share of both plans' runs reaches it: medians of
    /// different parts of the runs cannot be compared.
    public var days: Double?

    init(_ plan: PlanReport.Date, _ other: PlanReport.Date) {
        what = plan.what
        self.plan = plan
        self.other = other
        if plan.share == other.share, let mine = plan.median.flatMap(UTC.parse),
            let theirs = other.median.flatMap(UTC.parse)
        {
            days = Double(mine - theirs) / Double(UTC.dayMs)
        }
    }
}

extension PlanReport {
    /// The dates that both plans have; targets are held against each other whatever they are.
    public func dateDifferences(_ other: PlanReport) -> [DateDifference] {
        var differences = dates.compactMap { date in
            other.dates.first { $0.what == date.what }.map { DateDifference(date, $0) }
        }
        if let mine = target, let theirs = other.target, mine.what != theirs.what {
            var difference = DateDifference(mine, theirs)
            difference.what += ", or " + theirs.what
            differences.append(difference)
        }
        return differences
    }

    /// What the plan and the other one are called beside each other.
    public func names(beside other: PlanReport) -> (plan: String, other: String) {
        if scenario != other.scenario { return (scenario, other.scenario) }
        return changes.isEmpty
            ? (scenario + " (first)", scenario + " (second)") : (scenario + " (changed)", scenario)
    }
}
