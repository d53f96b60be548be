import ControlAPI
import ControlServer
import Glibc
import Logging
import TLS
import Telemetry
import TestSupport
import Testing

@Suite struct WebListenerTests {
    @Test("metrics, health and readiness are plain text")
    func plain() async throws {
        try await ServerUnderTest.run { (server) async throws in
            let metrics = try await server.get("/metrics")
            #expect(metrics.text == "# TYPE up gauge\nup 1\n")
            #expect(metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
            #expect(try await server.get("/healthz").text == "ok\n")
            #expect(try await server.get("/readyz").status == 200)
        }
    }

    @Test("where a token is wanted, all but health and readiness is for those who have it")
    func token() async throws {
        try await ServerUnderTest.run(token: "secret") { (server) async throws in
            for target in ["/metrics", "/api/v1/status", "/nothing"] {
                let reply = try await server.get(target)
                #expect(reply.status == 401)
                #expect(reply.headers["www-authenticate"] == "Bearer realm=\"colossusd\"")
                #expect(reply.text.contains("\"code\":\"unauthorized\""))
            }
            #expect(server.plane.asked == [])
            #expect(try await server.get("/healthz").status == 200)
            #expect(try await server.get("/readyz").status == 200)
            #expect(try await server.get("/metrics", more: "Authorization: Bearer secret\r\n").status == 200)
            // Being known does not make a page of somebody else's welcome.
            let page = try await server.get(
                "/metrics", more: "Authorization: Bearer secret\r\nOrigin: http://evil.example\r\n")
            #expect(page.status == 403)
        }
    }

    @Test("over TLS the caller is known by his certificate")
    func certificate() async throws {
        let certificates = try TestCertificates()
        try certificates.make("prom")
        var files = TLSFiles(
            certificate: certificates.certificate("server"), key: certificates.key("server"))
        files.clientCA = certificates.certificate("ca")
        files.clientCertificate = .optional
        try await ServerUnderTest.run(
            tls: try TLSContext(files), refusal: { $1 == ["prom"] ? nil : "Show a certificate." }
        ) { (server) async throws in
            func get(_ path: String, _ client: [String]) async throws -> String {
                try await TestCertificates.runAside(
                    "curl",
                    ["--silent", "--max-time", "90", "--cacert", certificates.certificate("ca")] + client
                        + ["-w", "%{http_code}", "https://localhost:\(server.port)\(path)"]
                ).output
            }
            let own = ["--cert", certificates.certificate("prom"), "--key", certificates.key("prom")]
            #expect(try await get("/metrics", own) == "# TYPE up gauge\nup 1\n200")
            #expect(try await get("/metrics", []).hasSuffix("401"))
            // Where others may have a token, they may also stay.
            #expect(try await !get("/healthz", ["-D", "-"]).contains("Connection"))
            #expect(try await get("/healthz", []) == "ok\n200")
        }
    }

    @Test("who has to show a certificate and has none gets health and readiness alone, even with a token")
    func healthWithoutCertificate() async throws {
        let certificates = try TestCertificates()
        try certificates.make("prom")
        var files = TLSFiles(
            certificate: certificates.certificate("server"), key: certificates.key("server"))
        files.clientCA = certificates.certificate("ca")
        // As the daemon has it where a certificate is required for all else.
        files.clientCertificate = .optional
        let secret = "prometheus-a-0123"
        let check = BearerCheck([.init(name: "prom", secrets: [Array(secret.utf8)])], wantsCertificate: true)
        try await ServerUnderTest.run(
            tls: try TLSContext(files),
            refusal: { authorization, names in
                guard case .refused(let refusal) = check.judge(authorization, certificate: names) else {
                    return nil
                }
                return refusal.sentence
            },
            wantsCertificate: true
        ) { (server) async throws in
            func get(_ path: String, _ more: [String] = []) async throws -> String {
                try await TestCertificates.runAside(
                    "curl",
                    [
                        "--silent", "--path-as-is", "--max-time", "90", "--cacert",
                        certificates.certificate("ca"), "-w", " %{http_code}",
                    ] + more + ["https://localhost:\(server.port)\(path)"]
                ).output
            }
            #expect(try await get("/healthz") == "ok\n 200")
            #expect(try await get("/readyz") == "ready\n 200")
            let token = ["-H", "Authorization: Bearer \(secret)"]
            for path in [
                "/metrics", "/api/v1/status", "/", "/healthz/", "//healthz", "/healthz/../metrics",
                "/healthz%2f..%2fmetrics", "/metrics?/healthz",
            ] {
                for more in [[], token] {
                    let reply = try await get(path, more)
                    #expect(reply.hasSuffix(" 401") && reply.contains("certificate is wanted"), "\(path)")
                }
            }
            #expect(server.plane.asked.allSatisfy { $0 == "ready" }, "\(server.plane.asked)")
            // Nobody who may not come in stays in the place of those who may.
            for path in ["/healthz", "/readyz", "/metrics"] {
                #expect(try await get(path, ["-D", "-"]).contains("Connection: close"), "\(path)")
            }
            let own = ["--cert", certificates.certificate("prom"), "--key", certificates.key("prom")]
            #expect(try await get("/metrics", own) == "# TYPE up gauge\nup 1\n 200")
            #expect(try await get("/healthz", own) == "ok\n 200")
            #expect(try await !get("/metrics", own + ["-D", "-"]).contains("Connection"))
        }
    }

