extension InventoryReply: Presented {
    public var blocks: [Block] {
        let when = windowEnd.map { "in the window that ends \($0)" } ?? "now"
        let all = "\(Number.grouped(nodesInAll)) nodes, \(Number.grouped(gpusInAll)) GPUs"
        var blocks: [Block] = [.line("\(stream) at \(site), version \(version), \(when): \(all)")]
        if !nodes.isEmpty { blocks += [.blank, .table(records)] }
        if truncated == true {
            blocks.append(.line("the first \(Number.grouped(nodes.count)); --limit shows more"))
        }
        return blocks
    }

    public var records: Table {
        Table(
            [
                .text("node", "NODE"), .text("rack", "RACK"), .text("array", "ARRAY"), .text("hall", "HALL"),
                .text("model", "MODEL", shrinks: true), .number("gpus", "GPUS"),
                .text("standing", "STANDING"),
            ],
            rows: nodes.map {
                [
                    .text($0.node), .text($0.rack), .text($0.array), .text($0.hall), .text($0.model ?? ""),
                    .integer($0.gpus), .text($0.standing.rawValue),
                ]
            })
    }

    public func objects() throws -> [String] { try rowObjects(nodes) }
}
