/// What `--output` takes.
public enum OutputFormat: String, Sendable, CaseIterable {
    case table, json, jsonl, csv
}

/// A part of what people see.
public enum Block: Sendable, Hashable {
    case line(String)
    case table(Table)
    case blank
}

/// A reply that can be shown in every output format.
public protocol Presented: Reply {
    /// For people.
    var blocks: [Block] { get }
    /// For spreadsheets and scripts: flat rows.
    var records: Table { get }
    /// For `jq`: one object a line, each with its schema.
    func objects() throws -> [String]
}

extension Presented {
    public func objects() throws -> [String] { [try ControlJSON.text(self)] }

    /// The lines that a command prints.
    ///
    /// - Parameter width: of the terminal, for `.table`; `nil` means as wide as it gets.
    public func output(_ format: OutputFormat, width: Int? = nil) throws -> [String] {
        switch format {
        case .json: [try ControlJSON.text(self, pretty: true)]
        case .jsonl: try objects()
        case .csv: records.csv
        case .table:
            blocks.flatMap { block in
                switch block {
                case .line(let text): [Cell.printable(text)]
                case .table(let table): table.lines(width: width)
                case .blank: [""]
                }
            }
        }
    }

    /// One object for each row, with this reply's schema.
    public func rowObjects(_ rows: [some Encodable]) throws -> [String] {
        try rows.map { try ControlJSON.text(RowObject(schema: schema, row: $0)) }
    }
}

/// A row with its reply's schema beside its own keys.
private struct RowObject<Row: Encodable>: Encodable {
    var schema: String
    var row: Row

    private enum CodingKeys: String, CodingKey { case schema }

    func encode(to encoder: any Encoder) throws {
        try row.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(schema, forKey: .schema)
    }
}
