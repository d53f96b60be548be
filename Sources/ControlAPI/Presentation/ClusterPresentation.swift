extension ClusterReply: Presented {
    public var blocks: [Block] {
        var blocks: [Block] = [
            .line("cluster \(cluster), asked of \(member)\(connected ? "" : ", which reaches no broker")")
        ]
        if let problem { blocks.append(.line("problem: \(problem)")) }
        if let stream {
            let pace = speed.map { " at \($0)" } ?? ""
            let window = windowSeconds.map { ", windows of \(DurationText.rough(seconds: $0))" } ?? ""
            blocks.append(.line("run     \(stream)\(pace)\(window)"))
            blocks.append(
                .line("slices  \(slicesHeld) of \(slices) are worked on, in \(partitions) partitions"))
        }
        if let closedThrough { blocks.append(.line("closed  through \(closedThrough)")) }
        if let control { blocks.append(.line("control \(control.text)")) }
        let behind = replicaLag.filter { $0.value > 0 }.sorted { $0.key < $1.key }
        if !behind.isEmpty {
            let text = behind.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
            blocks.append(.line("copies behind, messages: \(text)"))
        }
        if !members.isEmpty { blocks += [.blank, .table(memberTable)] }
        for member in members {
            if let problem = member.problem, member.state != .left {
                blocks.append(.line("\(member.name): \(problem)"))
            }
        }
        return blocks
    }

    private var memberTable: Table {
        Table(
            [
                .text("name", "MEMBER", shrinks: true), .text("state", "STATE"),
                .text("roles", "ROLES", rank: 3), .number("slices", "SLICES"),
                .number("share", "SHARE", rank: 2),
                .text("ready", "SIMULATED", rank: 4), .number("partitions", "PARTITIONS"),
                .number("closed", "CLOSED", rank: 5), .number("incomplete", "INCOMPLETE", rank: 6),
                .text("reported", "REPORTED"), .number("heard", "HEARD", rank: 1),
            ],
            rows: members.map { member in
                [
                    .text(member.name), .text(member.state.rawValue),
                    .text(member.roles.joined(separator: " ")), .integer(member.slices),
                    .integer(member.share), .optional(member.readyThrough), .integer(member.partitions),
                    .integer(Int64(clamping: member.windowsClosed)),
                    .integer(Int64(clamping: member.windowsIncomplete)), .optional(member.reportedThrough),
                    .text(DurationText.rough(seconds: member.heardSeconds.rounded())),
                ]
            })
    }

    /// All numbers, one row a member.
    public var records: Table {
        Table(
            [
                .text("name", ""), .text("state", ""), .text("roles", ""), .text("version", ""),
                .number("heard_seconds", ""), .number("slices", ""), .number("share", ""),
                .text("ready_through", ""), .number("windows_kept", ""), .number("partials", ""),
                .number("partials_retried", ""), .number("lease_losses", ""), .number("partitions", ""),
                .number("windows_closed", ""), .number("windows_incomplete", ""),
                .number("partials_late", ""), .text("reported_through", ""),
                .number("report_lag_seconds", ""), .number("control", ""), .text("problem", ""),
            ],
            rows: members.map { member in
                [
                    .text(member.name), .text(member.state.rawValue),
                    .text(member.roles.joined(separator: " ")), .text(member.version),
                    .real(member.heardSeconds, decimals: 1), .integer(member.slices),
                    .integer(member.share), .optional(member.readyThrough), .integer(member.windowsKept),
                    .integer(Int64(clamping: member.partials)),
                    .integer(Int64(clamping: member.partialsRetried)),
                    .integer(Int64(clamping: member.leaseLosses)), .integer(member.partitions),
                    .integer(Int64(clamping: member.windowsClosed)),
                    .integer(Int64(clamping: member.windowsIncomplete)),
                    .integer(Int64(clamping: member.partialsLate)), .optional(member.reportedThrough),
                    .real(member.reportLagSeconds, decimals: 3), .optional(member.control),
                    .text(member.problem ?? ""),
                ]
            })
    }
}

extension ClusterControl {
    /// `speed 120.0, asked of w2, after 2024-04-01T02:00:00Z; 1 of 1 so far, and all workers know of it`
    var text: String {
        guard let last, let after else { return "nothing was asked of the run" }
        let asked = member.map { ", asked of \($0)" } ?? ""
        let known = isKnown ? "all workers play by it" : "not all workers know of it yet"
        return "\(last)\(asked), after \(after) of the run; number \(entries), and \(known)"
    }
}

