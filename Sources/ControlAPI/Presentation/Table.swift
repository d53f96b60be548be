/// One value of a table: shown to people in one way, to programs in another.
public enum Cell: Sendable, Hashable {
    case text(String)
    case integer(Int64)
    /// With so many decimals for people; programs get all digits.
    case real(Double, decimals: Int)
    /// About four figures for people.
    case statistic(Double?)
    case time(UTCTime)
    case flag(Bool)
    case missing

    public static func integer(_ value: Int) -> Cell { .integer(Int64(value)) }
    public static func optional(_ value: Int?) -> Cell { value.map { .integer($0) } ?? .missing }
    public static func optional(_ value: UTCTime?) -> Cell { value.map { .time($0) } ?? .missing }

    /// For people.
    public var display: String {
        switch self {
        case .text(let text): text.isEmpty ? "-" : Cell.printable(text)
        case .integer(let value): Number.grouped(value)
        case .real(let value, let decimals): Cell.real(value, decimals)
        case .statistic(let value): value.map(Number.compact) ?? "-"
        case .time(let time): time.text
        case .flag(let flag): flag ? "yes" : "no"
        case .missing: "-"
        }
    }

    /// What would be shown as zero and is none keeps its figures.
    private static func real(_ value: Double, _ decimals: Int) -> String {
        let scale = (0..<max(decimals, 0)).reduce(1.0) { factor, _ in factor * 10 }
        return value != 0 && decimals > 0 && abs(value) * scale < 0.5
            ? Number.compact(value) : Number.fixed(value, decimals, grouping: true)
    }

    /// For programs.
    public var raw: String {
        switch self {
        case .text(let text): text
        case .integer(let value): String(value)
        case .real(let value, _), .statistic(.some(let value)):
            value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
        case .time(let time): time.description
        case .flag(let flag): flag ? "true" : "false"
        case .missing, .statistic(.none): ""
        }
    }

    /// Names and messages come from telemetry: without this, a label could move the cursor or colour the terminal.
    static func printable(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { scalar in
                    switch scalar.properties.generalCategory {
                    case .control, .format, .lineSeparator, .paragraphSeparator: "\u{FFFD}"
                    default: scalar
                    }
                }))
    }
}

/// Columns and rows: a table for people, CSV for programs.
public struct Table: Sendable, Hashable {
    public struct Column: Sendable, Hashable {
        /// As in JSON, and in the first line of CSV.
        public var key: String
        /// For people, with the unit.
        public var title: String
        public var alignsRight: Bool
        /// What goes when the terminal is too narrow: highest first, those of one rank together, 0 never.
        public var rank: Int
        /// May be cut with an ellipsis.
        public var shrinks: Bool

        public static func text(
            _ key: String, _ title: String, rank: Int = 0, shrinks: Bool = false
        ) -> Column {
            Column(key: key, title: title, alignsRight: false, rank: rank, shrinks: shrinks)
        }

        public static func number(_ key: String, _ title: String, rank: Int = 0) -> Column {
            Column(key: key, title: title, alignsRight: true, rank: rank, shrinks: false)
        }
    }

    public var columns: [Column]
    public var rows: [[Cell]]

    public init(_ columns: [Column], rows: [[Cell]]) {
        self.columns = columns
        self.rows = rows
    }

    /// RFC 4180, with `\n` at line ends: the header, then a line a row.
    public var csv: [String] {
        [columns.map { Self.quoted($0.key) }.joined(separator: ",")]
            + rows.map { $0.map { Self.quoted($0.raw) }.joined(separator: ",") }
    }

    private static func quoted(_ text: String) -> String {
        let special: [UInt8] = [
            UInt8(ascii: ","), UInt8(ascii: "\""), UInt8(ascii: "\n"), UInt8(ascii: "\r"),
        ]
        guard text.utf8.contains(where: special.contains) || text.first == " " || text.last == " " else {
            return text
        }
        var out = "\""
        for character in text.unicodeScalars {
            if character == "\"" { out += "\"" }
            out.unicodeScalars.append(character)
        }
        return out + "\""
    }

    /// Aligned lines, no wider than `width` where that can be done: text columns are cut first, then the columns that
    /// matter least are left out.
    public func lines(width: Int? = nil) -> [String] {
        var texts = rows.map { $0.map(\.display) }
        var shown = columns
        func natural(_ index: Int) -> Int {
            texts.reduce(shown[index].title.count) { max($0, $1[index].count) }
        }
        func narrowest(_ index: Int) -> Int {
            let width = natural(index)
            return shown[index].shrinks ? min(width, max(12, shown[index].title.count)) : width
        }
        func total(_ width: (Int) -> Int) -> Int {
            shown.indices.reduce(2 * max(0, shown.count - 1)) { $0 + width($1) }
        }
        if let width {
            while total(narrowest) > width,
                let least = shown.map(\.rank).max(), least > 0
            {
                for index in shown.indices.reversed() where shown[index].rank == least {
                    shown.remove(at: index)
                    for row in texts.indices { texts[row].remove(at: index) }
                }
            }
        }
        var widths = shown.indices.map(natural)
        var excess = total { widths[$0] } - (width ?? .max)
        for index in shown.indices where excess > 0 && shown[index].shrinks {
            let cut = min(excess, widths[index] - narrowest(index))
            widths[index] -= cut
            excess -= cut
        }
        return ([shown.map(\.title)] + texts).map { Self.line($0, shown, widths) }
    }

    private static func line(_ cells: [String], _ columns: [Column], _ widths: [Int]) -> String {
        var out = ""
        for index in columns.indices {
            let text = cells[index].cut(to: widths[index])
            let blanks = String(repeating: " ", count: max(0, widths[index] - text.count))
            if index > 0 { out += "  " }
            if columns[index].alignsRight {
                out += blanks + text
            } else {
                out += index == columns.count - 1 ? text : text + blanks
            }
        }
        return out
    }
}

extension String {
    /// At most so many characters, the last an ellipsis where something was cut off.
    func cut(to width: Int) -> String {
        count <= width ? self : width < 1 ? "" : String(prefix(width - 1)) + "…"
    }
}
