import Foundation
import Synchronization
import TLS
import Telemetry
import TestSupport
import Testing

/// Lists of revoked certificates, made by `openssl ca`, against clients that show theirs.
@Suite(.serialized) struct RevocationTests {
    /// A server with a list that names `bad`, an authority, and clients `good` and `bad` of it.
    private static func run(
        _ change: (TestCertificates, inout TLSFiles) throws -> Void = { _, _ in },
        _ body: (ServerUnderTest) async throws -> Void
    ) async throws {
        try await ServerUnderTest.run {
            try $0.make("good")
            try $0.make("bad")
            try $0.revoke(["bad"], in: "lists")
            $1.clientCA = $0.certificate("ca")
            $1.clientCRL = $0.list("lists")
            try change($0, &$1)
        } _: {
            try await body($0)
        }
    }

    private static func put(_ name: String, _ server: ServerUnderTest) throws {
        let own = server.certificates
        try Data(contentsOf: URL(filePath: own.list(name)))
            .write(to: URL(filePath: own.list("lists")), options: .atomic)
    }

    /// The times of a list, in seconds from now.
    private static func terms(_ from: Double, _ until: Double) -> (from: String, until: String) {
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.timeZone = TimeZone(secondsFromGMT: 0)
        format.dateFormat = "yyyyMMddHHmmss'Z'"
        return (
            format.string(from: Date(timeIntervalSinceNow: from)),
            format.string(from: Date(timeIntervalSinceNow: until))
        )
    }