    @Test("a certificate that has run out since the handshake is refused, and the connection ends")
    func lapsedCertificate() async throws {
        let certificates = try TestCertificates()
        try certificates.make("prom")
        var files = TLSFiles(
            certificate: certificates.certificate("server"), key: certificates.key("server"))
        files.clientCA = certificates.certificate("ca")
        let later = Int64(time(nil)) + 3 * 86_400
        try await ServerUnderTest.run(
            tls: try TLSContext(files), tlsNowMs: later * 1_000, refusal: { _, _ in nil }
        ) { (server) async throws in
            let url = "https://localhost:\(server.port)/metrics"
            let reply = try await TestCertificates.runAside(
                "curl",
                [
                    "--silent", "--max-time", "90", "--cacert", certificates.certificate("ca"), "--cert",
                    certificates.certificate("prom"), "--key", certificates.key("prom"), "-w",
                    "%{http_code} %{num_connects}\n", "-o", "/dev/null", url, "-o", "/dev/null", url,
                ])
            #expect(reply.output == "403 1\n403 1\n")
        }
    }

    @Test("not ready is 503 with the reason")
    func notReady() async throws {
        try await ServerUnderTest.run(ready: false) { (server) async throws in
            let reply = try await server.get("/readyz")
            #expect(reply.status == 503)
            #expect(reply.text == "not ready: replaying the log\n")
            #expect(try await server.get("/healthz").status == 200)
        }
    }

    @Test(
        "what may be read is read by the same handlers",
        arguments: [
            ("status", "colossus.status/v1"), ("summary?level=rack", "colossus.summary/v1"),
            ("timeline", "colossus.timeline/v1"), ("events", "colossus.events/v1"),
            ("simulations", "colossus.simulations/v1"), ("simulations/colossus", "colossus.simulation/v1"),
            ("endpoints", "colossus.endpoints/v1"),
        ])
    func readable(path: String, schema: String) async throws {
        try await ServerUnderTest.run { (server) async throws in
            let reply = try await server.get("/api/v1/" + path)
            #expect(reply.status == 200)
            #expect(reply.text.contains("\"schema\":\"\(schema)\""))
            #expect(reply.headers["cache-control"] == "no-store")
        }
    }

    @Test(
        "nothing can be changed from the web",
        arguments: [
            "/api/v1/reload", "/api/v1/simulations", "/v1/reload", "/api/v1/simulations/colossus/stop",
        ])
    func readOnly(path: String) async throws {
        try await ServerUnderTest.run { (server) async throws in
            let reply = try await server.web(
                "POST \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
            )
            #expect(reply.status == 404 || reply.status == 405)
            #expect(server.plane.asked == [])
        }
    }

    @Test("pages of others are refused by their Origin", arguments: ["http://evil.example", "null", ""])
    func origin(value: String) async throws {
        try await ServerUnderTest.run { (server) async throws in
            for target in ["/metrics", "/api/v1/status", "/nothing"] {
                let reply = try await server.get(target, more: "Origin: \(value)\r\n")
                #expect(reply.status == 403)
            }
            #expect(server.plane.asked == [])
        }
    }

    @Test(
        "a name that is not ours is refused",
        arguments: [
            "evil.example", "127.0.0.1.evil.example", "localhost.evil", "evil:80", "", "[::2]",
            "127.0.0.1:80:80",
            "localhost:x", "[::1]x", "user@localhost",
        ])
    func unknownHost(host: String) async throws {
        try await ServerUnderTest.run { (server) async throws in
            #expect(try await server.get("/metrics", host: host).status == 403)
        }
    }

    @Test(
        "our names are taken, with any port and in any case",
        arguments: [
            "localhost", "LOCALHOST:9481", "127.0.0.1", "[::1]:80", "localhost.", "Colossus.Example:80",
        ])
    func knownHost(host: String) async throws {
        try await ServerUnderTest.run { (server) async throws in
            #expect(try await server.get("/metrics", host: host).status == 200)
        }
    }

