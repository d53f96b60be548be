/// What is wrong with a line of exposition text.
public struct LineError: Error, Sendable, Hashable, CustomStringConvertible {
    /// From 1.
    public var line: Int
    public var what: String

    public init(line: Int, what: String) {
        self.line = line
        self.what = what
    }

    public var description: String { "line \(line): \(what)" }
}

/// Why a piece of a line could not be read. Fixed texts: nothing is allocated for a bad line beyond the first few.
enum ExpositionFault: String, Error {
    case badName = "a metric name was expected (letters, digits, _ and :, no digit first)"
    case badLabelName = "a label name was expected (letters, digits and _, no digit first)"
    case noEquals = "`=` was expected after the label name"
    case noQuote = "the label value must stand in double quotes"
    case openQuote = "the label value has no closing double quote"
    case badEscape = "only \\\\, \\\" and \\n may follow a backslash in a label value"
    case noComma = "`,` or `}` was expected after the label value"
    case openBrace = "the labels have no closing `}`"
    case noValue = "a value was expected after the series"
    case badValue = "the value is no number"
    case badTime = "the timestamp is no whole number of milliseconds"
    case trailing = "there is something behind the value and the timestamp"
    case badType = "TYPE wants a metric name and one of counter, gauge, histogram, summary, untyped"
    case badHelp = "HELP wants a metric name"
}
