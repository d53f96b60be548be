import ControlAPI
import ControlServer
import Dispatch
import Glibc
import Logging
import TLS
import Telemetry
import Testing

/// A server with a fake plane in a folder of its own, for the length of one test.
struct ServerUnderTest {
    let plane: FakeControlPlane
    let socketPath: String
    let port: Int

    static func run(
        writers: Set<UInt32>? = nil, ready: Bool = true, connectionsMax: Int? = nil, token: String? = nil,
        tls: TLSContext? = nil, tlsNowMs: Int64 = 0,
        refusal: (@Sendable ([String], [String]?) -> String?)? = nil, wantsCertificate: Bool = false,
        _ body: (ServerUnderTest) async throws -> Void
    ) async throws {
        let folder = try temporaryFolder()
        let plane = FakeControlPlane()
        if !ready {
            plane.set { $0.ready = ReadyReply(ready: false, state: .starting, reason: "replaying the log") }
        }
        var configuration = ControlServer.Configuration(
            socketPath: folder + "/control.sock", web: (host: "127.0.0.1", port: 0))
        if let writers { configuration.writers = writers }
        if let connectionsMax { configuration.connectionsMax = connectionsMax }
        if let token {
            configuration.webRefusal = { given, _ in
                given == ["Bearer " + token] ? nil : "A bearer token is wanted."
            }
        }
        if let refusal { configuration.webRefusal = refusal }
        configuration.webWantsCertificate = { wantsCertificate }
        let acceptor = TLSAcceptor(
            listener: "web", clock: WallClock { tlsNowMs }, metrics: Metrics(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        acceptor.replace(tls)
        configuration.webTLS = acceptor
        configuration.webHosts = ["colossus.example"]
        let server = ControlServer(
            configuration: configuration, plane: plane, metricsText: { "# TYPE up gauge\nup 1\n" },
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let port = try await server.start()
        do {
            try await body(ServerUnderTest(plane: plane, socketPath: configuration.socketPath, port: port))
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
        #expect(access(configuration.socketPath, F_OK) != 0, "the socket's file is left behind")
        rmdir(folder)
    }

    static func temporaryFolder() throws -> String {
        var template = Array("/tmp/colossus-control-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        return String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// The blocking client, away from the threads that the server may need.
    func ask<Value: Sendable>(
        _ request: @escaping @Sendable (ControlClient) throws -> Value
    ) async throws -> Value {
        let client = ControlClient(socketPath: socketPath, timeout: .seconds(120))
        return try await blocking { try request(client) }
    }

    /// A request to the web listener, byte by byte as given, and everything that comes back.
    func web(_ request: String) async throws -> HTTPReply {
        let port = port
        return try await blocking { try TCPClient.exchange(request, port: port) }
    }

    func get(_ target: String, host: String? = nil, more: String = "") async throws -> HTTPReply {
        try await web(
            "GET \(target) HTTP/1.1\r\nHost: \(host ?? "127.0.0.1:\(port)")\r\n\(more)Connection: close\r\n\r\n"
        )
    }
}

func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue(label: "blocking").async { continuation.resume(with: Result(catching: body)) }
    }
}

enum TCPClient {
    struct Failure: Error {
        var call: String
        var code = errno
    }

    /// A descriptor, to be closed by the caller.
    static func connect(port: Int) throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var limit = timeval(tv_sec: 120, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else {
            let failure = Failure(call: "connect")
            close(descriptor)
            throw failure
        }
        return descriptor
    }

    /// Sends everything, and what comes until the other side closes.
    static func everything(_ request: String, port: Int) throws -> String {
        let descriptor = try connect(port: port)
        defer { close(descriptor) }
        try send(request, to: descriptor)
        var all: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &piece, piece.count, 0)
            guard count >= 0 else { throw Failure(call: "recv") }
            if count == 0 { return String(decoding: all, as: UTF8.self) }
            all += piece[..<count]
        }
    }

    static func send(_ request: String, to descriptor: Int32) throws {
        let bytes = Array(request.utf8)
        guard Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw Failure(call: "send")
        }
    }

    /// Sends everything and reads until the other side closes.
    static func exchange(_ request: String, port: Int, endsWithHead: Bool = false) throws -> HTTPReply {
        let descriptor = try connect(port: port)
        defer { close(descriptor) }
        try send(request, to: descriptor)
        var parser = HTTPReplyParser()
        var all: [UInt8] = []
        while true {
            var piece = [UInt8](repeating: 0, count: 65_536)
            let count = recv(descriptor, &piece, piece.count, 0)
            guard count >= 0 else { throw Failure(call: "recv") }
            if endsWithHead, count == 0 { return try HTTPReply(head: all) }
            all += piece[..<count]
            if !endsWithHead, let reply = try parser.push(Array(piece[..<count])) { return reply }
        }
    }
}

extension HTTPReply {
    /// Of all that came until the connection closed, where a length is not followed by a body.
    init(head all: [UInt8]) throws {
        let text = String(decoding: all, as: UTF8.self)
        let status = try #require(text.split(separator: " ").dropFirst().first.flatMap { Int($0) })
        let blank = try #require(text.firstRange(of: "\r\n\r\n"))
        self.init(status: status, headers: [:], body: Array(text[blank.upperBound...].utf8))
    }

    var text: String { String(decoding: body, as: UTF8.self) }
}
