/// What came back: HTTP/1.1, as much of it as a control client needs.
public struct HTTPReply: Sendable, Hashable {
    public var status: Int
    /// Names in lower case.
    public var headers: [String: String]
    public var body: [UInt8]

    public init(status: Int, headers: [String: String], body: [UInt8]) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}

/// Reads one HTTP/1.1 reply out of bytes that come in any pieces; no I/O. Knows Content-Length, chunks, and bodies that
/// end with the connection.
public struct HTTPReplyParser {
    private enum State {
        case head
        case fixed(left: Int)
        case untilEnd
        case chunkSize
        case chunk(left: Int)
        case chunkEnd
        case trailers
        case done
    }

    private let bodyBytesMax: Int
    private var state = State.head
    private var pending: [UInt8] = []
    private var position = 0
    private var reply = HTTPReply(status: 0, headers: [:], body: [])

    public init(bodyBytesMax: Int = ControlLimits.replyBytesMax) { self.bodyBytesMax = bodyBytesMax }

    /// Takes the next piece; an empty one is the end of the connection.
    ///
    /// - Returns: the reply when it is complete, `nil` while there is more to come.
    /// - Throws: `ControlError` for anything that is not HTTP/1.1, is too large, or ends too early.
    public mutating func push(_ piece: [UInt8]) throws(ControlError) -> HTTPReply? {
        pending += piece
        while try step() {}
        pending.removeFirst(position)
        position = 0
        if case .done = state { return reply }
        guard piece.isEmpty else { return nil }
        guard case .untilEnd = state else {
            throw ControlError(
                .tryAgain, "colossusd closed the connection before its answer was complete.",
                hint: "It may be restarting: try again.")
        }
        return reply
    }

    /// One step forward; false when the bytes at hand do not suffice for the next.
    private mutating func step() throws(ControlError) -> Bool {
        switch state {
        case .head:
            guard let head = try takeHead() else { return false }
            try read(head)
        case .fixed(let left):
            let taken = try takeBody(left)
            state = taken == left ? .done : .fixed(left: left - taken)
            return taken > 0
        case .untilEnd:
            return try takeBody(pending.count - position) > 0
        case .chunkSize:
            guard let line = try takeLine() else { return false }
            let digits = line.prefix { $0 != ";" }.trimmed
            guard digits.utf8.count <= 8, let size = Int(digits, radix: 16), size >= 0 else {
                throw malformed("the chunk size \"\(digits)\"")
            }
            state = size == 0 ? .trailers : .chunk(left: size)
        case .chunk(let left):
            let taken = try takeBody(left)
            state = taken == left ? .chunkEnd : .chunk(left: left - taken)
            return taken > 0
        case .chunkEnd:
            guard let line = try takeLine() else { return false }
            guard line.isEmpty else { throw malformed("bytes after a chunk") }
            state = .chunkSize
        case .trailers:
            guard let line = try takeLine() else { return false }
            if line.isEmpty { state = .done }
        case .done:
            return false
        }
        return true
    }

    private mutating func read(_ head: [Substring]) throws(ControlError) {
        let status = (head.first ?? "").split(separator: " ", maxSplits: 2)
        guard status.count >= 2, status[0] == "HTTP/1.1" || status[0] == "HTTP/1.0",
            let code = Int(status[1]), (100...599).contains(code)
        else { throw malformed("the status line \"\((head.first ?? "").prefix(80))\"") }
        var headers: [String: String] = [:]
        for line in head.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else {
                throw malformed("the header \"\(line.prefix(80))\"")
            }
            headers[line[..<colon].lowercased()] = String(line[line.index(after: colon)...].trimmed)
        }
        if code < 200 { return }  // 100 Continue: the real answer follows.
        reply.status = code
        reply.headers = headers
        if code == 204 || code == 304 {
            state = .done
        } else if let encoding = headers["transfer-encoding"] {
            guard encoding.lowercased() == "chunked" else { throw malformed("the encoding \(encoding)") }
            state = .chunkSize
        } else if let text = headers["content-length"] {
            guard let length = Int(text), length >= 0 else { throw malformed("the length \(text)") }
            guard length <= bodyBytesMax else { throw tooLarge }
            state = length == 0 ? .done : .fixed(left: length)
        } else {
            state = .untilEnd
        }
    }

    private mutating func takeBody(_ most: Int) throws(ControlError) -> Int {
        let count = min(most, pending.count - position)
        guard reply.body.count + count <= bodyBytesMax else { throw tooLarge }
        reply.body += pending[position..<position + count]
        position += count
        return count
    }

    private mutating func takeHead() throws(ControlError) -> [Substring]? {
        let start = position
        var lines: [Substring] = []
        while let line = try takeLine() {
            if line.isEmpty { return lines }
            lines.append(line)
        }
        position = start
        guard pending.count - position <= ControlLimits.headBytesMax else { throw tooLarge }
        return nil
    }

    private mutating func takeLine() throws(ControlError) -> Substring? {
        guard let end = pending[position...].firstIndex(of: UInt8(ascii: "\n")) else {
            guard pending.count - position <= ControlLimits.headBytesMax else { throw tooLarge }
            return nil
        }
        var line = pending[position..<end]
        if line.last == UInt8(ascii: "\r") { line = line.dropLast() }
        position = end + 1
        return Substring(String(decoding: line, as: UTF8.self))
    }

    private var tooLarge: ControlError {
        ControlError(
            .tooLarge, "The answer is larger than \(bodyBytesMax) bytes.",
            hint: "Ask for less, with --limit or a shorter range.")
    }

    private func malformed(_ what: String) -> ControlError {
        ControlError(
            .failed, "What answers is not colossusd: \(what) is not HTTP/1.1.",
            hint: "Check the socket's path.")
    }
}

extension StringProtocol {
    /// Without blanks at either end.
    var trimmed: SubSequence {
        var part = self[...]
        while let first = part.first, first == " " || first == "\t" { part = part.dropFirst() }
        while let last = part.last, last == " " || last == "\t" { part = part.dropLast() }
        return part
    }
}
