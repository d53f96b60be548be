extension SimulationStatus {
    static func table(_ simulations: [SimulationStatus]) -> Table {
        Table(
            [
                .text("run", "RUN"), .text("state", "STATE"), .text("speed", "SPEED", rank: 3),
                .text("time", "SIMULATED (UTC)"), .number("day", "DAY"), .number("days", "OF", rank: 1),
                .number("progress", "DONE", rank: 2), .number("installed", "INSTALLED"),
                .number("powered", "POWERED", rank: 5), .number("in_training", "IN TRAINING"),
                .number("megawatts", "MW", rank: 4), .number("lag_seconds", "LAG"),
            ],
            rows: simulations.map { run in
                [
                    .text(run.run), .text(run.state.rawValue), .text(run.speed), .time(run.now.time),
                    .integer(run.now.day), .integer(run.days), .text(Number.percent(run.progress)),
                    .integer(run.now.installed), .integer(run.now.powered), .integer(run.now.inTraining),
                    .real(run.now.megawatts, decimals: run.now.megawatts < 1 ? 3 : 1),
                    .text(DurationText.rough(seconds: run.lagSeconds)),
                ]
            })
    }

    /// All numbers, one row a run.
    static func records(_ simulations: [SimulationStatus]) -> Table {
        Table(
            [
                .text("run", ""), .text("scenario", ""), .number("seed", ""), .text("state", ""),
                .text("speed", ""), .number("pace", ""), .number("tick_seconds", ""),
                .number("window_seconds", ""), .text("time", ""), .number("day", ""), .number("days", ""),
                .text("phase", ""), .number("phase_day", ""), .number("phase_days", ""),
                .number("progress", ""),
                .number("lag_seconds", ""), .number("announced", ""), .number("installed", ""),
                .number("powered", ""), .number("in_training", ""), .number("utilization", ""),
                .number("megawatts", ""), .number("interruptions", ""), .number("ettr", ""),
            ],
            rows: simulations.map(\.cells))
    }

    private var cells: [Cell] {
        [
            .text(run), .text(scenario), .text(String(seed)), .text(state.rawValue), .text(speed),
            .statistic(pace), .statistic(tickSeconds), .statistic(windowSeconds), .time(now.time),
            .integer(now.day), .integer(days), .text(now.phase), .integer(now.phaseDay),
            .integer(now.phaseDays), .statistic(progress), .statistic(lagSeconds), .integer(now.announced),
            .integer(now.installed), .integer(now.powered), .integer(now.inTraining),
            .statistic(now.utilization), .statistic(now.megawatts), .integer(now.interruptions),
            .statistic(now.ettr),
        ]
    }

    /// What was claimed, and what the run had on that date.
    public var milestoneTable: Table {
        Table(
            [
                .text("date", "DATE"), .text("what", "MILESTONE", shrinks: true),
                .number("claimed", "CLAIMED"),
                .text("claims", "CLAIMED AS", rank: 1), .number("installed", "INSTALLED"),
                .number("powered", "POWERED"), .number("in_training", "IN TRAINING"),
            ],
            rows: milestones.map {
                [
                    .text($0.date), .text($0.what), .optional($0.claimed),
                    .text(($0.claims ?? "").replacingUnderscores), .optional($0.installed),
                    .optional($0.powered), .optional($0.inTraining),
                ]
            })
    }
}

extension SimulationReply: Presented {
    public var blocks: [Block] {
        let run = simulation
        var blocks: [Block] = [
            .line(
                "sim/\(run.run)  \(run.state.rawValue)  scenario \(run.scenario)  seed \(run.seed)  "
                    + "\(PaceText.speed(run.speed)), \(PaceText.tick(seconds: run.tickSeconds)), window "
                    + DurationText.rough(seconds: run.windowSeconds)),
            .line(
                "\(run.now.time.text) UTC  day \(run.now.day) of \(run.days) (\(Number.percent(run.progress)))"
                    + (run.now.phaseDays > 0
                        ? "  \(run.now.phase): day \(run.now.phaseDay) of \(run.now.phaseDays)" : "")
                    + "  lag " + DurationText.rough(seconds: run.lagSeconds)),
            .line(
                "announced \(Number.grouped(run.now.announced))  installed \(Number.grouped(run.now.installed))"
                    + "  powered \(Number.grouped(run.now.powered))"
                    + "  in training \(Number.grouped(run.now.inTraining))"),
            .line(
                "utilization \(Number.percent(run.now.utilization))  power "
                    + "\(Number.power(megawatts: run.now.megawatts))  interruptions "
                    + "\(Number.grouped(run.now.interruptions))  ETTR \(run.now.ettrText)"),
        ]
        if let message = run.message { blocks.append(.line(message)) }
        if !run.milestones.isEmpty { blocks += [.blank, .table(run.milestoneTable)] }
        return blocks
    }

    public var records: Table { SimulationStatus.records([simulation]) }
}

extension SimulationsReply: Presented {
    public var blocks: [Block] {
        simulations.isEmpty ? [.line("no simulations")] : [.table(SimulationStatus.table(simulations))]
    }

    public var records: Table { SimulationStatus.records(simulations) }
    public func objects() throws -> [String] { try rowObjects(simulations) }
}

/// Speeds and ticks in words.
public enum PaceText {
    /// `1d/s` and `86400` as `a day a second`.
    public static func speed(_ text: String) -> String {
        if text == "max" { return "as fast as possible" }
        let isPerSecond = text.hasSuffix("/s")
        let amount =
            isPerSecond ? String(text.dropLast(2)) : text.hasSuffix("x") ? String(text.dropLast()) : text
        let seconds = isPerSecond ? nil : Double(amount)
        let ms =
            seconds.flatMap { Int64(exactly: ($0 * 1000).rounded()) } ?? DurationText.milliseconds(amount)
        guard let ms, ms > 0 else { return "at speed \(text)" }
        switch ms {
        case 1000: return "in real time"
        case 60_000: return "a minute a second"
        case 3_600_000: return "an hour a second"
        case 86_400_000: return "a day a second"
        default: return DurationText.text(ms: ms) + " a second"
        }
    }

    /// `one tick an hour`.
    public static func tick(seconds: Double) -> String {
        switch seconds {
        case 1: "one tick a second"
        case 60: "one tick a minute"
        case 3600: "one tick an hour"
        case 86_400: "one tick a day"
        default: "one tick every " + DurationText.rough(seconds: seconds)
        }
    }
}

extension TimelineRow {
    /// `-` where there is none.
    var ettrText: String { ettr.map { Number.fixed($0, 3) } ?? "-" }
}

extension String {
    var replacingUnderscores: String { String(map { $0 == "_" ? " " : $0 }) }
}