extension ClusterWorkersReply: Presented {
    private var table: Table {
        Table(
            [
                .text("name", "WORKER", shrinks: true), .text("state", "STATE"), .number("slices", "SLICES"),
                .number("share", "SHARE"), .text("ready", "SIMULATED"), .number("kept", "KEPT"),
                .number("partials", "PARTIALS"), .number("retried", "RETRIED", rank: 1),
                .number("losses", "LOST LEASES", rank: 2),
            ],
            rows: members.map { member in
                [
                    .text(member.name), .text(member.state.rawValue), .integer(member.slices),
                    .integer(member.share), .optional(member.readyThrough), .integer(member.windowsKept),
                    .integer(Int64(clamping: member.partials)),
                    .integer(Int64(clamping: member.partialsRetried)),
                    .integer(Int64(clamping: member.leaseLosses)),
                ]
            })
    }

    public var blocks: [Block] { members.isEmpty ? [.line("no workers")] : [.table(table)] }

    public var records: Table {
        var reply = ClusterReply(cluster: "", member: "", connected: true)
        reply.members = members
        return reply.records
    }

    public func objects() throws -> [String] { try rowObjects(members) }
}

extension ClusterSlicesReply: Presented {
    private func table(_ titles: [String], arraysMax: Int) -> Table {
        Table(
            [
                .number("slice", titles[0]), .number("partition", titles[1]), .text("member", titles[2]),
                .number("epoch", titles[3]), .text("arrays", titles[4], shrinks: true),
            ],
            rows: slices.map { row in
                let more = row.arrays.count > arraysMax ? " …" : ""
                return [
                    .integer(row.slice), .integer(row.partition), .text(row.member ?? ""),
                    .optional(row.epoch.map { Int(clamping: $0) }),
                    .text(row.arrays.prefix(arraysMax).joined(separator: " ") + more),
                ]
            })
    }

    public var blocks: [Block] {
        let free = slices.count { $0.member == nil }
        var blocks: [Block] = [
            .table(table(["SLICE", "PARTITION", "WORKER", "EPOCH", "ARRAYS"], arraysMax: 8))
        ]
        if free > 0 { blocks.append(.line("\(free) of \(slices.count) slices have no worker")) }
        return blocks
    }

    public var records: Table { table(["", "", "", "", ""], arraysMax: .max) }
    public func objects() throws -> [String] { try rowObjects(slices) }
}

extension ClusterCapacityReply: Presented {
    private func table(_ titles: [String]) -> Table {
        let keys = [
            "gpus", "arrays", "slices", "partitions", "messages_per_second", "renewals_per_second",
            "partial_megabytes_per_second", "leader_megabytes_per_second", "finals_gigabytes", "brokers",
            "workers", "simulation_cores",
        ]
        return Table(
            zip(keys, titles).map { .number($0, $1) },
            rows: rows.map { row in
                [
                    .integer(row.gpus), .integer(row.arrays), .integer(row.slices), .integer(row.partitions),
                    .real(row.messagesPerSecond, decimals: 1), .real(row.renewalsPerSecond, decimals: 1),
                    .real(row.partialMegabytesPerSecond, decimals: 2),
                    .real(row.leaderMegabytesPerSecond, decimals: 1),
                    .real(row.finalsGigabytes, decimals: 0), .integer(row.brokers), .integer(row.workers),
                    .real(row.simulationCores, decimals: 2),
                ]
            })
    }

    public var blocks: [Block] {
        let titles = [
            "GPUS", "ARRAYS", "SLICES", "PARTITIONS", "MESSAGES/S", "RENEWALS/S", "PARTIALS MB/S",
            "LEADER OUT MB/S", "FINALS GB", "BROKERS", "WORKERS", "CORES EACH",
        ]
        return [
            .line(
                "a window every \(DurationText.rough(seconds: windowSeconds)), \(fields) fields, "
                    + "leases of \(DurationText.rough(seconds: leaseSeconds))"),
            .blank, .table(table(titles)), .blank,
            .line("Finals are as many bytes as partials; FINALS GB is what each broker keeps for 24 h."),
            .line(
                "Worked out of what was measured on two shared cores: \(Int(figures.fieldBytes)) B a rack's field, "
                    + "\(Int(figures.brokerMegabytesPerSecond)) MB/s into a stream of three replicas."),
        ]
    }

    public var records: Table { table(Array(repeating: "", count: 12)) }
    public func objects() throws -> [String] { try rowObjects(rows) }
}

extension ClusterChangeReply: Presented {
    public var blocks: [Block] {
        members.map { .line("\($0.member): \($0.message); it has \(Number.grouped($0.slices)) slices") }
    }

    public var records: Table {
        Table(
            [.text("member", ""), .text("ok", ""), .text("message", ""), .number("slices", "")],
            rows: members.map {
                [.text($0.member), .flag($0.ok), .text($0.message), .integer($0.slices)]
            })
    }

    public func objects() throws -> [String] { try rowObjects(members) }
}

extension ClusterStatus {
    /// `prod, member w1 (worker rollup): 3 members, 21 of 64 slices are here`.
    var text: String {
        let place = "\(cluster), member \(member) (\(roles.joined(separator: " ")))"
        if let problem { return "\(place): \(problem)" }
        return "\(place): \(members) members, \(slices) of \(slicesTotal) slices are here"
    }
}
