/// How fast a run is played.
public enum Pace: Sendable, Hashable, CustomStringConvertible {
    /// Simulated seconds a second of the wall clock; more than 0.
    case times(Double)
    /// As fast as the sink takes it.
    case max

    /// `1x`, `86400x` or `max`.
    public var description: String {
        switch self {
        case .times(let factor) where factor == factor.rounded() && factor < 1e15: "\(Int64(factor))x"
        case .times(let factor): "\(factor)x"
        case .max: "max"
        }
    }
}

/// How finely a run is seen: one tick of telemetry every so often, windows of these lengths.
public struct Resolution: Sendable, Hashable, CustomStringConvertible {
    /// Simulated milliseconds between two ticks.
    public var tickMs: Int64
    /// The shortest window; a multiple of the tick.
    public var finestWindowMs: Int64
    /// Longer windows, made by merging, ascending.
    public var rollupsMs: [Int64]

    /// What ticks and windows may be, simulated milliseconds: 10 s, 1 min, 10 min, 1 h, 1 d.
    public static let ladderMs: [Int64] = [10_000, 60_000, 600_000, 3_600_000, 86_400_000]
    /// Ticks a second of the wall clock at most, at a pace that is given.
    public static let ticksPerSecondMax = 24.0

    /// The finest resolution that goes well with a pace: at most 24 ticks and about one window a second.
    /// (A day a second: one tick an hour, windows of a day.)
    ///
    /// - Parameter tickMs: takes the place of the tick that follows the pace; one that divides a day, or it is
    ///   taken as the next one that does.
    public init(pace: Pace, tickMs given: Int64? = nil) {
        let tick = given.map(Self.dividingADay) ?? Self.tickMs(pace)
        tickMs = tick
        let wanted: Double =
            switch pace {
            case .times(let factor): factor * 1_000
            case .max: Double(Self.dayMs)
            }
        let fitting = Self.ladderMs.filter { $0 >= tick && $0 % tick == 0 }
        let finest = fitting.first { Double($0) >= wanted } ?? fitting.last ?? Self.dayMs
        finestWindowMs = finest
        rollupsMs = [60_000, 600_000, 3_600_000].filter { $0 > finest }
    }

    /// The finest tick that a pace allows.
    public static func tickMs(_ pace: Pace) -> Int64 {
        guard case .times(let factor) = pace else { return dayMs }
        return ladderMs.first { factor * 1_000 / Double($0) <= ticksPerSecondMax } ?? dayMs
    }

    static let dayMs: Int64 = 86_400_000

    private static func dividingADay(_ tickMs: Int64) -> Int64 {
        var tick = min(max(tickMs, 1), dayMs)
        while dayMs % tick != 0 { tick += 1 }
        return tick
    }

    /// `one tick an hour, windows of 1 d`.
    public var description: String { "\(tickText), \(windowText)" }

    /// `one tick an hour`, `one tick every 10 s`.
    public var tickText: String {
        switch tickMs {
        case 60_000: "one tick a minute"
        case 3_600_000: "one tick an hour"
        case 86_400_000: "one tick a day"
        default: "one tick every \(Self.text(tickMs))"
        }
    }

    /// `windows of 10 s, 1 min, 10 min and 1 h`.
    public var windowText: String {
        let all = ([finestWindowMs] + rollupsMs).map(Self.text)
        guard let last = all.last, all.count > 1 else { return "windows of \(all.first ?? "")" }
        return "windows of " + all.dropLast().joined(separator: ", ") + " and " + last
    }

    private static func text(_ ms: Int64) -> String {
        let units: [(Int64, String)] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")]
        let unit = units.first { ms % $0.0 == 0 } ?? (1, "ms")
        return "\(ms / unit.0) \(unit.1)"
    }
}