    @Test("no Host and two Hosts are refused")
    func hostCount() async throws {
        try await ServerUnderTest.run { (server) async throws in
            let none = try await server.web("GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")
            #expect(none.status == 403 || none.status == 400)
            let two = try await server.web(
                "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
            #expect(two.status == 403 || two.status == 400)
        }
    }

    @Test("an address that is taken is said plainly")
    func taken() async throws {
        try await ServerUnderTest.run { (server) async throws in
            let folder = try ServerUnderTest.temporaryFolder()
            let second = ControlServer(
                configuration: .init(socketPath: folder + "/c", web: (host: "127.0.0.1", port: server.port)),
                plane: FakeControlPlane(), metricsText: { "" },
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            let error = await #expect(throws: ControlError.self) { try await second.start() }
            #expect(error?.message == "Cannot listen on 127.0.0.1:\(server.port): Address already in use.")
        }
    }

    @Test("HEAD is GET without a body")
    func head() async throws {
        try await ServerUnderTest.run { (server) async throws in
            let port = server.port
            let reply = try await blocking {
                try TCPClient.exchange(
                    "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", port: port,
                    endsWithHead: true)
            }
            #expect(reply.status == 200)
            #expect(reply.body.isEmpty)
        }
    }

    @Test("requests that come in one packet are answered one after another, on one connection")
    func pipelined() async throws {
        try await ServerUnderTest.run { (server) async throws in
            let port = server.port
            let one = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
            let text = try await blocking {
                try TCPClient.everything(
                    one + "\r\n" + one + "\r\n" + one + "Connection: close\r\n\r\n", port: port)
            }
            #expect(text.ranges(of: "HTTP/1.1 200 OK").count == 3)
            #expect(text.ranges(of: "\r\n\r\nok\n").count == 3)
        }
    }

    @Test("what is no HTTP is refused as such, and a head beyond the limits, too; the server goes on")
    func unreadable() async throws {
        try await ServerUnderTest.run { (server) async throws in
            #expect(try await server.web("\u{1}\u{2}nothing\r\n\r\n").status == 400)
            let long = String(repeating: "x", count: 20_000)
            #expect(try await server.get("/healthz", more: "X-Long: \(long)\r\n").status >= 400)
            let many = (0..<100).map { "X-\($0): 1\r\n" }.joined()
            #expect(try await server.get("/healthz", more: many).status >= 400)
            #expect(try await server.get("/healthz").status == 200)
        }
    }

    @Test(
        "whoever wants to speak something else gets one answer, and the connection is closed",
        arguments: [
            "Connection: Upgrade\r\nUpgrade: h2c\r\n",
            "Connection: upgrade, http2-settings\r\nUpgrade: websocket\r\n",
        ])
    func upgrade(headers: String) async throws {
        try await ServerUnderTest.run { (server) async throws in
            let port = server.port
            let text = try await blocking {
                try TCPClient.everything(
                    "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\(headers)\r\n", port: port)
            }
            #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(text.lowercased().contains("\r\nconnection: close\r\n"))
        }
    }

    @Test("a caller that waits for 100 Continue gets it")
    func continues() async throws {
        try await ServerUnderTest.run { (server) async throws in
            let port = server.port
            let text = try await blocking {
                try TCPClient.everything(
                    "GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1\r\n"
                        + "Connection: close\r\n\r\nx", port: port)
            }
            #expect(text.hasPrefix("HTTP/1.1 100 Continue\r\n"))
            #expect(text.contains("\r\n\r\nHTTP/1.1 200 OK\r\n"))
        }
    }

    @Test("a connection beyond the limit is closed, and there is room again when another goes")
    func connectionLimit() async throws {
        try await ServerUnderTest.run(connectionsMax: 2) { (server) async throws in
            let port = server.port
            let held = try await blocking {
                try (0..<2).map { _ in
                    let descriptor = try TCPClient.connect(port: port)
                    try TCPClient.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", to: descriptor)
                    var piece = [UInt8](repeating: 0, count: 4_096)
                    // Answered, so it is in.
                    guard recv(descriptor, &piece, piece.count, 0) > 0 else {
                        throw TCPClient.Failure(call: "recv")
                    }
                    return descriptor
                }
            }
            await #expect(throws: (any Error).self) { try await server.get("/healthz") }
            close(held[0])
            let deadline = ContinuousClock.now + .seconds(60)
            var status: Int?
            while status != 200, ContinuousClock.now < deadline {
                status = try? await server.get("/healthz").status
            }
            #expect(status == 200)
            close(held[1])
        }
    }
}
