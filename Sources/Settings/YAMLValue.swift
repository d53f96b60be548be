import Yams

/// Where something is in a file, to report an error there later.
public struct YAMLPlace: Sendable, Hashable {
    public var file: String
    public var line: Int
    public var column: Int

    public init(file: String, line: Int, column: Int) {
        self.file = file
        self.line = line
        self.column = column
    }

    public func error(_ problem: String, expected: String = "") -> SettingsError {
        SettingsError(file: file, line: line, column: column, problem: problem, expected: expected)
    }
}

/// How a value of a file is read, and what to call it when something else is there.
public struct YAMLType<Value> {
    /// Completes "expected …".
    public let expected: String
    let read: (YAMLValue) -> Value?

    /// - Parameter read: reports an error to the value and returns `nil` when it does not fit.
    public init(_ expected: String, read: @escaping (YAMLValue) -> Value?) {
        self.expected = expected
        self.read = read
    }

    /// The same with a further condition or conversion; `nil` from `convert` means that `expected` was not met.
    public func checked<Other>(_ expected: String, _ convert: @escaping (Value) -> Other?) -> YAMLType<Other>
    {
        YAMLType<Other>(expected) { value in
            guard let first = read(value) else { return nil }
            guard let converted = convert(first) else { return value.refuse(expected) }
            return converted
        }
    }
}

/// One value of a file.
public struct YAMLValue {
    let node: Node
    let report: YAMLReport

    init(node: Node, report: YAMLReport) {
        self.node = node
        self.report = report
    }

    public var place: YAMLPlace {
        YAMLPlace(file: report.file, line: node.mark?.line ?? 0, column: node.mark?.column ?? 0)
    }

    /// Reads the value, or reports why it cannot be.
    public func read<Value>(_ type: YAMLType<Value>) -> Value? { type.read(self) }

    /// Reports an error at this place.
    public func fail(_ problem: String, expected: String = "") {
        report.add(place.line, place.column, problem, expected)
    }

    /// Reports that the value is not what was expected; always `nil`.
    public func refuse<Value>(_ expected: String) -> Value? {
        fail("\(shown) is not allowed here", expected: expected)
        return nil
    }

    /// Whether it is a list, for what may be a list or a single value.
    public var isList: Bool { if case .sequence = node { true } else { false } }

    /// The values of a list; `nil` after reporting.
    func list(_ expected: String) -> [YAMLValue]? {
        guard case .sequence(let sequence) = node, isUntagged(sequence.tag) else {
            // An empty scalar is named as such.
            if scalar(expected) != nil { fail("not a list", expected: expected) }
            return nil
        }
        return sequence.map { YAMLValue(node: $0, report: report) }
    }

    /// The text of a scalar without an explicit tag; `nil` after reporting.
    func scalar(_ expected: String) -> Node.Scalar? {
        guard case .scalar(let scalar) = node else { return refuse(expected) }
        guard isUntagged(scalar.tag) else {
            fail("the tag \(scalar.tag) is not allowed", expected: expected)
            return nil
        }
        if scalar.style == .plain, ["", "~", "null", "Null", "NULL"].contains(scalar.string) {
            fail("the value is empty", expected: expected)
            return nil
        }
        return scalar
    }

    /// A plain scalar: numbers, dates and truth values are not quoted.
    func plain(_ expected: String) -> String? {
        guard let scalar = scalar(expected) else { return nil }
        guard scalar.style == .plain else {
            fail("\(shown) is quoted", expected: expected + " without quotes")
            return nil
        }
        return scalar.string
    }

    func isUntagged(_ tag: Tag) -> Bool {
        tag.description.isEmpty || tag.description == Tag.Name.str.rawValue || tag.description == "!"
    }

    /// The value as an error shows it: short, on one line.
    var shown: String {
        switch node {
        case .scalar(let scalar):
            let line = scalar.string.split(separator: "\n", omittingEmptySubsequences: false).first ?? ""
            return "`" + (line.count > 60 ? line.prefix(60) + "…" : line) + "`"
        case .mapping: return "a mapping"
        case .sequence: return "a list"
        case .alias: return "an alias"
        }
    }
}
