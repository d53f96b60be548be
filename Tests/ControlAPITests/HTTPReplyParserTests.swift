import ControlAPI
import Testing

@Suite struct HTTPReplyParserTests {
    private static let fixed =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello"
    private static let chunked =
        "HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nDigest: 1\r\n\r\n"
    private static let continued = "HTTP/1.1 100 Continue\r\n\r\n" + fixed

    private func parse(_ text: String, piece: Int, end: Bool = false) throws -> HTTPReply? {
        var parser = HTTPReplyParser(bodyBytesMax: 1000)
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let reply = try parser.push(Array(rest.prefix(piece)))
            rest = rest.dropFirst(piece)
            if let reply { return reply }
        }
        return end ? try parser.push([]) : nil
    }

    @Test("a reply is the same however it is cut", arguments: [1, 2, 3, 5, 7, 11, 64, 1000])
    func pieces(piece: Int) throws {
        for (text, status) in [(Self.fixed, 200), (Self.chunked, 503), (Self.continued, 200)] {
            let reply = try #require(try parse(text, piece: piece))
            #expect(reply.status == status)
            #expect(String(decoding: reply.body, as: UTF8.self) == "hello")
        }
    }

    @Test("a body without a length ends with the connection")
    func untilEnd() throws {
        let text = "HTTP/1.0 200 OK\r\n\r\nall of it"
        #expect(try parse(text, piece: 4) == nil)
        let reply = try #require(try parse(text, piece: 4, end: true))
        #expect(String(decoding: reply.body, as: UTF8.self) == "all of it")
    }

    @Test("a connection that ends inside a reply is worth another try")
    func torn() throws {
        for text in [Self.fixed, Self.chunked] {
            for length in 0..<text.utf8.count {
                let error = #expect(throws: ControlError.self) {
                    try parse(String(decoding: text.utf8.prefix(length), as: UTF8.self), piece: 50, end: true)
                }
                #expect(error?.code == .tryAgain)
            }
        }
    }

    @Test(
        "what is not HTTP is refused",
        arguments: [
            "SSH-2.0-OpenSSH_9\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 99 x\r\n\r\n", "\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        ])
    func malformed(text: String) {
        let error = #expect(throws: ControlError.self) { try parse(text, piece: 3) }
        #expect(error?.code == .failed)
    }

    @Test(
        "size limits hold for every kind of body",
        arguments: [
            "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n"
                + String(repeating: "x", count: 1001),
            "HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "x", count: 1001),
            "HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 70_000),
            "HTTP/1.1 200 OK\r\n" + String(repeating: "X: y\r\n", count: 20_000),
        ])
    func limits(text: String) {
        let error = #expect(throws: ControlError.self) { try parse(text, piece: 512) }
        #expect(error?.code == .tooLarge)
    }
}
