import ControlAPI
import Glibc
import Testing

@Suite struct ControlClientTests {
    private static let ready =
        #"{"schema":"colossus.ready/v1","ready":false,"state":"starting","reason":"replaying"}"#

    private func reply(_ status: String, _ body: String) -> String {
        "HTTP/1.1 \(status)\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    private func client(_ stub: SocketStub, timeout: Duration = .seconds(20)) -> ControlClient {
        ControlClient(socketPath: stub.path, timeout: timeout)
    }

    @Test("a request is HTTP/1.1 that any server understands")
    func request() throws {
        let stub = SocketStub([.request, .send(reply("200 OK", Self.ready))])
        let answer = try client(stub).ready()
        #expect(answer == ReadyReply(ready: false, state: .starting, reason: "replaying"))
        #expect(stub.request.hasPrefix("GET /v1/ready HTTP/1.1\r\nHost: colossusd\r\nConnection: close\r\n"))
    }

    @Test("names are escaped in paths, and bodies are JSON with snake_case keys")
    func escaping() throws {
        let stub = SocketStub([.request, .hold])
        var start = SimulationStart()
        start.scenarioText = "a: 1\n"
        start.seed = .max
        #expect(throws: ControlError.self) {
            try client(stub, timeout: .milliseconds(300)).startSimulation(start)
        }
        #expect(stub.request.hasSuffix("{\"scenario_text\":\"a: 1\\n\",\"seed\":18446744073709551615}"))

        let other = SocketStub([.request, .send(reply("404 Not Found", "{}"))])
        #expect(throws: ControlError.self) { try client(other).testEndpoint(name: "a/b c?") }
        #expect(other.request.hasPrefix("POST /v1/endpoints/a%2Fb%20c%3F/test HTTP/1.1\r\n"))
    }

    @Test("a torn reply is put together again, with a length or in chunks")
    func torn() throws {
        let stub = SocketStub([.request, .trickle(reply("200 OK", Self.ready))])
        #expect(try client(stub).ready().reason == "replaying")

        let half = Self.ready.utf8.count / 2
        let size = { (text: Substring) in String(text.utf8.count, radix: 16) + "\r\n" + text + "\r\n" }
        let chunks = size(Self.ready.prefix(half)) + size(Self.ready.dropFirst(half)) + "0\r\n\r\n"
        let chunked = SocketStub([
            .request, .trickle("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks), .hold,
        ])
        #expect(try client(chunked).ready().reason == "replaying")
    }

    @Test(
        "a daemon that does not finish in time is worth another try",
        arguments: [
            "", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
        ])
    func slow(part: String) {
        let stub = SocketStub([.request, .send(part), .hold])
        let error = #expect(throws: ControlError.self) {
            try client(stub, timeout: .milliseconds(200)).ready()
        }
        #expect(error?.exitReason == .tryAgain)
    }

    @Test("a reply without end does not fill the memory")
    func huge() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n"
        let stub = SocketStub([.request, .send(head), .flood(Array(repeating: 120, count: 1 << 20))])
        let error = #expect(throws: ControlError.self) { try client(stub, timeout: .seconds(60)).ready() }
        #expect(error?.code == .tooLarge)
    }

    @Test("a daemon that goes away in the middle is worth another try")
    func closed() {
        let stub = SocketStub([.request, .send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")])
        let error = #expect(throws: ControlError.self) { try client(stub).ready() }
        #expect(error?.exitReason == .tryAgain)
    }

    @Test(
        "errors of the daemon arrive whole, with their exit status",
        arguments: [
            (ControlError.Code.badRequest, ExitReason.usage), (.notFound, .notFound),
            (.notPermitted, .notPermitted),
            (.badConfiguration, .badConfiguration), (.tryAgain, .tryAgain), (.conflict, .failed),
            (.failed, .failed),
        ])
    func errors(code: ControlError.Code, status: ExitReason) throws {
        let sent = ControlError(code, "a.yaml:3:7: no such key", hint: "Remove it.")
        let stub = SocketStub([
            .request, .send(reply("\(sent.httpStatus) Error", try ControlJSON.text(sent))),
        ])
        let error = #expect(throws: ControlError.self) { try client(stub).reload() }
        #expect(error == sent)
        #expect(error?.exitReason == status)
    }

    @Test(
        "an error without our JSON still has the exit status of its HTTP status",
        arguments: [
            (403, ExitReason.notPermitted), (404, .notFound), (503, .tryAgain), (500, .failed),
            (302, .failed),
        ])
    func bareErrors(status: Int, exit: ExitReason) {
        let stub = SocketStub([.request, .send(reply("\(status) X", "<html>"))])
        #expect(#expect(throws: ControlError.self) { try client(stub).ready() }?.exitReason == exit)
    }

    @Test(
        "an answer of another kind is not taken for ours",
        arguments: [
            #"{"schema":"colossus.ready/v2","ready":true,"state":"running"}"#, "[]", "", #"{"ready":true}"#,
        ])
    func otherSchema(body: String) {
        let stub = SocketStub([.request, .send(reply("200 OK", body))])
        let error = #expect(throws: ControlError.self) { try client(stub).ready() }
        #expect(error?.message == "The answer is not colossus.ready/v1.")
    }

    @Test("nobody there means 69, with what to do about it")
    func nobody() throws {
        let absent = #expect(throws: ControlError.self) {
            try ControlClient(socketPath: "/tmp/no/such/socket").ready()
        }
        #expect(absent?.exitReason == .unreachable)
        #expect(absent?.hint?.contains("--socket") == true)
        let file = #expect(throws: ControlError.self) {
            try ControlClient(socketPath: "/etc/hostname").ready()
        }
        #expect(file?.exitReason == .unreachable)
    }

    @Test(
        "a path that no socket can have is a wrong use", arguments: ["", String(repeating: "x", count: 108)])
    func badPath(path: String) {
        let error = #expect(throws: ControlError.self) { try ControlClient(socketPath: path).ready() }
        #expect(error?.exitReason == .usage)
    }

    @Test("the connection can be another's")
    func otherDial() throws {
        struct Canned: ControlConnection {
            let reply: String
            func send(_ bytes: [UInt8], until deadline: Deadline) throws(ControlError) {}
            func receive(until deadline: Deadline) throws(ControlError) -> [UInt8] { Array(reply.utf8) }
        }
        let text = reply("200 OK", Self.ready)
        let client = ControlClient(socketPath: "anything") { _, _ throws(ControlError) in Canned(reply: text)
        }
        #expect(try client.ready().state == .starting)
    }
}
