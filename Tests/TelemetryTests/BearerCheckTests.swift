import Testing

@testable import Telemetry

@Suite struct BearerCheckTests {
    static let check = BearerCheck([
        .init(name: "prom-a", secrets: [Array("0123456789abcdef".utf8), Array("new-secret-of-prom-a".utf8)]),
        .init(name: "slurm", secrets: [Array("fedcba9876543210".utf8)], mayTellEvents: true),
    ])

    @Test("a certificate is known by any of its names, and by none but those that are listed")
    func certificates() {
        let check = BearerCheck([
            .init(
                name: "prom", secrets: [Array("prometheus-a-0123".utf8)], certificates: ["prom.example.org"]),
            .init(name: "slurm", certificates: ["spiffe://fleet/slurm"], mayTellEvents: true),
        ])
        #expect(
            check.judge([], certificate: ["x", "prom.example.org"])
                == .known(name: "prom", mayTellEvents: false))
        #expect(
            check.judge([], certificate: ["spiffe://fleet/slurm"])
                == .known(name: "slurm", mayTellEvents: true))
        #expect(check.judge([], certificate: ["x"]) == .refused(.stranger))
        #expect(check.judge([], certificate: []) == .refused(.stranger))
        #expect(check.judge([]) == .refused(.missing))
        // Who sends a token means it.
        #expect(
            check.judge(["Bearer nothing-at-all-01"], certificate: ["prom.example.org"]) == .refused(.unknown)
        )
        #expect(
            check.judge(["Bearer prometheus-a-0123"], certificate: ["spiffe://fleet/slurm"])
                == .known(name: "prom", mayTellEvents: false))
    }

    @Test("where no names are listed, the authority vouches, for samples")
    func vouched() {
        let wanting = BearerCheck(wantsCertificate: true)
        #expect(!wanting.isOpen)
        #expect(wanting.judge([], certificate: ["x", "y"]) == .vouched(name: "x", mayTellEvents: false))
        #expect(wanting.judge([]) == .refused(.noCertificate))
        #expect(wanting.judge([], certificate: []) == .refused(.stranger))
        // Nobody is asked here: whoever says who he is has no less than others.
        #expect(BearerCheck().judge([], certificate: ["x"]) == .vouched(name: "x", mayTellEvents: true))
        #expect(BearerCheck().judge([], certificate: []) == .open)
        #expect(Self.check.judge([], certificate: ["x"]) == .vouched(name: "x", mayTellEvents: false))
    }

    @Test("where a certificate is wanted, a token alone is not enough, and one beside it says who it is")
    func both() {
        let check = BearerCheck(
            [.init(name: "prom", secrets: [Array("prometheus-a-0123".utf8)])], wantsCertificate: true)
        let token = ["Bearer prometheus-a-0123"]
        #expect(check.judge(token) == .refused(.noCertificate))
        #expect(check.judge(["Bearer nothing-at-all-01"]) == .refused(.noCertificate))
        #expect(check.judge(token, certificate: ["x"]) == .known(name: "prom", mayTellEvents: false))
        #expect(check.judge([], certificate: ["x"]) == .vouched(name: "x", mayTellEvents: false))
    }

    @Test("without tokens nobody is asked")
    func open() {
        #expect(BearerCheck().isOpen)
        #expect(BearerCheck().judge([]) == .open)
        #expect(BearerCheck().judge(["Bearer x"]) == .open)
    }

    @Test(
        "a token says who it is, old or new, however the scheme is written",
        arguments: [
            ("Bearer 0123456789abcdef", "prom-a", false), ("bearer new-secret-of-prom-a", "prom-a", false),
            ("BEARER   fedcba9876543210 ", "slurm", true),
        ])
    func known(header: String, name: String, events: Bool) {
        #expect(Self.check.judge([header]) == .known(name: name, mayTellEvents: events))
    }

    @Test(
        "what is not one of them is refused",
        arguments: [
            "Bearer", "Bearer ", "Bearer  ", "Basic 0123456789abcdef", "0123456789abcdef",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0", "Bearer 0123456789abcdef0123456789abcdef", "Bearer 0123456789abcdeg",
            "Bearerx0123456789abcdef", "Bearer 0123456789abcdef, Bearer fedcba9876543210",
            "Bearer " + String(repeating: "a", count: 100_000), "",
        ])
    func unknown(header: String) {
        #expect(Self.check.judge([header]) == .refused(.unknown))
    }

    @Test("no header and two headers are refused")
    func counts() {
        #expect(Self.check.judge([]) == .refused(.missing))
        let good = "Bearer 0123456789abcdef"
        #expect(Self.check.judge([good, good]) == .refused(.unknown))
    }

    @Test("a secret is compared whole, and an empty one is nobody's")
    func same() {
        #expect(BearerCheck.isSame([1, 2], [1, 2]))
        #expect(!BearerCheck.isSame([1, 2, 1, 2], [1, 2]))
        #expect(!BearerCheck.isSame([1], [1, 1]))
        #expect(!BearerCheck.isSame([], []))
        #expect(!BearerCheck.isSame([], [1]))
    }

    @Test("a file holds a secret a line, and short or odd ones are none")
    func files() {
        func read(_ text: String) -> [String]? {
            BearerCheck.secrets(Array(text.utf8))?.map { String(decoding: $0, as: UTF8.self) }
        }
        #expect(read("0123456789abcdef\n") == ["0123456789abcdef"])
        #expect(
            read("# of June\r\n 0123456789abcdef \r\n\nfedcba9876543210") == [
                "0123456789abcdef", "fedcba9876543210",
            ])
        #expect(read("") == nil)
        #expect(read("# nothing\n") == nil)
        #expect(read("short") == nil)
        #expect(read("0123456789abcdef\nshort\n") == nil)
        #expect(read("0123456789 abcdef") == nil)
        #expect(read("0123456789abcdéf0") == nil)
    }
}
