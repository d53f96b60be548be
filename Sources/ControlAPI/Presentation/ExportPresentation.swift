extension ExportStatus {
    static func table(_ exports: [ExportStatus]) -> Table {
        Table(
            [
                .text("name", "EXPORT"), .text("run", "RUN"), .text("kind", "KIND", rank: 3),
                .number("nodes", "NODES"), .text("where", "WHERE", shrinks: true),
                .number("requests", "REQUESTS"), .number("samples", "SAMPLES", rank: 2),
                .number("failed", "FAILED"), .number("dropped", "DROPPED", rank: 1),
            ],
            rows: exports.map { export in
                [
                    .text(export.name), .text(export.run), .text(export.kind), .integer(export.nodes),
                    .text(export.place), .integer(export.requests), .integer(export.samples),
                    .integer(export.failed), .integer(export.dropped),
                ]
            })
    }

    /// All numbers, one row an export.
    static func records(_ exports: [ExportStatus]) -> Table {
        Table(
            [
                .text("name", ""), .text("run", ""), .text("kind", ""), .number("nodes", ""),
                .text("first_node", ""), .text("simulated_time", ""), .text("url", ""), .text("where", ""),
                .number("requests", ""), .number("samples", ""), .number("bytes", ""), .number("failed", ""),
                .number("dropped", ""), .text("last_error", ""),
            ],
            rows: exports.map { export in
                [
                    .text(export.name), .text(export.run), .text(export.kind), .integer(export.nodes),
                    .text(export.firstNode), .flag(export.simulatedTime), .text(export.url ?? ""),
                    .text(export.place), .integer(export.requests), .integer(export.samples),
                    .integer(export.bytes), .integer(export.failed), .integer(export.dropped),
                    .text(export.lastError ?? ""),
                ]
            })
    }

    /// `127.0.0.1:9400 … 127.0.0.1:9463`, or the URL.
    var place: String {
        guard url == nil, let first = targets.first, let last = targets.last else { return url ?? "" }
        return targets.count == 1 ? first.address : "\(first.address) … \(last.address)"
    }
}

extension ExportReply: Presented {
    public var blocks: [Block] {
        var blocks: [Block] = [.table(ExportStatus.table([export]))]
        if let error = export.lastError { blocks.append(.line("last error: \(error)")) }
        return blocks
    }

    public var records: Table { ExportStatus.records([export]) }
}

extension ExportsReply: Presented {
    public var blocks: [Block] {
        exports.isEmpty ? [.line("no exports")] : [.table(ExportStatus.table(exports))]
    }

    public var records: Table { ExportStatus.records(exports) }
    public func objects() throws -> [String] { try rowObjects(exports) }
}
