extension DeadLetterRow {
    static func table(_ rows: [DeadLetterRow]) -> Table {
        Table(
            [
                .number("number", "NUMBER"), .text("endpoint", "ENDPOINT"),
                .text("time", "TIME (UTC)", rank: 2),
                .number("status", "STATUS"), .number("samples", "NUMBERS", rank: 3),
                .number("bytes", "BYTES", rank: 4), .number("attempts", "TRIED", rank: 5),
                .text("replayable", "REPLAYABLE", rank: 6), .text("id", "ID", rank: 1, shrinks: true),
                .text("reason", "REASON", shrinks: true),
            ],
            rows: rows.map { row in
                [
                    .integer(row.number), .text(row.endpoint), .time(row.time),
                    row.status == 0 ? .missing : .integer(row.status), .integer(row.samples),
                    .integer(row.bytes), .integer(row.attempts), .flag(row.replayable), .text(row.id),
                    .text(row.reason),
                ]
            })
    }
}

extension DeadLettersReply: Presented {
    public var blocks: [Block] {
        guard !deadLetters.isEmpty else { return [.line("no dead letters")] }
        let more: [Block] = truncated ? [.line("there are more: --after, --limit")] : []
        return [.table(DeadLetterRow.table(deadLetters))] + more
    }

    public var records: Table { DeadLetterRow.table(deadLetters) }
    public func objects() throws -> [String] { try rowObjects(deadLetters) }
}

extension DeadLetterReply: Presented {
    public var blocks: [Block] {
        let row = deadLetter
        var blocks: [Block] = [
            .line("dead letter \(row.number) of \(row.endpoint): \(row.id)"),
            .line("refused \(row.time.text), attempt \(row.attempts): \(row.reason)"),
            .line(
                "\(row.samples) numbers, \(row.bytes) bytes\(row.replayable ? "" : ", cannot be sent again")"),
        ]
        if !headers.isEmpty { blocks += [.blank] + headers.map { .line("\($0.name): \($0.value)") } }
        if let response { blocks += [.blank, .line("response:")] + Self.lines(response) }
        if let body { blocks += [.blank, .line("body:")] + Self.lines(body) }
        if bodyBase64 != nil { blocks += [.blank, .line("body: not text; --output json has it in base64")] }
        return blocks
    }

    private static func lines(_ text: String) -> [Block] {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { .line(String($0)) }
    }

    public var records: Table { DeadLetterRow.table([deadLetter]) }
}

extension DeadLettersDoneReply: Presented {
    public var blocks: [Block] {
        var parts: [String] = []
        if delivered > 0 { parts.append("\(delivered) delivered") }
        if refused > 0 { parts.append("\(refused) refused again") }
        if skipped > 0 { parts.append("\(skipped) skipped") }
        if dropped > 0 { parts.append("\(dropped) dropped") }
        let more: [Block] = truncated ? [.line("there are more: ask again")] : []
        return [.line(parts.isEmpty ? "nothing to do" : parts.joined(separator: ", "))]
            + problems.map { .line($0) } + more
    }

    public var records: Table {
        Table(
            [
                .number("delivered", ""), .number("refused", ""), .number("skipped", ""),
                .number("dropped", ""), .text("truncated", ""),
            ],
            rows: [
                [
                    .integer(delivered), .integer(refused), .integer(skipped), .integer(dropped),
                    .flag(truncated),
                ]
            ])
    }
}
