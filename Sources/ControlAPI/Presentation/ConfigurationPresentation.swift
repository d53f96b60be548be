extension ConfigReply: Presented {
    public var blocks: [Block] {
        var blocks: [Block] = [.table(records)]
        if let needRestart, !needRestart.isEmpty {
            blocks += [
                .blank,
                .line(
                    "changed in the files, but not before a restart: " + needRestart.joined(separator: ", ")),
            ]
        }
        return blocks
    }

    public var records: Table {
        Table(
            [
                .text("key", "KEY"), .text("value", "VALUE", shrinks: true),
                .text("file", "FROM", rank: 1, shrinks: true),
            ],
            rows: entries.map { [.text($0.key), .text($0.value), .text($0.file ?? "default")] })
    }

    public func objects() throws -> [String] { try rowObjects(entries) }
}

extension ConfigDiffReply: Presented {
    public var blocks: [Block] {
        differences.isEmpty ? [.line("\(path) says what is in force")] : [.table(records)]
    }

    public var records: Table {
        Table(
            [
                .text("key", "KEY"), .text("running", "RUNNING", shrinks: true),
                .text("file", "FILE", shrinks: true), .text("needs", "NEEDS"),
            ],
            rows: differences.map {
                [.text($0.key), .text($0.running ?? ""), .text($0.file ?? ""), .text($0.needs)]
            })
    }

    public func objects() throws -> [String] { try rowObjects(differences) }
}

extension ConfigExplainReply: Presented {
    public var blocks: [Block] {
        guard keys.count == 1, let key = keys.first else { return [.table(records)] }
        let value =
            key.standard.map { "default: " + $0 } ?? key.example.map { "no default; for example: " + $0 }
            ?? ""
        return [
            .line(key.key), .line("  " + key.meaning), .line("  " + value),
            .line("  a change needs a \(key.needs)"),
        ]
    }

    public var records: Table {
        Table(
            [
                .text("key", "KEY"), .text("standard", "DEFAULT", shrinks: true),
                .text("needs", "NEEDS", rank: 1), .text("meaning", "MEANING", shrinks: true),
            ],
            rows: keys.map { [.text($0.key), .text($0.standard ?? ""), .text($0.needs), .text($0.meaning)] })
    }

    public func objects() throws -> [String] { try rowObjects(keys) }
}

extension LogLevelReply: Presented {
    public var blocks: [Block] {
        var lines = ["level \(level)"]
        lines += subsystems.sorted { $0.key < $1.key }.map { "  \($0.key) \($0.value)" }
        if heldBack > 0 { lines.append("\(Number.grouped(heldBack)) entries held back so far") }
        return lines.map { .line($0) }
    }

    public var records: Table {
        Table(
            [.text("subsystem", ""), .text("level", "")],
            rows: [[.text(""), .text(level)]]
                + subsystems.sorted { $0.key < $1.key }.map { [.text($0.key), .text($0.value)] })
    }
}

extension ConfigCostReply: Presented {
    public var blocks: [Block] {
        let size = fleet
        var blocks: [Block] = [
            .line(
                "\(Number.grouped(size.gpus)) GPUs in \(Number.grouped(size.nodes)) nodes, \(Number.grouped(size.racks)) racks, \(Number.grouped(size.arrays)) arrays, \(Number.grouped(size.halls)) halls"
            ),
            .line(
                "\(Number.grouped(series)) series, \(Number.compact(samplesPerSecond)) samples/s, about \(Number.bytes(memoryBytes)) of memory"
            ),
            .blank, .table(records),
            .line(
                "in all \(Number.bytes(bytesPerDay)) a day, \(Number.bytes(keptBytes)) kept (store.bytes_max: \(Number.bytes(bytesMax)))"
            ),
        ]
        if !endpoints.isEmpty { blocks += [.blank, .table(endpointTable)] }
        return blocks + warnings.map { .line("warning: " + $0) }
    }

    public var records: Table {
        Table(
            [
                .text("resolution", "WINDOW"), .text("level", "LEVEL"),
                .number("rows_per_day", "ROWS A DAY", rank: 1), .number("bytes_per_day", "BYTES A DAY"),
                .number("kept_bytes", "BYTES KEPT"),
            ],
            rows: store.map {
                [
                    .text($0.resolution), .text($0.level), .integer($0.rowsPerDay), .integer($0.bytesPerDay),
                    .integer($0.keptBytes),
                ]
            })
    }

    private var endpointTable: Table {
        Table(
            [
                .text("endpoint", "ENDPOINT"), .text("kind", "KIND"),
                .number("samples_per_second", "NUMBERS/S"), .number("requests_per_second", "REQUESTS/S"),
            ],
            rows: endpoints.map {
                [
                    .text($0.name), .text($0.kind), .real($0.samplesPerSecond, decimals: 1),
                    .real($0.requestsPerSecond, decimals: 2),
                ]
            })
    }

    public func objects() throws -> [String] { try rowObjects(store) }
}
