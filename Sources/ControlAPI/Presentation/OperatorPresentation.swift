extension StoreJobReply: Presented {
    public var blocks: [Block] {
        switch state {
        case .running: return [.line(progress)]
        case .failed: return [.line("\(kind.rawValue) of \(file) failed")] + problems.map { .line("  " + $0) }
        case .done: break
        }
        let size = bytes.map { ", " + Number.bytes($0) } ?? ""
        if kind == .backup { return [.line("\(file) is complete\(size)")] }
        guard problems.isEmpty else {
            return [.line("\(file) is not good:")] + problems.map { .line("  " + $0) }
        }
        let counts = [
            ("stream", streams), ("window", windows), ("event", events), ("endpoint", endpoints),
        ].compactMap { name, count in count.map { "\(Number.grouped($0)) \(name)\($0 == 1 ? "" : "s")" } }
        let version = schemaVersion.map { "schema \($0), " } ?? ""
        return [.line("\(file) is good: \(version)\(counts.joined(separator: ", "))\(size)")]
    }

    /// `copying: 41%`
    public var progress: String {
        (stage ?? kind.rawValue) + (total > 0 ? ": \(done * 100 / total)%" : "")
    }

    public var records: Table {
        Table(
            [
                .text("kind", ""), .text("state", ""), .text("file", ""), .number("bytes", ""),
                .number("schema_version", ""), .number("windows", ""), .text("problems", ""),
            ],
            rows: [
                [
                    .text(kind.rawValue), .text(state.rawValue), .text(file),
                    bytes.map { .integer($0) } ?? .missing, .optional(schemaVersion), .optional(windows),
                    .text(problems.joined(separator: "; ")),
                ]
            ])
    }
}

extension MaintenanceReply: Presented {
    public var blocks: [Block] {
        maintenance.isEmpty
            ? [.line("nothing is under maintenance")]
            : [.table(records), .line("\(Number.grouped(gpus)) GPUs in all")]
    }

    public var records: Table {
        Table(
            [
                .text("entity", "ENTITY"), .text("since", "SINCE (UTC)"), .text("until", "UNTIL (UTC)"),
                .text("reason", "REASON", shrinks: true),
            ],
            rows: maintenance.map {
                [.text($0.entity), .time($0.since), .optional($0.until), .text($0.reason ?? "")]
            })
    }

    public func objects() throws -> [String] { try rowObjects(maintenance) }
}

extension TraceReply: Presented {
    public var blocks: [Block] {
        var blocks: [Block] = [.line("\(gpu) \(field): \(verdict)")]
        if !sources.isEmpty {
            blocks += [
                .blank,
                .table(
                    Table(
                        [
                            .text("sender", "SENDER"), .number("shard", "SHARD"),
                            .text("time", "NEWEST (UTC)"),
                            .number("value", "VALUE"), .text("counts", "COUNTS"),
                        ],
                        rows: sources.map {
                            [
                                .text($0.sender), .integer($0.shard), .optional($0.time),
                                .statistic($0.value),
                                .flag($0.counts),
                            ]
                        })),
            ]
        }
        return windows.isEmpty ? blocks : blocks + [.blank, .table(records)]
    }

    public var records: Table {
        Table(
            [
                .text("resolution", "WINDOW"), .text("start", "START (UTC)"), .text("end", "END (UTC)"),
                .text("committed", "COMMITTED"), .text("delivered", "DELIVERED TO"),
                .text("pending", "NOT YET TO"),
            ],
            rows: windows.map { window in
                func names(_ delivered: Bool) -> Cell {
                    .text(
                        window.endpoints.filter { $0.delivered == delivered }.map(\.name).joined(
                            separator: " "))
                }
                return [
                    .text(window.resolution), .time(window.start), .time(window.end), .flag(window.committed),
                    names(true), names(false),
                ]
            })
    }
}
