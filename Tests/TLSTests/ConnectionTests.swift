import Foundation
import Synchronization
import TLS
import Telemetry
import TestSupport
import Testing

/// What peers do to the handler that no good client does, and certificates that change.
@Suite(.serialized) struct ConnectionTests {
    @Test("a handshake that does not come to its end is cut")
    func slowHandshake() async throws {
        var limits = TLSLimits()
        limits.handshake = .milliseconds(300)
        try await ServerUnderTest.run(limits: limits) { (server) async throws in
            let silent = try RawClient(port: server.port, patience: 90)
            let slow = try RawClient(port: server.port, patience: 90)
            // The beginning of a record that says how long it will be.
            await slow.send([0x16, 0x03, 0x01, 0x01, 0x00, 0x01])
            #expect(await silent.reply() == nil)
            #expect(await slow.reply() == nil)
            #expect(try await server.failed("timeout", 2))
        }
    }

    @Test("a peer that goes as soon as its handshake is over is counted once")
    func goneAtOnce() async throws {
        try await ServerUnderTest.run { (server) async throws in
            // Closes without reading the tickets: the server learns of it by sending them.
            let arguments = [
                "s_time", "-connect", "127.0.0.1:\(server.port)", "-new", "-tls1_3", "-time", "1",
            ]
            let result = try await TestCertificates.runAside("openssl", arguments)
            let count = try #require(
                result.output.split(separator: "\n").first { $0.contains(" connections in ") }?
                    .split(separator: " ").first.flatMap { Int($0) })
            let line = "colossus_tls_handshakes_total{listener=\"test\",version=\"TLSv1.3\"} "
            func all() -> Int {
                server.metrics.exposition().split(separator: "\n").filter {
                    $0.hasPrefix("colossus_tls_handshakes_total{")
                        || $0.hasPrefix("colossus_tls_failures_total{")
                }.compactMap { Int($0.split(separator: " ").last ?? "") }.reduce(0, +)
            }
            #expect(try await server.poll { all() >= count })
            #expect(all() == count, "\(server.metrics.exposition())")
            #expect(server.metrics.exposition().contains(line))
        }
    }

    @Test("a peer that goes during the handshake is counted")
    func gone() async throws {
        try await ServerUnderTest.run { (server) async throws in
            do {
                let client = try RawClient(port: server.port)
                await client.send([0x16, 0x03, 0x01])
            }
            #expect(try await server.failed("closed"))
        }
    }

    @Test("garbage, and good beginnings that go wrong, end a connection and nothing else")
    func garbage() async throws {
        let seed = UInt64.random(in: .min ... .max)
        var dice = SeededRandom(seed: seed)
        try await ServerUnderTest.run { (server) async throws in
            for round in 0..<300 {
                var bytes = (0..<Int.random(in: 1...4_000, using: &dice)).map { _ in
                    UInt8.random(in: .min ... .max, using: &dice)
                }
                if round % 2 == 0 {
                    // A handshake record of that length with a client's greeting in it.
                    let size = bytes.count
                    bytes = [0x16, 0x03, 0x01, UInt8(size >> 8), UInt8(size & 0xFF)] + bytes
                    if round % 4 == 0, size > 5 {
                        bytes.replaceSubrange(
                            5..<9, with: [1, 0, UInt8((size - 4) >> 8 & 0xFF), UInt8((size - 4) & 0xFF)])
                    }
                }
                let client = try RawClient(port: server.port)
                await client.send(bytes)
                client.finish()
                if round % 10 == 0 { #expect(await client.reply() == nil, "seed \(seed), round \(round)") }
            }
            #expect(try await server.curl([]).status == 0, "seed \(seed)")
        }
    }

    @Test("more than a handshake can need is too much")
    func flood() async throws {
        var limits = TLSLimits()
        limits.handshakeBytes = 2_000
        try await ServerUnderTest.run(limits: limits) { (server) async throws in
            let client = try RawClient(port: server.port, patience: 90)
            await client.send([0x16, 0x03, 0x01, 0x40, 0x00] + [UInt8](repeating: 1, count: 4_000))
            #expect(await client.reply() == nil)
            #expect(try await server.failed("too_much"))
        }
    }

    @Test("more than a record after the handshake, with nothing in it, is too much")
    func idleFlood() async throws {
        var limits = TLSLimits()
        limits.handshakeBytes = 8_000
        try await ServerUnderTest.run(limits: limits) { (server) async throws in
            let result = try await TestCertificates.runAside(
                "python3", ["-c", Self.unfinished, "\(server.port)", server.certificates.certificate("ca")])
            #expect(result.output == "the end\n")
            #expect(try await server.failed("too_much"))
            #expect(server.log.all.contains { $0.contains("with nothing in them") })
        }
    }

    /// Asks for something, and gets it; then sends most of a record.
    private static let unfinished = """
        import socket, ssl, sys
        context = ssl.create_default_context(cafile=sys.argv[2])
        plain = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=90)
        session = context.wrap_socket(plain, server_hostname="localhost")
        session.sendall(b"GET /5 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        got = b""
        while not got.endswith(b"aaaaa"):
            got += session.recv(1000)
        raw = socket.socket(fileno=session.detach())
        raw.settimeout(90)
        raw.sendall(bytes([0x17, 3, 3, 0x40, 0]) + bytes(10000))
        try:
            while raw.recv(1000):
                pass
        except ConnectionResetError:
            pass
        print("the end")
        """

    @Test("a client that has said goodbye gets the answer it is owed, and the connection ends")
    func halfClose() async throws {
        try await ServerUnderTest.run { (server) async throws in
            let result = try await TestCertificates.runAside(
                "python3",
                ["-c", Self.goodbye, "\(server.port)", server.certificates.certificate("ca")])
            #expect(result.output == "3000000 bytes, then goodbye\n")
        }
    }

    /// Asks for bytes, says close_notify at once, and reads on to the end.
    private static let goodbye = """
        import socket, ssl, sys
        context = ssl.create_default_context(cafile=sys.argv[2])
        plain = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=90)
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(into, out, server_hostname="localhost")
        def step(what):
            while True:
                try:
                    return what()
                except ssl.SSLWantReadError:
                    plain.sendall(out.read())
                    got = plain.recv(65536)
                    into.write(got) if got else into.write_eof()
        step(session.do_handshake)
        session.write(b"GET /3000000 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        try:
            session.unwrap()
        except ssl.SSLWantReadError:
            pass
        plain.sendall(out.read())
        total = b""
        while True:
            try:
                part = step(lambda: session.read(65536))
            except ssl.SSLZeroReturnError:
                part = b""
            if not part:
                break
            total += part
        print(len(total.split(b"\\r\\n\\r\\n", 1)[1]), "bytes, then goodbye")
        """

    @Test("a certificate that was written anew is for new connections; an open one goes on")
    func rotation() async throws {
        try await ServerUnderTest.run { (server) async throws in
            let first = try await Self.fingerprint(server)
            try server.certificates.make("next", more: ["-addext", "subjectAltName=DNS:localhost"])
            // An open connection, in the middle of its requests.
            async let slow = server.curl(["-w", "%{size_download}", "-o", "/dev/null"], path: "/held")
            #expect(try await server.poll { server.heldCount == 1 })
            try Self.put("next", server)
            // It takes two looks: the files must be quiet in between.
            server.acceptor.refresh()
            #expect(try await Self.fingerprint(server) == first)
            server.acceptor.refresh()
            #expect(try await Self.fingerprint(server) != first)
            #expect(server.log.all.contains { $0.contains("event=certificate_renewed") })
            server.release()
            #expect(try await slow.output == "2000")
            #expect(server.metric("colossus_tls_certificate_reads_total{listener=\"test\",result=\"ok\"} 1"))
        }
    }

    @Test("changed files that do not fit change nothing, and are complained of once")
    func badRotation() async throws {
        try await ServerUnderTest.run { (server) async throws in
            let first = try await Self.fingerprint(server)
            try server.certificates.make("next")
            try FileManager.default.removeItem(atPath: server.certificates.key("server"))
            try FileManager.default.copyItem(
                atPath: server.certificates.key("next"), toPath: server.certificates.key("server"))
            for _ in 0..<5 { server.acceptor.refresh() }
            #expect(try await Self.fingerprint(server) == first)
            let complaints = server.log.all.filter { $0.contains("event=certificate_kept") }
            #expect(complaints.count == 1)
            #expect(complaints.first?.contains("is not the key of the certificate") == true)
            // When the other file has come, all is well.
            try Self.put("next", server)
            for _ in 0..<2 { server.acceptor.refresh() }
            #expect(try await Self.fingerprint(server) != first)
        }
    }

    @Test("a file that cannot be opened is tried again each minute, and told once")
    func unopened() async throws {
        try await ServerUnderTest.run { (server) async throws in
            let reads = "colossus_tls_certificate_reads_total{listener=\"test\",result="
            let (key, aside) = (server.certificates.key("server"), server.certificates.key("aside"))
            try FileManager.default.moveItem(atPath: key, toPath: aside)
            for _ in 0..<5 { server.acceptor.refresh() }
            #expect(server.metric(reads + "\"failed\"} 1"))
            server.ahead.seconds.withLock { $0 = 61 }
            for _ in 0..<5 { server.acceptor.refresh() }
            #expect(server.metric(reads + "\"failed\"} 2"))
            #expect(server.log.all.filter { $0.contains("event=certificate_kept") }.count == 1)
            // The same file, written at the same time: that it was away is seen by its change.
            try FileManager.default.moveItem(atPath: aside, toPath: key)
            for _ in 0..<5 { server.acceptor.refresh() }
            #expect(server.metric(reads + "\"ok\"} 1"))
            #expect(try await server.curl([]).status == 0)
        }
    }

    @Test("a certificate that ends while it is in force is told of before and then, once")
    func expiry() async throws {
        try await ServerUnderTest.run { (server) async throws in
            func told(_ event: String) -> Int {
                server.log.all.filter { $0.contains("event=\(event) ") }.count
            }
            for (hours, expiring, expired) in [(0, 0, 0), (40, 1, 0), (72, 1, 1)] {
                server.ahead.seconds.withLock { $0 = Int64(hours) * 3_600 }
                for _ in 0..<3 { server.acceptor.refresh() }
                #expect(told("certificate_expiring") == expiring && told("certificate_expired") == expired)
            }
        }
    }

    @Test("a client's certificate lapses with its time and with the authorities, and not with ours")
    func lapse() async throws {
        try await ServerUnderTest.run {
            $1.clientCA = $0.folder + "/authorities.pem"
            try FileManager.default.copyItem(
                atPath: $0.certificate("ca"), toPath: $0.folder + "/authorities.pem")
        } _: { (server) async throws in
            try server.certificates.make("prom-a")
            try server.certificates.authority("other")
            #expect(try await server.curl(server.client("prom-a")).status == 0)
            let established = try #require(server.established)
            #expect(established.lapse() == nil)
            server.ahead.seconds.withLock { $0 = 3 * 86_400 }
            #expect(established.lapse()?.contains("run out") == true)
            server.ahead.seconds.withLock { $0 = 0 }
            try Self.put("server", server)
            for _ in 0..<2 { server.acceptor.refresh() }
            #expect(server.metric("colossus_tls_certificate_reads_total{listener=\"test\",result=\"ok\"} 1"))
            #expect(established.lapse() == nil)
            try Data(contentsOf: URL(filePath: server.certificates.certificate("other")))
                .write(to: URL(filePath: server.certificates.folder + "/authorities.pem"))
            for _ in 0..<2 { server.acceptor.refresh() }
            #expect(established.lapse()?.contains("authorities") == true)
            #expect(try await server.curl(server.client("prom-a")).status != 0)
        }
    }

    private static func put(_ name: String, _ server: ServerUnderTest) throws {
        let own = server.certificates
        for (from, to) in [
            (own.certificate(name), own.certificate("server")), (own.key(name), own.key("server")),
        ] {
            try Data(contentsOf: URL(filePath: from)).write(to: URL(filePath: to), options: .atomic)
        }
    }

    private static func fingerprint(_ server: ServerUnderTest) async throws -> String {
        let shown = try await TestCertificates.runAside(
            "openssl", ["s_client", "-connect", "127.0.0.1:\(server.port)"])
        let file = server.certificates.folder + "/shown"
        try Data(shown.output.utf8).write(to: URL(filePath: file))
        return try server.certificates.openssl(["x509", "-in", file, "-noout", "-fingerprint"])
    }
}

