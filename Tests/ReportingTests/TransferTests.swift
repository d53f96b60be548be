import Foundation
import Logging
import QueueIsolation
import Store
import Telemetry
import Testing

@testable import Reporting

/// libcurl on Dispatch, without endpoints around it.
@Suite(.serialized) struct TransferTests {
    private final class Client: Sendable {
        let executor = QueueExecutor(label: "test.transfers", target: WorkerPool.shared)
        let multi: CurlMulti?
        init() { multi = CurlMulti(executor: executor, clock: WallClock { 0 }) }

        func post(
            _ url: String, body: [UInt8] = [1, 2, 3], caFile: String? = nil, tls: EndpointTLS = EndpointTLS(),
            timeoutMs: Int64 = 20_000
        ) async -> AttemptOutcome {
            await withCheckedContinuation { continuation in
                executor.queue.async { @Sendable [multi] in
                    var tls = tls
                    if let caFile { tls.caFile = caFile }
                    let request = HTTPRequest(
                        url: url, headers: [HTTPHeader("X-Empty", "")], body: body, connectTimeoutMs: 10_000,
                        timeoutMs: timeoutMs, tls: tls)
                    _ = multi?.assumeIsolated { multi in
                        multi.start(request) { continuation.resume(returning: $0.outcome) }
                    }
                }
            }
        }

        func shutDown() async { await multi?.shutDown() }
    }

    private static func openDescriptors() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
    }

    @Test("bodies of any size arrive whole", arguments: [0, 1, 65_536, 3_000_000])
    func bodies(size: Int) async throws {
        let server = try ScriptedServer { .status($0.body.count == size ? 204 : 400) }
        defer { server.stop() }
        let client = Client()
        let body = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let outcome = await client.post(server.url("/x"), body: body)
        #expect(outcome == .response(status: 204, retryAfterMs: nil, reason: ""))
        #expect(server.requests.first?.body == body)
        #expect(server.requests.first?.headers["x-empty"] == "")
        await client.shutDown()
    }

    @Test(
        "sockets are closed: those that servers close, that time out, that cannot be resolved, and the pooled ones"
    )
    func descriptors() async throws {
        let server = try ScriptedServer { request in
            switch request.path {
            case "/close": .close
            case "/silent": .silence
            default: .status(200)
            }
        }
        defer { server.stop() }
        let client = Client()
        _ = await client.post(server.url("/"))
        let before = try Self.openDescriptors()
        for round in 0..<30 {
            _ = await client.post(server.url("/close"))
            _ = await client.post(server.url("/silent"), timeoutMs: 20)
            _ = await client.post("http://nothing.invalid/", timeoutMs: 2_000)
            let outcome = await client.post(server.url("/\(round)"))
            #expect(outcome.status == 200)
        }
        // Other suites open and close descriptors, too: a leak of 90 would show.
        try await eventually("descriptors are given back") { try Self.openDescriptors() < before + 60 }
        await client.shutDown()
        #expect(await client.post(server.url("/")) == .failed(.transfer, reason: "libcurl took no request"))
    }

    @Test("the descriptors of others stay open when attempts to connect are given up")
    func abandonedConnects() async throws {
        let address = try FullBacklog()
        let client = Client()
        for _ in 0..<5 {
            guard case .failed = await client.post(address.url, timeoutMs: 30) else {
                Issue.record("an address whose queue of connections is full took one")
                return
            }
        }
        // libcurl has closed its sockets: these get their numbers.
        let held = (0..<50).map { _ in FileHandle(forReadingAtPath: "/dev/zero") }
        await client.shutDown()
        // What the shutdown put off to the queue is done.
        await withCheckedContinuation { continuation in
            client.executor.queue.asyncAfter(deadline: .now() + 0.1) { @Sendable in continuation.resume() }
        }
        for file in held { #expect(try file?.read(upToCount: 1) == Data([0])) }
    }

    @Test("many transfers at once, of which some are cut off by the shutdown")
    func shutDownInFlight() async throws {
        let server = try ScriptedServer { $0.path == "/silent" ? .silence : .status(200) }
        defer { server.stop() }
        let client = Client()
        let answered = Locked(0)
        let outcomes = await withTaskGroup(of: AttemptOutcome.self) { group in
            for index in 0..<40 {
                group.addTask {
                    let outcome = await client.post(server.url(index % 4 == 0 ? "/silent" : "/\(index)"))
                    answered.withLock { $0 += 1 }
                    return outcome
                }
            }
            group.addTask {
                try? await eventually("all are there") {
                    server.requests.count == 40 && answered.withLock { $0 } == 30
                }
                await client.shutDown()
                return .written
            }
            return await group.reduce(into: [AttemptOutcome]()) { $0.append($1) }
        }
        #expect(outcomes.filter { $0.status == 200 }.count == 30)
        #expect(outcomes.filter { $0 == .failed(.transfer, reason: "the reporter stops") }.count == 10)
    }

    private static let hasTools = ["/usr/bin/openssl", "/usr/bin/python3"].allSatisfy {
        FileManager.default.isExecutableFile(atPath: $0)
    }

    @Test(
        "TLS is verified: an unknown certificate is refused, a trusted one is taken", .enabled(if: hasTools))
    func tls() async throws {
        let folder = NSTemporaryDirectory() + "/tls-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let make = Process()
        make.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        make.arguments = [
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "2",
            "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
            folder + "/key.pem",
            "-out", folder + "/cert.pem",
        ]
        make.standardError = FileHandle.nullDevice
        try make.run()
        make.waitUntilExit()
        try #require(make.terminationStatus == 0)
        let server = Process()
        let output = Pipe()
        server.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
        server.arguments = ["-u", "-c", Self.tlsServer, folder]
        server.standardOutput = output
        server.standardError = FileHandle.nullDevice
        try server.run()
        defer { server.terminate() }
        let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        let port = try #require(Int(line.trimmingCharacters(in: .whitespacesAndNewlines)))
        let client = Client()
        let url = "https://127.0.0.1:\(port)/"
        guard case .failed(.tls, _) = await client.post(url) else {
            Issue.record("an unknown certificate was accepted")
            return
        }
        #expect(await client.post(url, caFile: folder + "/cert.pem").status == 204)
        // The name in the certificate counts, too.
        guard
            case .failed(.tls, _) = await client.post(
                "https://localhost:\(port)/", caFile: folder + "/cert.pem")
        else {
            Issue.record("a certificate for another name was accepted")
            return
        }
        await client.shutDown()
    }

    private static let tlsServer = """
        import http.server, ssl, sys
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204)
                self.end_headers()
            def log_message(self, *arguments): pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1] + "/cert.pem", sys.argv[1] + "/key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        print(server.server_address[1])
        server.serve_forever()
        """
}
