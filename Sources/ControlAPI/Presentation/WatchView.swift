/// What `simulate watch` shows on a terminal: a block that is redrawn in place. Pure: it makes lines.
public struct WatchView: Sendable {
    /// Block characters instead of `#` and `-`.
    public var usesUnicode: Bool
    /// Colours and weights (ECMA-48 SGR).
    public var isStyled: Bool

    public init(usesUnicode: Bool, isStyled: Bool) {
        self.usesUnicode = usesUnicode
        self.isStyled = isStyled
    }

    private static let labelWidth = 13
    private static let valueWidth = 9

    /// The block, each line at most `width` wide.
    public func lines(_ run: SimulationStatus, width: Int) -> [String] {
        let width = max(40, min(width, 92)) - 2
        let now = run.now
        let scale = max(now.announced, now.installed, run.milestones.compactMap(\.claimed).max() ?? 0, 1)
        var lines = [heading(run, width), "", position(run, width), ""]
        let counts = [
            ("announced", now.announced), ("installed", now.installed), ("powered", now.powered),
            ("in training", now.inTraining),
        ]
        for (label, count) in counts {
            lines.append(gauge(label, Double(count) / Double(scale), Number.grouped(count), width))
        }
        lines.append(gauge("utilization", now.utilization, Number.percent(now.utilization), width))
        lines += [
            "",
            [
                "power \(strong(Number.power(megawatts: now.megawatts)))",
                "interruptions \(strong(Number.grouped(now.interruptions)))",
                "ETTR \(strong(now.ettrText))",
            ].joined(separator: "   "),
        ]
        if let next = run.milestones.first(where: { !$0.isReached }), !run.state.isOver {
            lines.append(faint("next: \(next.date)  \(next.claimText)".cut(to: width)))
        }
        return lines.map { $0.isEmpty ? "" : "  " + $0 }
    }

    /// For the moment when a run passes a milestone.
    public func passed(_ milestone: MilestoneRow, width: Int) -> String {
        let simulated = [
            ("installed", milestone.installed), ("powered", milestone.powered),
            ("in training", milestone.inTraining),
        ].compactMap { name, count in count.map { "\(name) \(Number.grouped($0))" } }
        let claim = milestone.claimText.cut(to: max(20, width - 14))
        let result = ("simulated: " + simulated.joined(separator: ", ")).cut(
            to: max(0, width - claim.count - 16))
        return "  \(strong(milestone.date))  \(claim)  " + faint(result)
    }

    private func heading(_ run: SimulationStatus, _ width: Int) -> String {
        let name = "sim/\(run.run)  \(run.state.rawValue)"
        let pace = "\(PaceText.speed(run.speed)), \(PaceText.tick(seconds: run.tickSeconds))"
        let gap = width - name.count - pace.count
        guard gap >= 2 else { return strong(name.cut(to: width)) }
        return strong(name) + String(repeating: " ", count: gap) + faint(pace)
    }

    private func position(_ run: SimulationStatus, _ width: Int) -> String {
        let now = run.now
        // A date stands for the end of its day; below an hour a second the time of day is worth seeing.
        let date = run.pace >= 3600 || run.pace == 0 ? now.time.endingDate : now.time.text
        let inPhase = now.phaseDays > 0
        let day = inPhase ? "day \(now.phaseDay) of \(now.phaseDays)" : "day \(now.day) of \(run.days)"
        let share = inPhase ? Double(now.phaseDay) / Double(now.phaseDays) : run.progress
        let phase = inPhase && !now.phase.isEmpty ? "  \(now.phase)" : ""
        let text = "\(date)\(phase)  \(day)  ".cut(to: width - 8)
        let percent = Number.percent(min(max(share, 0), 1))
        return strong(text) + bar(share, width - text.count - Self.valueWidth) + right(percent)
    }

    private func gauge(_ label: String, _ share: Double, _ value: String, _ width: Int) -> String {
        let name = label + String(repeating: " ", count: Self.labelWidth - label.count)
        return name + bar(share, width - Self.labelWidth - Self.valueWidth) + strong(right(value))
    }

    private func right(_ text: String) -> String {
        String(repeating: " ", count: max(1, Self.valueWidth - text.count)) + text
    }

    private func bar(_ share: Double, _ width: Int) -> String {
        guard width > 0 else { return "" }
        let filled = Int((min(max(share.isFinite ? share : 0, 0), 1) * Double(width)).rounded())
        let full = String(repeating: usesUnicode ? "█" : "#", count: filled)
        let rest = String(repeating: usesUnicode ? "░" : "-", count: width - filled)
        return styled("36", full) + faint(rest)
    }

    private func strong(_ text: String) -> String { styled("1", text) }
    private func faint(_ text: String) -> String { styled("2", text) }
    private func styled(_ code: String, _ text: String) -> String {
        isStyled && !text.isEmpty ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }
}

/// What `simulate watch` prints without a terminal: a plain line a simulated day, and at most one a second.
public struct WatchLog: Sendable {
    private var lastDay = Int.min
    private var lastSeconds = -Double.infinity

    public init() {}

    /// Whether a line is due now; it is then taken as printed.
    public mutating func isDue(_ run: SimulationStatus, seconds: Double) -> Bool {
        let isDue = run.state.isOver || (run.now.day != lastDay && abs(seconds - lastSeconds) >= 1)
        if isDue {
            lastDay = run.now.day
            lastSeconds = seconds
        }
        return isDue
    }

    /// Once, before the lines.
    public static func heading(_ run: SimulationStatus) -> String {
        "sim/\(run.run)  scenario \(run.scenario)  seed \(run.seed)  \(PaceText.speed(run.speed)), "
            + PaceText.tick(seconds: run.tickSeconds)
    }

    public static func text(_ run: SimulationStatus) -> String {
        let now = run.now
        let day =
            now.phaseDays > 0
            ? "\(now.phase)  day \(now.phaseDay) of \(now.phaseDays)" : "day \(now.day) of \(run.days)"
        return [
            now.time.endingDate, day, "announced \(Number.grouped(now.announced))",
            "installed \(Number.grouped(now.installed))", "powered \(Number.grouped(now.powered))",
            "in training \(Number.grouped(now.inTraining))", "utilization \(Number.percent(now.utilization))",
            Number.power(megawatts: now.megawatts), "interruptions \(Number.grouped(now.interruptions))",
            "ETTR \(now.ettrText)",
        ].joined(separator: "  ")
    }
}

extension MilestoneRow {
    /// `100,000 GPUs in training: Musk says so`.
    var claimText: String {
        guard let claimed else { return what }
        let kind = claims.map { " " + $0.replacingUnderscores } ?? ""
        return "\(what) (\(Number.grouped(claimed))\(kind))"
    }
}