@Suite struct TLSContextTests {
    private func refusal(_ change: (TestCertificates, inout TLSFiles) throws -> Void) throws -> String {
        let certificates = try TestCertificates()
        var files = TLSFiles(
            certificate: certificates.certificate("server"), key: certificates.key("server"))
        try change(certificates, &files)
        do throws(TLSFileError) {
            _ = try TLSContext(files)
            return "good"
        } catch {
            return error.description.replacingOccurrences(of: certificates.folder, with: "")
        }
    }

    @Test("files that cannot be used are named, with the reason")
    func refusals() throws {
        #expect(try refusal { _, _ in } == "good")
        #expect(
            try refusal { $1.certificate = $0.folder + "/none" }
                == "/none: cannot be read: No such file or directory")
        #expect(try refusal { $1.key = $0.folder } == ": is not a file")
        #expect(
            try refusal { $1.certificate = $0.key("server") }.hasPrefix(
                "/server.key: is not a certificate in PEM that can be used: "))
        #expect(
            try refusal { $1.key = $0.certificate("server") }.hasPrefix(
                "/server.pem: is not a key in PEM without a password: "))
        #expect(
            try refusal { $1.key = $0.key("ca") }
                == "/ca.key: is not the key of the certificate /server.pem")
        #expect(
            try refusal { $1.clientCA = $0.key("server") }.hasPrefix(
                "/server.key: holds no certificates of authorities in PEM: "))
        #expect(
            try refusal { certificates, files in
                let closed = certificates.folder + "/closed.key"
                try certificates.openssl([
                    "pkey", "-in", certificates.key("server"), "-aes256", "-passout", "pass:x", "-out",
                    closed,
                ])
                files.key = closed
            }.hasPrefix("/closed.key: is not a key in PEM without a password: "))
    }

    @Test("the end of the certificate is known")
    func validity() throws {
        let certificates = try TestCertificates()
        let context = try TLSContext(
            TLSFiles(certificate: certificates.certificate("server"), key: certificates.key("server")))
        let left = context.validUntilSeconds - Int64(Date().timeIntervalSince1970)
        #expect((2 * 86_400 - 120...2 * 86_400).contains(left))
    }
}
