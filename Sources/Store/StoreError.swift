/// Why the store could not do what it was asked, in words for the operator.
public struct StoreError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Code: String, Sendable, Hashable {
        /// The state directory is missing, is not a directory or cannot be written.
        case stateDirectory = "state_directory"
        /// Another process has the store open.
        case inUse = "in_use"
        /// The database was written by a newer version.
        case newerSchema = "newer_schema"
        /// Bytes in the database are not what was written.
        case damaged
        /// SQLite failed; usually the disk is full or cannot be written.
        case database
        /// A summary whose columns do not fit together: an error in the program that made it.
        case malformed
        /// A file that would have to be overwritten.
        case exists
        case closed
    }

    public var code: Code
    /// What happened, and where.
    public var message: String
    /// What to do about it.
    public var advice: String

    public init(_ code: Code, _ message: String, advice: String = "") {
        self.code = code
        self.message = message
        self.advice = advice
    }

    public var description: String { advice.isEmpty ? message : message + "; " + advice }
}
