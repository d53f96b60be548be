extension TopSeriesReply: Presented {
    public var blocks: [Block] {
        var blocks: [Block] = [
            .line(
                "series  \(Number.grouped(series)) of \(Number.grouped(seriesMax)), "
                    + "a sender at most \(Number.grouped(seriesPerSenderMax))")
        ]
        if folded > 0 || foldedSamples > 0 {
            blocks.append(
                .line(
                    "folded  \(Number.grouped(folded)) series beyond a limit into __other__, "
                        + "\(Number.grouped(foldedSamples)) samples"))
        }
        for kind in TopSeriesRow.Kind.allCases {
            let some = rows.filter { $0.by == kind }
            if !some.isEmpty { blocks += [.blank, .table(Self.table(some, kind))] }
        }
        return blocks
    }

    private static func table(_ rows: [TopSeriesRow], _ kind: TopSeriesRow.Kind) -> Table {
        let isLabel = kind == .label
        var columns: [Table.Column] = [
            .text("name", kind.rawValue.uppercased(), shrinks: true),
            .number("series", isLabel ? "VALUES" : "SERIES"),
        ]
        let showsFolded = !isLabel && rows.contains { $0.folded > 0 }
        if showsFolded { columns.append(.number("folded", "FOLDED")) }
        return Table(
            columns,
            rows: rows.map { row in
                [.text(row.name), .integer(row.series)] + (showsFolded ? [.integer(row.folded)] : [])
            })
    }

    public var records: Table {
        Table(
            [.text("by", ""), .text("name", ""), .number("series", ""), .number("folded", "")],
            rows: rows.map {
                [.text($0.by.rawValue), .text($0.name), .integer($0.series), .integer($0.folded)]
            })
    }

    public func objects() throws -> [String] { try rowObjects(rows) }
}
