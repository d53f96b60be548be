import Foundation
import TLS
import TestSupport
import Testing

/// Clients of other making against the handler: curl and `openssl s_client`.
@Suite(.serialized) struct HandshakeTests {
    @Test("TLS 1.2 and 1.3 are spoken, and the version is counted", arguments: ["1.2", "1.3"])
    func versions(version: String) async throws {
        try await ServerUnderTest.run { (server) async throws in
            let reply = try await server.curl(["--tlsv\(version)", "--tls-max", version])
            #expect(reply.output == "0 bytes, TLSv\(version), none\n")
            #expect(
                server.metric(
                    "colossus_tls_handshakes_total{listener=\"test\",version=\"TLSv\(version)\"} 1"))
        }
    }

    @Test("what is older than the configuration wants is refused, counted and told")
    func oldVersion() async throws {
        try await ServerUnderTest.run {
            $1.isTLS13 = true
        } _: { (server) async throws in
            let reply = try await server.curl(["--tlsv1.2", "--tls-max", "1.2"])
            #expect(reply.status == 35, "\(reply.output)")
            #expect(try await server.failed("version"))
            #expect(server.log.all.contains { $0.contains("peer=127.0.0.1") && $0.contains("unsupported") })
            #expect(try await server.curl([]).output == "0 bytes, TLSv1.3, none\n")
        }
        try await ServerUnderTest.run { (server) async throws in
            let arguments = [
                "s_client", "-connect", "127.0.0.1:\(server.port)", "-tls1_1", "-cipher",
                "DEFAULT@SECLEVEL=0",
            ]
            #expect(try await TestCertificates.runAside("openssl", arguments).status != 0)
            #expect(try await server.failed("version"))
        }
    }

    @Test("one connection carries many requests, and large bodies both ways", arguments: ["1.2", "1.3"])
    func bodies(version: String) async throws {
        try await ServerUnderTest.run { (server) async throws in
            let file = server.certificates.folder + "/body"
            try Data(repeating: 7, count: 10 << 20).write(to: URL(filePath: file))
            let sent = ["--tls-max", version, "--data-binary", "@" + file, "-H", "Expect:"]
            for _ in 0..<2 {
                #expect(try await server.curl(sent).output == "\(10 << 20) bytes, TLSv\(version), none\n")
            }
            let got = server.certificates.folder + "/got"
            let both = "https://localhost:\(server.port)/5000000"
            let reply = try await server.curl(["-o", got, both, "-o", got + "2"], path: "/10485760")
            #expect(reply.status == 0, "\(reply.output)")
            #expect(try Data(contentsOf: URL(filePath: got)).count == 5_000_000)
            let second = try Data(contentsOf: URL(filePath: got + "2"))
            #expect(second.count == 10 << 20 && second.allSatisfy { $0 == 0x61 })
        }
    }

    @Test(
        "a certificate that is required lets in whoever has one, with all its alternative names",
        arguments: ["1.2", "1.3"])
    func required(version: String) async throws {
        try await ServerUnderTest.run {
            $1.clientCA = $0.certificate("ca")
        } _: { (server) async throws in
            let names = "subjectAltName=URI:spiffe://fleet/prom-a,DNS:prom-a.example.org"
            try server.certificates.make("prom-a", more: ["-addext", names])
            let known = try await server.curl(server.client("prom-a") + ["--tls-max", version])
            #expect(
                known.output
                    == "0 bytes, TLSv\(version), spiffe://fleet/prom-a,prom-a.example.org\n")
            let nobody = try await server.curl(["--tls-max", version])
            #expect(nobody.status != 0 && nobody.output.contains("certificate required") || version == "1.2")
            #expect(try await server.failed("no_certificate"))
        }
    }

    @Test(
        "a certificate of another authority, an expired one and one for servers are refused, with the reason")
    func badCertificates() async throws {
        try await ServerUnderTest.run {
            $1.clientCA = $0.certificate("ca")
        } _: { (server) async throws in
            try server.certificates.authority("other")
            try server.certificates.make("stranger", authority: "other")
            try server.certificates.make("late", days: -1)
            try server.certificates.make("servant", more: ["-addext", "extendedKeyUsage=serverAuth"])
            let expected = [
                "stranger": "unable to get local issuer", "late": "expired", "servant": "purpose",
            ]
            for (count, (name, words)) in expected.sorted(by: { $0.key < $1.key }).enumerated() {
                let reply = try await server.curl(server.client(name))
                #expect(reply.status != 0, "\(name): \(reply.output)")
                #expect(try await server.failed("bad_certificate", count + 1), "\(name)")
                #expect(server.log.all.last?.contains(words) == true, "\(server.log.all)")
            }
        }
    }

    @Test("a certificate that is optional may be left out; a bad one is still refused")
    func optional() async throws {
        try await ServerUnderTest.run {
            $1.clientCA = $0.certificate("ca")
            $1.clientCertificate = .optional
        } _: { (server) async throws in
            try server.certificates.make("prom-a")
            #expect(try await server.curl([]).output == "0 bytes, TLSv1.3, none\n")
            #expect(try await server.curl(server.client("prom-a")).output == "0 bytes, TLSv1.3, prom-a\n")
            try server.certificates.make("late", days: -1)
            #expect(try await server.curl(server.client("late")).status != 0)
            #expect(try await server.failed("bad_certificate"))
        }
    }

    @Test("names that would spoil a log are none")
    func oddNames() async throws {
        try await ServerUnderTest.run {
            $1.clientCA = $0.certificate("ca")
        } _: { (server) async throws in
            try server.certificates.make(
                "odd", commonName: "a\nb", more: ["-addext", "subjectAltName=DNS:b"])
            #expect(try await server.curl(server.client("odd")).output == "0 bytes, TLSv1.3, b\n")
            // What cannot be used still says that the common name is not meant.
            let long = "spiffe://fleet/" + String(repeating: "x", count: 186)
            try server.certificates.make("long", more: ["-addext", "subjectAltName=URI:" + long])
            #expect(try await server.curl(server.client("long")).output == "0 bytes, TLSv1.3, \n")
            let fits = String(long.dropLast())
            try server.certificates.make("fits", more: ["-addext", "subjectAltName=URI:" + fits])
            #expect(try await server.curl(server.client("fits")).output == "0 bytes, TLSv1.3, \(fits)\n")
            try server.certificates.make("nameless", commonName: "")
            #expect(try await server.curl(server.client("nameless")).output == "0 bytes, TLSv1.3, \n")
        }
    }

    @Test("HTTP without TLS is closed and counted as such")
    func plainHTTP() async throws {
        try await ServerUnderTest.run { (server) async throws in
            let reply = try await server.curl([], scheme: "http")
            #expect(reply.status != 0 && !reply.output.contains("bytes"))
            #expect(try await server.failed("plain_http"))
            #expect(server.log.all.contains { $0.contains("reason=plain_http") })
        }
    }

    @Test("HTTP/1.1 is chosen, and whoever wants only something else is told so")
    func protocols() async throws {
        try await ServerUnderTest.run { (server) async throws in
            let base = ["s_client", "-connect", "127.0.0.1:\(server.port)", "-alpn"]
            let chosen = try await TestCertificates.runAside("openssl", base + ["h2,http/1.1"])
            #expect(chosen.output.contains("ALPN protocol: http/1.1"))
            let refused = try await TestCertificates.runAside("openssl", base + ["h2"])
            #expect(refused.output.contains("no application protocol"))
            #expect(try await server.failed("alpn"))
        }
    }

    @Test("a client that does not trust us ends it, and that is counted by its alert")
    func alert() async throws {
        try await ServerUnderTest.run { (server) async throws in
            try server.certificates.authority("other")
            let reply = try await server.curl(["--cacert", server.certificates.certificate("other")])
            #expect(reply.status == 60)
            #expect(try await server.failed("alert"))
            #expect(server.log.all.contains { $0.contains("unknown ca") })
        }
    }

    @Test("renegotiation is refused, and the session goes on or ends, without a second handshake")
    func renegotiation() async throws {
        try await ServerUnderTest.run { (server) async throws in
            // `R` on a line of its own asks for it.
            let result = try await TestCertificates.runAside(
                "openssl", ["s_client", "-connect", "127.0.0.1:\(server.port)", "-tls1_2"],
                input: Data("R\n".utf8))
            #expect(result.output.contains("RENEGOTIATING"))
            #expect(result.output.contains("no renegotiation"))
            #expect(server.metric("colossus_tls_handshakes_total{listener=\"test\",version=\"TLSv1.2\"} 1"))
        }
    }

    @Test(
        "a session is taken up again by its ticket, but not where clients are asked for certificates",
        arguments: ["1.2", "1.3"], [false, true])
    func resumption(version: String, isAsking: Bool) async throws {
        try await ServerUnderTest.run {
            if isAsking { $1.clientCA = $0.certificate("ca") }
        } _: { (server) async throws in
            try server.certificates.make("prom-a")
            let session = server.certificates.folder + "/session"
            let base =
                [
                    "s_client", "-connect", "127.0.0.1:\(server.port)", "-quiet",
                    "-tls1_" + version.suffix(1),
                    "-cert", server.certificates.certificate("prom-a"), "-key",
                    server.certificates.key("prom-a"),
                ]
            let request = Data("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".utf8)
            let first = try await TestCertificates.runAside(
                "openssl", base + ["-sess_out", session], input: request)
            let answer = "0 bytes, TLSv\(version), " + (isAsking ? "prom-a" : "none")
            #expect(first.output.contains(answer), "\(first.output)")
            // Without a ticket there is nothing to take up again.
            let isThere = FileManager.default.fileExists(atPath: session)
            #expect(isThere || isAsking)
            guard isThere else { return }
            let second = try await TestCertificates.runAside(
                "openssl", base.filter { $0 != "-quiet" } + ["-sess_in", session, "-ign_eof"],
                input: request)
            let kind = isAsking ? "New" : "Reused"
            #expect(second.output.contains("\(kind), TLSv\(version)"), "\(second.output)")
            #expect(second.output.contains(answer))
        }
    }
}
