/// One published number beside what the model makes of it.
public struct ValidationCheck: Sendable, Codable, Hashable {
    /// What agreement is worth.
    public enum Kind: String, Sendable, Codable, Hashable {
        /// The model was given this number, or what it follows from: agreement shows that it computes what it was told.
        case calibration
        /// It was not.
        case prediction
        /// A formula against exact arithmetic: no simulation.
        case arithmetic
    }

    /// Key of the table in `PublishedTables`.
    public var table: String
    public var check: String
    public var published: String
    public var simulated: String
    public var interval: String
    public var passes: Bool
    public var kind: Kind

    init(
        _ table: String, _ check: String, _ kind: Kind, published: String, simulated: Double,
        in interval: ClosedRange<Double>
    ) {
        self.table = table
        self.check = check
        self.kind = kind
        self.published = published
        self.simulated = ScenarioSummary.short(simulated)
        self.interval =
            "\(ScenarioSummary.short(interval.lowerBound)) to \(ScenarioSummary.short(interval.upperBound))"
        passes = interval.contains(simulated)
    }

    /// The published count must lie in the central part of the simulated ones.
    init(
        _ table: String, _ check: String, _ kind: Kind, published: Double, among values: [Double],
        central share: Double
    ) {
        let sorted = values.sorted()
        let low = quantile(sorted, (1 - share) / 2)
        let high = quantile(sorted, (1 + share) / 2)
        self.table = table
        self.check = check
        self.kind = kind
        self.published = ScenarioSummary.short(published)
        simulated = ScenarioSummary.short(quantile(sorted, 0.5))
        interval =
            "\(ScenarioSummary.short(low)) to \(ScenarioSummary.short(high)) (\(ScenarioSummary.short(share * 100))% of runs)"
        passes = (low...high).contains(published)
    }
}

/// A published check that the model is not held against, and why.
public struct LeftOutCheck: Sendable, Codable, Hashable {
    public var table: String
    public var check: String
    public var reason: String

    init(_ table: String, _ check: String, _ reason: String) {
        self.table = table
        self.check = check
        self.reason = reason
    }
}

/// Where the published numbers come from.
public struct PublishedTable: Sendable, Codable, Hashable {
    public var key: String
    public var title: String
    public var url: String

    init(_ key: String, _ title: String, _ url: String) {
        self.key = key
        self.title = title
        self.url = url
    }
}

/// The model held against every open table: `colossusctl model validate`.
public struct ValidationReport: Sendable, Codable, Hashable {
    public var schema = "colossus.validation/v1"
    /// Runs of the largest ensemble.
    public var runs: Int
    public var tables: [PublishedTable]
    public var checks: [ValidationCheck]
    public var leftOut: [LeftOutCheck]

    public var failures: [ValidationCheck] { checks.filter { !$0.passes } }

    /// Tables that at least one check is about.
    public var tablesChecked: Int { Set(checks.map(\.table)).count }

    /// - Parameters:
    ///   - runs: of the ensembles that decide about tails; others are smaller.
    ///   - only: names of `groupNames`; all when `nil`.
    ///   - progress: told which group comes next.
    public init(runs: Int = 10_000, only: Set<String>? = nil, progress: (String) -> Void = { _ in }) {
        self.runs = runs
        tables = PublishedTables.all
        leftOut = PublishedTables.leftOut
        var checks: [ValidationCheck] = []
        for (name, group) in Self.groups where only?.contains(name) ?? true {
            progress(name)
            checks += group(runs)
        }
        self.checks = checks
    }

    /// Checks that are made together.
    public static var groupNames: [String] { groups.map(\.0) }

    private static var groups: [(String, (Int) -> [ValidationCheck])] {
        [
            ("llama3", Llama3Checks.all), ("meta_rsc", RSCChecks.all), ("megascale", MegaScaleChecks.all),
            ("byterobust", ByteRobustChecks.all), ("checkpoint_theory", CheckpointChecks.all),
            ("xids", XIDChecks.all), ("links", NetworkChecks.all), ("repair", RepairChecks.all),
            ("logbooks", LogbookChecks.all), ("mfu", MFUChecks.all), ("between clusters", SpreadChecks.all),
        ]
    }
}