    @Test(
        "a certificate that a list names is refused, counted and told; another one is not",
        arguments: ["1.2", "1.3"])
    func revoked(version: String) async throws {
        try await Self.run { (server) async throws in
            let own = ["--tls-max", version]
            #expect(
                try await server.curl(server.client("good") + own).output == "0 bytes, TLSv\(version), good\n"
            )
            let reply = try await server.curl(server.client("bad") + own)
            #expect(reply.status != 0 && reply.output.contains("revoked"), "\(reply.output)")
            #expect(try await server.failed("revoked"))
            #expect(server.log.all.last?.contains("certificate revoked") == true, "\(server.log.all)")
        }
    }

    @Test("no session is taken up again past a revocation", arguments: ["1.2", "1.3"])
    func resumption(version: String) async throws {
        try await Self.run { (server) async throws in
            let session = server.certificates.folder + "/session"
            let client = [
                "s_client", "-connect", "127.0.0.1:\(server.port)", "-tls1_" + version.suffix(1), "-cert",
                server.certificates.certificate("good"), "-key", server.certificates.key("good"),
            ]
            let request = Data("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".utf8)
            let first = try await TestCertificates.runAside(
                "openssl", client + ["-quiet", "-sess_out", session], input: request)
            #expect(first.output.contains("200 OK"), "\(first.output)")
            try server.certificates.revoke(["bad", "good"], in: "more")
            try Self.put("more", server)
            for _ in 0..<2 { server.acceptor.refresh() }
            // Where the server gives no session away, there is none to come with.
            let isThere = FileManager.default.fileExists(atPath: session)
            let second = try await TestCertificates.runAside(
                "openssl", client + ["-ign_eof"] + (isThere ? ["-sess_in", session] : []), input: request)
            #expect(!second.output.contains("200 OK"), "\(second.output)")
            #expect(try await server.failed("revoked"))
        }
    }

    @Test("a list that comes in ends the connections of those whom it names, and of nobody else")
    func openConnections() async throws {
        try await Self.run { (server) async throws in
            #expect(try await server.curl(server.client("good")).status == 0)
            let established = try #require(server.established)
            try server.certificates.make("other")
            #expect(try await server.curl(server.client("other")).status == 0)
            let other = try #require(server.established)
            try server.certificates.revoke(["bad", "good"], in: "more")
            try Self.put("more", server)
            // The file must be quiet in between.
            server.acceptor.refresh()
            #expect(established.lapse() == nil)
            server.acceptor.refresh()
            for _ in 0..<3 { #expect(established.lapse()?.contains("was revoked") == true) }
            #expect(other.lapse() == nil)
            #expect(try await server.failed("revoked", 1), "once, however often it is asked")
            let told = server.log.all.filter { $0.contains("event=crl_renewed") }
            #expect(told.count == 1 && told.first?.contains("lists.crl") == true, "\(server.log.all)")
            #expect(try await server.curl(server.client("good")).status != 0)
            #expect(try await server.curl(server.client("other")).status == 0)
            // Whoever is on hold comes back with a new connection.
            try server.certificates.revoke(["bad"], in: "less")
            try Self.put("less", server)
            for _ in 0..<2 { server.acceptor.refresh() }
            #expect(try await server.curl(server.client("good")).status == 0)
            #expect(other.lapse() == nil)
        }
    }

    @Test("a list that is added or taken away by a reload counts for open connections, too")
    func reload() async throws {
        try await Self.run { (server) async throws in
            var files = TLSFiles(
                certificate: server.certificates.certificate("server"), key: server.certificates.key("server")
            )
            files.clientCA = server.certificates.certificate("ca")
            server.acceptor.replace(try TLSContext(files))
            #expect(try await server.curl(server.client("bad")).output == "0 bytes, TLSv1.3, bad\n")
            let established = try #require(server.established)
            #expect(established.lapse() == nil)
            files.clientCRL = server.certificates.list("lists")
            server.acceptor.replace(try TLSContext(files))
            #expect(established.lapse()?.contains("was revoked") == true)
        }
    }

    @Test("lists that cannot be used change nothing, and are complained of once each")
    func badLists() async throws {
        try await Self.run { (server) async throws in
            let own = server.certificates
            try own.authority("other")
            try own.revoke([], in: "strange", by: "other")
            try own.revoke([], in: "ended", terms: Self.terms(-200_000, -100_000))
            let text = try String(contentsOfFile: own.list("lists"), encoding: .utf8)
            try Data(text.dropLast(60).utf8).write(to: URL(filePath: own.list("torn")))
            try Data().write(to: URL(filePath: own.list("empty")))
            let expected = [
                ("strange", "has signed"), ("ended", "has run out"), ("torn", "cannot be read"),
                ("empty", "holds no list"),
            ]
            for (count, (name, words)) in expected.enumerated() {
                try Self.put(name, server)
                for _ in 0..<4 { server.acceptor.refresh() }
                let complaints = server.log.all.filter { $0.contains("event=certificate_kept") }
                #expect(complaints.count == count + 1, "\(name)")
                #expect(complaints.last?.contains(words) == true, "\(name): \(complaints)")
                #expect(complaints.last?.contains("lists.crl") == true)
            }
            #expect(try await server.curl(server.client("bad")).status != 0)
            #expect(try await server.failed("revoked"))
            #expect(try await server.curl(server.client("good")).status == 0)
            #expect(
                server.metric("colossus_tls_certificate_reads_total{listener=\"test\",result=\"failed\"} 4"))
        }
    }

    @Test("a list that has run out refuses everybody, and says so, until there is a newer one")
    func expired() async throws {
        try await Self.run { own, _ in
            try own.revoke(["bad"], in: "lists", terms: Self.terms(-200_000, -100_000))
        } _: { (server) async throws in
            #expect(server.log.all.contains { $0.contains("event=crl_expired") })
            for (count, name) in ["good", "bad"].enumerated() {
                #expect(try await server.curl(server.client(name)).status != 0)
                #expect(try await server.failed("crl_expired", count + 1))
            }
            #expect(server.log.all.last?.contains("CRL has expired") == true)
            try server.certificates.revoke(["bad"], in: "new")
            try Self.put("new", server)
            for _ in 0..<2 { server.acceptor.refresh() }
            #expect(try await server.curl(server.client("good")).status == 0)
        }
    }

    @Test("the end of a list is told of before and then, once, and open connections end with it")
    func expiry() async throws {
        try await Self.run { (server) async throws in
            func told(_ event: String) -> Int {
                server.log.all.filter { $0.contains("event=\(event) ") }.count
            }
            #expect(try await server.curl(server.client("good")).status == 0)
            let established = try #require(server.established)
            // A list of two days: the last twentieth are 2.4 hours.
            for (hours, expiring, expired) in [(0, 0, 0), (45, 0, 0), (46, 1, 0), (49, 1, 1)] {
                server.ahead.seconds.withLock { $0 = Int64(hours) * 3_600 }
                for _ in 0..<3 { server.acceptor.refresh() }
                #expect(told("crl_expiring") == expiring && told("crl_expired") == expired, "\(hours) h")
                // The certificate has ended by then, too: that is said first.
                if hours < 48 { #expect(established.lapse() == nil) }
            }
            let line = server.metrics.exposition().split(separator: "\n").first {
                $0.hasPrefix("colossus_tls_crl_expiry_timestamp_seconds{listener=\"test\"} ")
            }
            let end = try #require(line?.split(separator: " ").last.flatMap { Double($0) })
            #expect(abs(end - Date().timeIntervalSince1970 - 2 * 86_400) < 600)
        }
        // A certificate that outlives the list.
        try await Self.run { own, _ in
            try own.make("long", days: 9)
        } _: { (server) async throws in
            #expect(try await server.curl(server.client("long")).status == 0)
            let established = try #require(server.established)
            server.ahead.seconds.withLock { $0 = 3 * 86_400 }
            #expect(established.lapse()?.contains("has run out: the operator") == true)
            #expect(try await server.failed("crl_expired"))
        }
    }

    @Test("with authorities in between, each has a list, and the first one's may name those in between")
    func chain() async throws {
        func between(_ own: TestCertificates, _ revoked: [String]) throws {
            try own.make("between", more: ["-addext", "basicConstraints=critical,CA:TRUE"])
            try own.make("leaf", authority: "between")
            try own.make("gone", authority: "between")
            try own.revoke(revoked, in: "first")
            try own.revoke(["gone"], in: "second", by: "between")
            try join([own.list("first"), own.list("second")], own.list("lists"))
            try join([own.certificate("ca"), own.certificate("between")], own.folder + "/authorities.pem")
        }
        func join(_ files: [String], _ to: String) throws {
            let all = try files.map { try Data(contentsOf: URL(filePath: $0)) }
            try Data(all.joined()).write(to: URL(filePath: to))
        }
        for (revoked, isGood) in [([], true), (["between"], false)] {
            try await Self.run { own, files in
                try between(own, revoked)
                files.clientCA = own.folder + "/authorities.pem"
            } _: { (server) async throws in
                #expect(try await server.curl(server.client("leaf")).status == 0 || !isGood)
                #expect(try await server.curl(server.client("gone")).status != 0)
                #expect(try await server.failed("revoked", isGood ? 1 : 2))
                #expect(try await server.curl(server.client("good")).status == 0)
            }
        }
        // An authority that only the client knows of has no list here.
        try await Self.run { own, files in
            try between(own, [])
            try own.revoke([], in: "lists")
            try join([own.certificate("leaf"), own.certificate("between")], own.folder + "/whole.pem")
        } _: { (server) async throws in
            let client = [
                "--cert", server.certificates.folder + "/whole.pem", "--key", server.certificates.key("leaf"),
            ]
            #expect(try await server.curl(client).status != 0)
            #expect(try await server.failed("no_crl"))
        }
    }

    @Test("with lists, the server sends its certificate and no root")
    func ownChain() async throws {
        try await Self.run { (server) async throws in
            let reply = try await TestCertificates.runAside(
                "openssl",
                [
                    "s_client", "-connect", "127.0.0.1:\(server.port)", "-showcerts", "-cert",
                    server.certificates.certificate("good"), "-key", server.certificates.key("good"),
                ])
            let count = reply.output.components(separatedBy: "-----BEGIN CERTIFICATE-----").count - 1
            #expect(count == 1, "\(reply.output)")
        }
    }

    @Test(
        "what would refuse others than now, or take revocations back, comes in neither by itself nor by a reload"
    )
    func worseLists() async throws {
        try await Self.run { (server) async throws in
            let own = server.certificates
            let worse: [(name: String, revoked: [String], words: String, terms: (String, String))] = [
                ("ended", ["bad"], "has run out", Self.terms(-200_000, -100_000)),
                ("early", ["bad"], "is not valid yet", Self.terms(3_600, 200_000)),
                ("older", [], "is older than the one in force", Self.terms(-3_600, 200_000)),
            ]
            var files = TLSFiles(certificate: own.certificate("server"), key: own.key("server"))
            files.clientCA = own.certificate("ca")
            for one in worse {
                try own.revoke(one.revoked, in: one.name, terms: one.terms)
                files.clientCRL = own.list(one.name)
                let new = try TLSContext(files)
                let error = #expect(throws: TLSFileError.self) { try server.acceptor.check(new) }
                #expect(error?.reason.contains(one.words) == true, "\(one.name): \(error?.reason ?? "")")
                try Self.put(one.name, server)
                for _ in 0..<4 { server.acceptor.refresh() }
                let told = server.log.all.filter {
                    $0.contains("event=certificate_kept") && $0.contains(one.words)
                }
                #expect(told.count == 1, "\(one.name): \(server.log.all)")
                #expect(try await server.curl(server.client("good")).status == 0, "\(one.name)")
                #expect(try await server.curl(server.client("bad")).status != 0, "\(one.name)")
            }
            #expect(try await server.failed("revoked", worse.count))
            // What is not valid yet is tried again, and comes in when it is.
            try Self.put("early", server)
            for _ in 0..<2 { server.acceptor.refresh() }
            server.ahead.seconds.withLock { $0 = 3_700 }
            server.acceptor.refresh()
            #expect(server.log.all.contains { $0.contains("event=crl_renewed") })
            // OpenSSL goes by the clock of the machine.
            #expect(try await server.curl(server.client("good")).status != 0)
            #expect(try await server.failed("crl_not_yet_valid"))
        }
    }

    /// A server with lists of two authorities, `ca` and `other`.
    private static func runWithTwo(
        _ body: (ServerUnderTest, _ write: (_ terms: [(from: String, until: String)]) throws -> Void)
            async throws -> Void
    ) async throws {
        func write(_ own: TestCertificates, _ terms: [(from: String, until: String)]) throws {
            try own.revoke([], in: "one", terms: terms[0])
            try own.revoke([], in: "two", by: "other", terms: terms[1])
            try join([own.list("one"), own.list("two")], own.list("lists"))
        }
        func join(_ files: [String], _ to: String) throws {
            let all = try files.map { try Data(contentsOf: URL(filePath: $0)) }
            try Data(all.joined()).write(to: URL(filePath: to), options: .atomic)
        }
        try await Self.run { own, files in
            try own.authority("other")
            try write(own, [Self.terms(-7_200, -3_600), Self.terms(-7_200, 86_400)])
            try join([own.certificate("ca"), own.certificate("other")], own.folder + "/both.pem")
            files.clientCA = own.folder + "/both.pem"
        } _: { (server) async throws in
            try await body(server) { try write(server.certificates, $0) }
        }
    }

    @Test("each authority's list is compared with its own, and each end is told")
    func twoAuthorities() async throws {
        try await Self.runWithTwo { server, write in
            func told(_ event: String) -> Int {
                server.log.all.filter { $0.contains("event=\(event) ") }.count
            }
            #expect(told("crl_expired") == 1 && told("crl_expiring") == 0)
            for (hours, expiring, expired) in [(1, 0, 1), (23, 1, 1), (25, 1, 2), (30, 1, 2)] {
                server.ahead.seconds.withLock { $0 = Int64(hours) * 3_600 }
                for _ in 0..<3 { server.acceptor.refresh() }
                #expect(told("crl_expiring") == expiring && told("crl_expired") == expired, "\(hours) h")
            }
        }
        try await Self.runWithTwo { server, write in
            // The one that had ended is good again, and the good one has ended.
            try write([Self.terms(-3_600, 86_400), Self.terms(-7_200, -60)])
            for _ in 0..<3 { server.acceptor.refresh() }
            let told = server.log.all.filter { $0.contains("event=certificate_kept") }
            #expect(told.count == 1 && told.first?.contains("CN=other that has run out") == true, "\(told)")
        }
    }

    @Test("of two lists of an authority, the newer one counts")
    func twoLists() async throws {
        try await Self.run { own, files in
            try own.revoke([], in: "old", terms: Self.terms(-200_000, 50_000))
            let all = try ["old", "lists"].map { try Data(contentsOf: URL(filePath: own.list($0))) }
            try Data(all.joined()).write(to: URL(filePath: own.list("both")))
            files.clientCRL = own.list("both")
        } _: { (server) async throws in
            #expect(try await server.curl(server.client("bad")).status != 0)
            #expect(try await server.failed("revoked"))
            #expect(!server.log.all.contains { $0.contains("event=crl_expir") })
        }
    }
}
