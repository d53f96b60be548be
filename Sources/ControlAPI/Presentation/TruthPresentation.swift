extension TruthReply: Presented {
    public var blocks: [Block] {
        let found = faults.filter { $0.detection == .detected }.count
        let hidden = faults.filter { $0.detection == .hidden }.count
        let line =
            "sim/\(run) until \(until.text) UTC: \(Number.grouped(Int64(total))) faults; "
            + (total > faults.count ? "of the newest \(Number.grouped(faults.count)): " : "")
            + "\(found) detected, \(hidden) leave no sign"
        guard !faults.isEmpty else { return [.line(line)] }
        var blocks: [Block] = [
            .line(line),
            .table(
                Table(
                    [
                        .text("time", "SIMULATED (UTC)"), .text("kind", "FAULT", shrinks: true),
                        .text("entity", "AT"), .number("gpu", "GPU"), .text("injected", "INJECTED", rank: 2),
                        .text("detection", "CORE"), .text("sign", "BY", rank: 1),
                        .text("delay_seconds", "AFTER"),
                    ],
                    rows: faults.map { fault in
                        [
                            .time(fault.time), .text(fault.kind), .text(fault.entity), .optional(fault.gpu),
                            .flag(fault.injected),
                            .text(fault.missed ? "missed" : fault.detection.rawValue),
                            .text(fault.sign ?? ""),
                            .text(fault.delaySeconds.map { DurationText.rough(seconds: $0) } ?? ""),
                        ]
                    })),
        ]
        if faults.contains(where: { !$0.missed && $0.detection == .unknown }) {
            blocks.append(.line("unknown: the windows after it are not closed yet, or not kept any more"))
        }
        return blocks
    }

    public var records: Table {
        Table(
            [
                .text("run", ""), .text("time", ""), .text("kind", ""), .text("entity", ""),
                .number("gpu", ""), .text("injected", ""), .text("missed", ""), .text("detection", ""),
                .text("detected", ""), .text("sign", ""), .number("delay_seconds", ""),
            ],
            rows: faults.map { fault in
                [
                    .text(run), .time(fault.time), .text(fault.kind), .text(fault.entity),
                    .optional(fault.gpu), .flag(fault.injected), .flag(fault.missed),
                    .text(fault.detection.rawValue), .optional(fault.detected), .text(fault.sign ?? ""),
                    .statistic(fault.delaySeconds),
                ]
            })
    }

    public func objects() throws -> [String] { try rowObjects(faults) }
}

extension InjectionReply: Presented {
    public var blocks: [Block] {
        let length = forSeconds.map { " for " + DurationText.rough(seconds: $0) } ?? ""
        return [.line("sim/\(run): \(kind) strikes \(at) at \(time.text) UTC (simulated)\(length)")]
    }

    public var records: Table {
        Table(
            [
                .text("run", ""), .text("kind", ""), .text("at", ""), .text("time", ""),
                .number("for_seconds", ""),
            ],
            rows: [[.text(run), .text(kind), .text(at), .time(time), .statistic(forSeconds)]])
    }
}
