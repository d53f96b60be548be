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
