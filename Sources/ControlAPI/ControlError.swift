/// How `colossusctl` ends; thrown where everything was said already. The numbers are a contract (`colossusctl(1)`, EXIT STATUS).
public enum ExitReason: Int32, Error, Sendable, CaseIterable {
    case ok = 0
    case failed = 1
    case usage = 2
    case warnings = 3
    case notFound = 4
    case unreachable = 69
    case tryAgain = 75
    case notPermitted = 77
    case badConfiguration = 78
}

/// Anything that goes wrong between a caller and the daemon: what happened, and what to do about it.
public struct ControlError: Error, Reply, Hashable {
    public static let schemaName = "colossus.error/v1"

    public enum Code: String, Sendable, Hashable, CaseIterable {
        case badRequest = "bad_request"
        case notPermitted = "not_permitted"
        /// No bearer token, or an unknown one, at a listener that wants one.
        case unauthorized
        case notFound = "not_found"
        case methodNotAllowed = "method_not_allowed"
        case conflict
        case tooLarge = "too_large"
        case badConfiguration = "bad_configuration"
        case tryAgain = "try_again"
        case failed
        /// Made by clients only: nobody answers.
        case unreachable
    }

    public var schema: String
    public var code: Code
    /// One sentence: what happened, and where.
    public var message: String
    /// One sentence: what to do.
    public var hint: String?

    public init(_ code: Code, _ message: String, hint: String? = nil) {
        schema = Self.schemaName
        self.code = code
        self.message = message
        self.hint = hint
    }

    /// What the server answers with.
    public var httpStatus: Int {
        switch code {
        case .badRequest: 400
        case .notPermitted: 403
        case .unauthorized: 401
        case .notFound: 404
        case .methodNotAllowed: 405
        case .conflict: 409
        case .tooLarge: 413
        case .badConfiguration: 422
        case .tryAgain, .unreachable: 503
        case .failed: 500
        }
    }

    /// What a program that cannot go on ends with.
    public var exitReason: ExitReason {
        switch code {
        case .badRequest: .usage
        case .notPermitted, .unauthorized: .notPermitted
        case .notFound: .notFound
        case .badConfiguration: .badConfiguration
        case .tryAgain: .tryAgain
        case .unreachable: .unreachable
        case .methodNotAllowed, .conflict, .tooLarge, .failed: .failed
        }
    }

    /// Message and hint, as they go to stderr.
    public var text: String { hint.map { message + "\n" + $0 } ?? message }

    /// Any error in one line, for logs: message and hint where it has them.
    public static func line(_ error: any Error) -> String {
        ((error as? ControlError)?.text ?? "\(error)").split(separator: "\n").joined(separator: " ")
    }
}

extension ControlError.Code: Codable {
    /// A code of a newer daemon reads as `failed`: the message still says what happened.
    public init(from decoder: any Decoder) throws {
        self = Self(rawValue: try decoder.singleValueContainer().decode(String.self)) ?? .failed
    }
}
