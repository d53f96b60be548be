import Foundation
import TLS
import Telemetry
import TestSupport
import Testing

/// Which lists are taken, and which words the others are refused with.
@Suite struct RevocationListsTests {
    private func refusal(_ change: (TestCertificates, inout TLSFiles) throws -> Void) throws -> String {
        let own = try TestCertificates()
        var files = TLSFiles(certificate: own.certificate("server"), key: own.key("server"))
        files.clientCA = own.certificate("ca")
        files.clientCRL = own.list("lists")
        try own.revoke([], in: "lists")
        try change(own, &files)
        return Self.verdict(files).replacingOccurrences(of: own.folder, with: "")
    }

    private static func verdict(_ files: TLSFiles) -> String {
        do throws(TLSFileError) {
            _ = try TLSContext(files)
            return "good"
        } catch {
            return error.description
        }
    }

    @Test("lists that cannot be used are named, with the reason")
    func refusals() throws {
        #expect(try refusal { _, _ in } == "good")
        #expect(
            try refusal { $1.clientCRL = $0.folder + "/none" }
                == "/none: cannot be read: No such file or directory")
        #expect(
            try refusal {
                $1.clientCA = nil; _ = $0
            } == "/lists.crl: is for nothing without authorities of clients")
        #expect(
            try refusal { $1.clientCRL = $0.certificate("ca") }.hasPrefix(
                "/ca.pem: holds no list of revoked certificates in PEM"))
        #expect(
            try refusal {
                try $0.openssl(["crl", "-in", $0.list("lists"), "-outform", "DER", "-out", $0.list("der")])
                $1.clientCRL = $0.list("der")
            }.hasPrefix("/der.crl: holds no list of revoked certificates in PEM (`openssl crl -inform DER`"))
        #expect(
            try refusal {
                try $0.authority("other")
                try $0.revoke([], in: "lists", by: "other")
                _ = $1
            } == "/lists.crl: holds a list of /CN=other that none of the authorities in /ca.pem has signed")
        // Another key under the same name.
        #expect(
            try refusal {
                try $0.authority("ca")
                $1.clientCA = $0.certificate("ca")
            } == "/lists.crl: holds a list of /CN=ca that none of the authorities in /ca.pem has signed")
        #expect(
            try refusal { own, files in
                try own.authority("other")
                let both = try ["ca", "other"].map {
                    try Data(contentsOf: URL(filePath: own.certificate($0)))
                }
                try Data(both.joined()).write(to: URL(filePath: own.folder + "/both.pem"))
                files.clientCA = own.folder + "/both.pem"
            }
                == "/lists.crl: holds no list of /CN=other, an authority in /both.pem, all of whose clients would be refused"
        )
        #expect(
            try refusal {
                try $0.make(
                    "quiet", commonName: "ca",
                    more: ["-addext", "basicConstraints=CA:TRUE", "-addext", "keyUsage=keyCertSign"])
                try $0.revoke([], in: "lists", by: "quiet")
                $1.clientCA = $0.certificate("quiet")
            } == "/lists.crl: holds a list of /CN=ca whose certificate is not for signing lists")
        #expect(
            try refusal {
                try $0.revoke(
                    [], in: "lists", more: "crl_extensions=delta\n[delta]\n2.5.29.27=critical,DER:020101")
                _ = $1
            } == "/lists.crl: holds a list of /CN=ca that tells only what is new: put the whole one there")
    }

    @Test("lists that are good in themselves, and would refuse everybody, are refused")
    func useless() throws {
        let refused = "/lists.crl: holds lists by which all clients of /CN=ca would be refused: "
        // About certificates of attributes alone, and with a critical extension that nobody knows.
        for (extension_, words) in [
            ("issuingDistributionPoint=critical,@point\n[point]\nonlyAA=TRUE", "Different CRL scope"),
            ("issuingDistributionPoint=critical,@point\n[point]\nonlyuser=TRUE", "Different CRL scope"),
            ("1.2.3.4=critical,DER:0500", "unhandled critical CRL extension"),
        ] {
            let said = try refusal { own, _ in
                try own.revoke([], in: "lists", more: "crl_extensions=more\n[more]\n\(extension_)")
            }
            #expect(said.lowercased() == (refused + words).lowercased(), "\(extension_)")
        }
        let onlyCA = try refusal { own, _ in
            try own.revoke(
                [], in: "lists",
                more:
                    "crl_extensions=more\n[more]\nissuingDistributionPoint=critical,@point\n[point]\nonlyCA=TRUE"
            )
        }
        #expect(
            onlyCA
                == "/lists.crl: holds lists of /CN=ca that are about authorities alone, by which all of its clients would be refused"
        )
        // An authority under a new key and the old name: lists that do not say by which of the two they are.
        let said = try refusal { own, files in
            try own.make("ca2", commonName: "ca", more: ["-addext", "basicConstraints=critical,CA:TRUE"])
            try own.openssl([
                "req", "-x509", "-key", own.key("ca2"), "-out", own.certificate("ca2"), "-subj", "/CN=ca",
                "-days", "2",
            ])
            try own.revoke([], in: "second", by: "ca2")
            for (parts, whole) in [
                ([own.certificate("ca"), own.certificate("ca2")], own.folder + "/both.pem"),
                ([own.list("lists"), own.list("second")], own.list("both")),
            ] {
                let all = try parts.map { try Data(contentsOf: URL(filePath: $0)) }
                try Data(all.joined()).write(to: URL(filePath: whole))
            }
            (files.clientCA, files.clientCRL) = (own.folder + "/both.pem", own.list("both"))
        }
        #expect(
            said
                == "/both.crl: holds lists by which all clients of /CN=ca would be refused: CRL signature failure"
        )
    }

    @Test("what is too large is refused before it is read, and so are too many lists")
    func bounds() throws {
        #expect(
            try refusal {
                try Data(repeating: 0x0A, count: (1 << 20) + 1).write(to: URL(filePath: $0.list("lists")))
                _ = $1
            } == "/lists.crl: is larger than 1 MiB")
        #expect(
            try refusal {
                let one = try Data(contentsOf: URL(filePath: $0.list("lists")))
                try Data((0..<1_001).map { _ in one }.joined()).write(to: URL(filePath: $0.list("lists")))
                _ = $1
            } == "/lists.crl: holds more than 1000 lists")
    }

    @Test("a file that is spoilt in any place is taken or refused with words")
    func spoilt() throws {
        let seed = UInt64.random(in: .min ... .max)
        var dice = SeededRandom(seed: seed)
        let own = try TestCertificates()
        var files = TLSFiles(certificate: own.certificate("server"), key: own.key("server"))
        files.clientCA = own.certificate("ca")
        files.clientCRL = own.list("spoilt")
        try own.make("bad")
        try own.revoke(["bad"], in: "lists")
        let whole = try Data(contentsOf: URL(filePath: own.list("lists")))
        var refused = 0
        for round in 0..<300 {
            var bytes = Array(whole)
            switch round % 3 {
            case 0:
                bytes[Int.random(in: 0..<bytes.count, using: &dice)] ^=
                    1 << UInt8.random(in: 0..<8, using: &dice)
            case 1: bytes.removeLast(Int.random(in: 1..<bytes.count, using: &dice))
            default:
                let from = Int.random(in: 0..<bytes.count, using: &dice)
                bytes.removeSubrange(from..<min(bytes.count, from + Int.random(in: 1...40, using: &dice)))
            }
            try Data(bytes).write(to: URL(filePath: own.list("spoilt")))
            let verdict = Self.verdict(files)
            if verdict != "good" { refused += 1 }
            #expect(verdict == "good" || verdict.contains("spoilt.crl: holds"), "seed \(seed): \(verdict)")
        }
        // Spaces and the words around the lines may change without harm.
        #expect(refused > 250, "seed \(seed)")
    }
}
