import ControlAPI
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Logging

extension Response {
    /// A reply of ours as JSON.
    static func json(_ reply: any Reply, status: Int = 200) throws -> Response {
        var response = Response(status: .init(code: status))
        response.headers[.contentType] = "application/json; charset=utf-8"
        response.body = ResponseBody(
            byteBuffer: ByteBuffer(bytes: try ControlJSON.encode(reply) + [UInt8(ascii: "\n")]))
        return response
    }

    static func text(
        _ text: String, status: Int = 200, type: String = "text/plain; charset=utf-8"
    ) -> Response {
        Response(
            status: .init(code: status), headers: [.contentType: type],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}

/// Turns everything that is thrown behind it into a JSON error, and forbids caches and guesses about types.
struct ErrorAnswers: RouterMiddleware {
    /// Methods that exist for a path, to tell a wrong method from a wrong path.
    var methods: @Sendable (_ path: String) -> [String]
    var logger: Logger

    func handle(
        _ request: Request, context: ConnectionContext,
        next: (Request, ConnectionContext) async throws -> Response
    ) async throws -> Response {
        var response: Response
        do {
            response = try await next(request, context)
        } catch {
            let answer = controlError(error, request)
            response = try .json(answer, status: answer.httpStatus)
            // What was not read of the body would be taken for the next request.
            if answer.code == .tooLarge { response.headers[.connection] = "close" }
        }
        response.headers[.cacheControl] = "no-store"
        response.headers[.xContentTypeOptions] = "nosniff"
        return response
    }

    private func controlError(_ error: any Error, _ request: Request) -> ControlError {
        switch error {
        case let error as ControlError: return error
        case let error as any HTTPResponseError: return known(error, request)
        case is CancellationError:
            return ControlError(.tryAgain, "colossusd is stopping.", hint: "Try again.")
        default:
            logger.error(
                "a control request failed",
                metadata: ["path": .string(request.uri.path), "error": .string(String(describing: error))])
            return ControlError(
                .failed, "colossusd could not answer: \(error).", hint: "Look at `journalctl -u colossusd`.")
        }
    }

    private func known(_ error: any HTTPResponseError, _ request: Request) -> ControlError {
        let path = request.uri.path
        switch error.status.code {
        case 404:
            let known = methods(path)
            if known.isEmpty {
                return ControlError(
                    .notFound, "There is nothing at \(path).", hint: "colossusd(8) lists the paths.")
            }
            return ControlError(
                .methodNotAllowed, "\(request.method.rawValue) is not for \(path).",
                hint: "Use \(known.joined(separator: " or ")).")
        case 413:
            return ControlError(.tooLarge, "The body is larger than \(ControlLimits.requestBytesMax) bytes.")
        default:
            return ControlError(.badRequest, "The request cannot be read (\(error.status.code)).")
        }
    }
}
