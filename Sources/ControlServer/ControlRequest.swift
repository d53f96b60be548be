import ControlAPI
import NIOHTTP1

/// A whole request, as the router gets it.
struct ControlRequest: Sendable {
    var method: HTTPMethod
    /// Without the query; still percent-encoded.
    var path: String
    /// What comes after the first `?`; still percent-encoded.
    var query: String
    var headers: HTTPHeaders
    var body: [UInt8]
    /// Who has connected to the unix socket; `nil` on a TCP address.
    var peer: Peer?
    /// The names in the certificate that was shown on a TCP address; `nil` without one.
    var certificate: [String]?

    init(_ head: HTTPRequestHead, body: [UInt8], peer: Peer?, certificate: [String]? = nil) {
        method = head.method
        let parts = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = parts.first.map(String.init) ?? ""
        query = parts.count > 1 ? String(parts[1]) : ""
        headers = head.headers
        self.body = body
        self.peer = peer
        self.certificate = certificate
    }
}

/// What is answered.
struct ControlAnswer: Sendable {
    var status: HTTPResponseStatus
    var type: String
    var body: [UInt8]
    /// What was not read of the request's body would be taken for the next request.
    var closes = false
    /// Says with which scheme to come again (RFC 9110, 11.6.1).
    var wantsToken = false

    /// A reply of ours as JSON.
    static func json(_ reply: any Reply, status: Int = 200) throws -> ControlAnswer {
        ControlAnswer(
            status: HTTPResponseStatus(statusCode: status), type: "application/json; charset=utf-8",
            body: try ControlJSON.encode(reply) + [UInt8(ascii: "\n")])
    }

    static func text(
        _ text: String, status: Int = 200, type: String = "text/plain; charset=utf-8"
    ) -> ControlAnswer {
        ControlAnswer(status: HTTPResponseStatus(statusCode: status), type: type, body: Array(text.utf8))
    }

    static func error(_ error: ControlError) -> ControlAnswer {
        // Three strings and a code always encode.
        var answer = (try? json(error, status: error.httpStatus)) ?? .text("", status: error.httpStatus)
        answer.closes = error.code == .tooLarge
        answer.wantsToken = error.code == .unauthorized
        return answer
    }

    static let tooLarge = ControlAnswer.error(
        ControlError(.tooLarge, "The body is larger than \(ControlLimits.requestBytesMax) bytes."))

    /// No caches, and no guesses about types.
    var headers: HTTPHeaders {
        var headers: HTTPHeaders = [
            "Content-Type": type, "Content-Length": String(body.count), "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        ]
        if wantsToken { headers.add(name: "WWW-Authenticate", value: "Bearer realm=\"colossusd\"") }
        if closes { headers.add(name: "Connection", value: "close") }
        return headers
    }
}
