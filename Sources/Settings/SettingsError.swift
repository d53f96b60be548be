/// One thing that is wrong in a file that a person wrote, and where.
public struct SettingsError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The file as it was named to the program.
    public var file: String
    /// From 1; 0 when the file as a whole is meant (it cannot be read).
    public var line: Int
    /// From 1, in Unicode scalars.
    public var column: Int
    /// What is wrong.
    public var problem: String
    /// What should have been there; empty when `problem` says it all.
    public var expected: String

    public init(file: String, line: Int, column: Int, problem: String, expected: String = "") {
        self.file = file
        self.line = line
        self.column = column
        self.problem = problem
        self.expected = expected
    }

    /// `problem`, and what was expected.
    public var message: String { expected.isEmpty ? problem : "\(problem), expected \(expected)" }

    /// `FILE:LINE:COL: what, and what was expected`.
    public var description: String {
        (line > 0 ? "\(file):\(line):\(column): " : "\(file): ") + message
    }
}

/// Everything that is wrong with a configuration or a scenario: at least one error, in the order of the file.
public struct SettingsFailure: Error, Sendable, Hashable, CustomStringConvertible {
    public var errors: [SettingsError]

    public init(_ errors: [SettingsError]) { self.errors = errors }

    /// One line an error.
    public var description: String { errors.map(\.description).joined(separator: "\n") }
}
