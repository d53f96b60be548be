import Foundation
import Settings
import Telemetry
import TestSupport
import Testing

/// A configuration in a folder of its own, gone with the test.
final class ConfigFolder {
    let path = NSTemporaryDirectory() + "/colossus-settings-" + UUID().uuidString

    init(_ files: [String: String]) throws {
        for (name, text) in files {
            let url = URL(fileURLWithPath: path + "/" + name)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: url)
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func load() throws(SettingsFailure) -> DaemonSettings { try loadSettings(path: path + "/c.yaml") }

    /// The errors, with the folder's name cut off.
    func errors() -> [String] {
        do {
            _ = try load()
            return []
        } catch {
            return error.errors.map { $0.description.replacingOccurrences(of: path + "/", with: "") }
        }
    }
}

/// The top of the repository.
let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

@Suite("loadSettings", .computing)
struct LoadSettingsTests {
    @Test("the commented configuration says the defaults")
    func defaults() throws {
        #expect(try loadSettings(path: repository + "/Config/colossusd.yaml") == DaemonSettings())
    }

    @Test(
        "the commented configuration shows every key",
        arguments: [
            "", "ingest", "ingest.limits", "web", "inventory", "windows", "aggregation", "aggregation.levels",
            "store", "log", "simulations", "endpoints", "endpoints.retry", "endpoints.labels",
            "endpoints.basic", "endpoints.tls", "endpoints.batch", "remote_write", "otlp", "influx", "file",
            "file.rotate", "cluster", "cluster.tls", "cluster.nkey", "cluster.simulation",
            "alerts", "alerts.gpu_silent", "alerts.xid", "alerts.coverage_low", "rules",
            "alertmanager",
        ])
    func everyKey(section: String) throws {
        let parts = section.split(separator: ".").map(String.init)
        let text: String
        switch parts.first {
        case nil: text = "zzzzzz: 1"
        case "simulations": text = "simulations: [{run: a, scenario: a, zzzzzz: 1}]"
        case "file" where parts.count == 2:
            text = "endpoints: [{name: a, kind: file, path: a, \(parts[1]): {zzzzzz: 1}}]"
        case "file": text = "endpoints: [{name: a, kind: file, path: a, zzzzzz: 1}]"
        case "rules":
            text = "alerts: {rules: [{name: a, count: coverage, comparison: <, threshold: 1, zzzzzz: 1}]}"
        case "remote_write", "otlp", "influx", "alertmanager":
            text = "endpoints: [{name: a, kind: \(section), url: http://a, zzzzzz: 1}]"
        case "endpoints" where parts.count == 2:
            text = "endpoints: [{name: a, kind: webhook, url: http://a, \(parts[1]): {zzzzzz: 1}}]"
        case "endpoints": text = "endpoints: [{name: a, kind: webhook, url: http://a, zzzzzz: 1}]"
        default: text = parts.reversed().reduce("zzzzzz: 1") { "\($1): {\($0)}" }
        }
        let errors = try ConfigFolder(["c.yaml": text]).errors()
        let listed = try #require(
            errors.first { $0.contains("zzzzzz") }?.components(separatedBy: "one of: ").last)
        let shown = try String(contentsOfFile: repository + "/Config/colossusd.yaml", encoding: .utf8)
        for key in listed.components(separatedBy: ", ") {
            #expect(shown.contains("\(key):"), "\(section): \(key)")
        }
    }

    @Test("the quickstart configuration and the examples are valid")
    func examples() throws {
        let quickstart = try loadSettings(path: repository + "/Config/quickstart.yaml")
        #expect(quickstart.endpoints.map(\.destination) == [.file(path: "summaries.jsonl")])
        #expect(quickstart.endpoints.map(\.levels) == [[.site]])
        #expect(quickstart.endpoints.map(\.streams) == [.all])
        #expect(!quickstart.aggregation.simulatedLevels.contains(.node))
        #expect(quickstart.simulations.isEmpty)

        let examples = repository + "/Config/conf.d.example/"
        var files = ["c.yaml": "{}"]
        for name in try FileManager.default.contentsOfDirectory(atPath: examples) {
            files["conf.d/" + name] = try String(contentsOfFile: examples + name, encoding: .utf8)
        }
        let settings = try ConfigFolder(files).load()
        #expect(
            settings.endpoints.map(\.name) == [
                "victoriametrics", "capacity-planner", "collector", "alertmanager",
            ])
        #expect(settings.alerts.rules.map(\.name) == ["HotRack", "HallDark"])
        #expect(
            settings.endpoints[1].fields.map(\.field.name) == [
                "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_POWER_USAGE",
            ])
    }

    @Test("later files change what they say, and lists of named things are merged by name")
    func layers() throws {
        let folder = try ConfigFolder([
            "c.yaml": """
            windows: {lateness: 5s, max_hold: 1m}
            endpoints:
              - {name: one, kind: webhook, url: "http://a:1/x", timeout: 5s}
              - {name: two, kind: file, path: out.jsonl}
            simulations:
              - {run: r, scenario: s.yaml, seed: 7}
            """,
            "s.yaml": try String(
                contentsOfFile: repository + "/Config/scenarios/small-512.yaml", encoding: .utf8),
            "conf.d/20-b.yaml":
                "endpoints: [{name: one, levels: [rack]}, {name: three, kind: file, path: /x}]",
            "conf.d/10-a.yaml": """
            windows: {lateness: 7s}
            endpoints: [{name: one, url: "https://b/y", levels: [site]}]
            simulations: [{run: r, speed: max, autostart: false}]
            """,
            "conf.d/notes.txt": "not: [yaml",
            "conf.d/.hidden.yaml": "not: [yaml",
        ])
        let settings = try folder.load()
        #expect(settings.windows.latenessMs == 7_000)
        #expect(settings.windows.maxHoldMs == 60_000)
        #expect(settings.endpoints.map(\.name) == ["one", "two", "three"])
        #expect(settings.endpoints[0].destination == .webhook(url: "https://b/y"))
        #expect(settings.endpoints[0].levels == [.rack])
        #expect(settings.endpoints[0].timeoutMs == 5_000)
        let run = try #require(settings.simulations.first)
        #expect(run.scenario == folder.path + "/s.yaml")
        #expect(run.seed == 7 && run.speed == .max && !run.autostart)
    }

    @Test(
        "an address that other machines reach needs tokens, or a word that it need not",
        arguments: [
            "ingest: {listen: 0.0.0.0:9480, insecure: true}", "web: {listen: \"[::]:80\", insecure: true}",
            "ingest: {listen: 10.1.2.3:9480, tokens: [{name: a, file: 'credential:a', events: true}]}",
            "web: {listen: \"[fe80::1]:9481\", tokens: [{name: a, file: 'credential:a'}]}",
            "web: {listen: \"[::]:80\", tls: {certificate: 'credential:c', key: 'credential:k', client_ca: 'credential:a'}}",
        ])
    func access(text: String) throws {
        let folder = try ConfigFolder(["c.yaml": text])
        let settings = try folder.load()
        if text.contains("events") {
            #expect(
                settings.ingest.tokens == [.init(name: "a", file: "credential:a", mayTellEvents: true)])
            #expect(!settings.ingest.listen.isLoopback && settings.web.listen.isLoopback)
        }
    }

    @Test("certificates of listeners: paths from the file that says them, later files over earlier ones")
    func listenerTLS() throws {
        let folder = try ConfigFolder([
            "c.yaml":
                "ingest: {tls: {certificate: a.pem, key: a.key, client_ca: ca.pem}, tokens: [{name: a, certificate: 'spiffe://x', events: true}]}",
            "conf.d/1.yaml":
                "ingest: {tls: {key: 'credential:key', client_certificate: optional, min_version: \"1.3\", client_crl: lists.pem}}\nweb: {tls: {certificate: 'credential:c', key: 'credential:k', client_ca: 'credential:ca', client_crl: 'credential:crl', health_without_certificate: true}}",
            "a.pem": "", "a.key": "", "ca.pem": "", "conf.d/lists.pem": "",
        ])
        let settings = try folder.load()
        var expected = DaemonSettings.ListenerTLS()
        (expected.certificate, expected.key) = (folder.path + "/a.pem", "credential:key")
        expected.clientCA = folder.path + "/ca.pem"
        expected.clientCertificate = .optional
        expected.isTLS13 = true
        expected.clientCRL = folder.path + "/conf.d/lists.pem"
        #expect(settings.ingest.tls == expected)
        #expect(settings.ingest.tokens == [.init(name: "a", certificate: "spiffe://x", mayTellEvents: true)])
        #expect(settings.web.tls?.clientCRL == "credential:crl")
        #expect(
            settings.web.tls?.healthWithoutCertificate == true && settings.web.tls?.wantsCertificate == true)
    }

    @Test("tokens with files alone, beside certificates that need none, are warned of")
    func accessWarnings() throws {
        let tls = "tls: {certificate: 'credential:c', key: 'credential:k', client_ca: 'credential:a'}"
        let one = "{name: a, file: 'credential:t'}"
        func warnings(_ text: String) throws -> [String] {
            try ConfigFolder(["c.yaml": text]).load().accessWarnings
        }
        let text = "ingest: {\(tls), tokens: [\(one)]}"
        #expect(
            try warnings(text) == [
                "ingest: whoever has a certificate of tls.client_ca may send without a token, because no token names a certificate"
            ])
        #expect(try warnings("web: {\(tls), tokens: [\(one)]}").count == 1)
        #expect(try warnings("ingest: {\(tls), tokens: [\(one), {name: b, certificate: x}]}").isEmpty)
        #expect(try warnings("ingest: {\(tls)}").isEmpty)
        #expect(try warnings("ingest: {tokens: [\(one)]}").isEmpty)
    }

    @Test(
        "what a start would refuse is an error with its place",
        arguments: [
            (
                "ingest: {listen: 0.0.0.0:9480}",
                "c.yaml:1:18: `0.0.0.0:9480` can be reached from other machines, and nobody is asked who he is, expected ingest.tokens"
            ),
            ("web: {listen: \"[::]:1\"}", "c.yaml:1:15: `[::]:1` can be reached"),
            ("web: {listen: 10.0.0.1:1}", "c.yaml:1:15: `10.0.0.1:1` can be reached"),
            ("web: {listen: 127.1:1}", "c.yaml:1:15: `127.1:1` is not allowed here"),
            ("web: {listen: 127.0.0.1}", "c.yaml:1:15: `127.0.0.1` is not allowed here"),
            ("web: {listen: example.org:1}", "c.yaml:1:15: `example.org:1` is not allowed here"),
            ("ingest: {listen: \"[::1\"}", "c.yaml:1:18: `[::1` is not allowed here"),
            (
                "ingest: {tokens: [{name: a, file: none}]}",
                "c.yaml:1:35: none cannot be read: No such file or directory, expected a file with a secret a line"
            ),
            (
                "ingest:\n  tokens:\n  - {name: a, file: 'credential:a'}\n  - {name: a, file: 'credential:b'}",
                "c.yaml:4:12: `a` is already in line 3"
            ),
            (
                "web:\n  tokens:\n  - {name: a, file: 'credential:a', events: true}",
                "c.yaml:3:37: unknown key `events`"
            ),
            ("ingest:\n  tokens:\n  - {name: a}", "c.yaml:3:5: `file` is missing"),
            (
                "ingest: {tokens: [{name: a, certificate: b}]}",
                "c.yaml:1:42: nobody is asked for a certificate, expected ingest.tls.client_ca, too"
            ),
            (
                "web:\n  tokens:\n  - {name: a, certificate: x}\n  - {name: b, certificate: x}",
                "c.yaml:4:28: `x` is already in line 3"
            ),
            ("web: {tls: {key: 'credential:k'}}", "c.yaml:1:12: `certificate` is missing"),
            ("web: {tls: {certificate: 'credential:k'}}", "c.yaml:1:12: `key` is missing"),
            (
                "web: {tls: {certificate: none.pem, key: 'credential:k'}}",
                "c.yaml:1:26: none.pem cannot be read: No such file or directory, expected a file in PEM"
            ),
            (
                "web: {tls: {min_version: 1.1}}",
                "c.yaml:1:26: `1.1` is not allowed here; did you mean `1.2`?, expected one of: 1.2, 1.3"
            ),
            (
                "web: {tls: {certificate: 'credential:c', key: 'credential:k', client_certificate: required}}",
                "c.yaml:1:83: nobody is asked for a certificate, expected web.tls.client_ca, too"
            ),
            (
                "web: {tls: {certificate: 'credential:c', key: 'credential:k', client_ca: ''}}",
                "c.yaml:1:74: `` is not allowed here"
            ),
            (
                "web:\n  tokens:\n  - {name: a, certificate: \(String(repeating: "x", count: 201))}",
                "c.yaml:3:28: "
            ),
            (
                "web: {tls: {certificate: 'credential:c', key: 'credential:k', client_crl: 'credential:l'}}",
                "c.yaml:1:75: nobody is asked for a certificate, expected web.tls.client_ca, too"
            ),
            (
                "web: {tls: {certificate: 'credential:c', key: 'credential:k', client_ca: 'credential:a', client_crl: none.pem}}",
                "c.yaml:1:102: none.pem cannot be read: No such file or directory, expected a file in PEM"
            ),
            (
                "web: {tls: {certificate: 'credential:c', key: 'credential:k', client_ca: 'credential:a', client_certificate: optional, health_without_certificate: true}}",
                "c.yaml:1:148: no certificate is required for anything, expected web.tls.client_ca, and a client_certificate that is required"
            ),
            (
                "web: {tls: {certificate: 'credential:c', key: 'credential:k', health_without_certificate: true}}",
                "c.yaml:1:91: no certificate is required for anything"
            ),
            (
                "ingest: {tls: {certificate: 'credential:c', key: 'credential:k', health_without_certificate: true}}",
                "c.yaml:1:66: unknown key `health_without_certificate`"
            ),
            ("web: {tls: {client_certificate: maybe}}", "c.yaml:1:33: `maybe` is not allowed here"),
            (
                "web: {listen: \"[::]:1\", tls: {certificate: 'credential:c', key: 'credential:k'}}",
                "c.yaml:1:15: `[::]:1` can be reached"
            ),
            ("web: {listen: 127.0.0.1:99999}", "c.yaml:1:15: `127.0.0.1:99999` is not allowed here"),
            ("web: {listen: 127.0.0.1:9480}", "c.yaml:1:15: ingest and web both listen on 127.0.0.1:9480"),
            (
                "windows:\n  finest: 10s\n  rollups: [25s]",
                "c.yaml:3:12: windows of 25s cannot be made of windows of 10s"
            ),
            ("windows:\n  rollups: [1m, 1m]", "c.yaml:2:12: windows of 1m cannot be made of windows of 1m"),
            (
                "windows: {finest: 10}",
                "c.yaml:1:19: `10` is not allowed here, expected a duration from 1s to 1h with its unit"
            ),
            ("inventory: {file: none.csv}", "c.yaml:1:19: none.csv cannot be read: No such file"),
            ("hosts: [http://a]", "c.yaml:1:9: `http://a` is not allowed here, expected the name"),
            ("store: {retention: {10: 5d}}", "c.yaml:1:20: `10` is not the length of a window"),
            (
                "store: {retention: {10s: 5}}",
                "c.yaml:1:26: `5` is not allowed here, expected a duration from 1m"
            ),
            (
                "store: {undelivered_keep: 30s}",
                "c.yaml:1:27: `30s` is not allowed here, expected a duration from 1m"
            ),
            (
                "simulations: [{run: r, scenario: none.yaml}]",
                "c.yaml:1:34: none.yaml cannot be read: No such file"
            ),
            (
                "simulations: [{run: a b, scenario: c.yaml}]",
                "c.yaml:1:21: `a b` is not allowed here, expected a name"
            ),
            (
                "simulations: [{run: a, scenario: c.yaml, speed: 0}]",
                "c.yaml:1:49: `0` is not allowed here, expected simulated"
            ),
            ("log: {level: wraning}", "c.yaml:1:14: `wraning` is not allowed here; did you mean `warning`?"),
            ("endpoints: [{kind: file, path: a}]", "c.yaml:1:13: `name` is missing"),
            (
                "endpoints: [{name: a, kind: flie, path: a}]",
                "c.yaml:1:29: `flie` is not allowed here; did you mean `file`?"
            ),
            ("endpoints: [{name: a, kind: file, url: http://a}]", "c.yaml:1:13: `path` is missing"),
            (
                "endpoints: [{name: a, kind: file, path: a, timeout: 1s}]",
                "c.yaml:1:44: unknown key `timeout`"
            ),
            (
                "endpoints: [{name: a, kind: webhook, url: ftp://a}]",
                "c.yaml:1:43: `ftp://a` is not allowed here, expected a URL"
            ),
            (
                "endpoints: [{name: a, kind: webhook, url: \"http://u:p@a\"}]",
                "c.yaml:1:43: `http://u:p@a` is not allowed"
            ),
            (
                "endpoints: [{name: a, kind: file, path: a}, {name: a, kind: file, path: b}]",
                "c.yaml:1:52: `a` is already in line 1"
            ),
            (
                "endpoints: [{name: a, kind: file, path: a, fields: [DCGM_FI_DEV_GPU_UTL]}]",
                "c.yaml:1:53: `DCGM_FI_DEV_GPU_UTL` is not a known field; did you mean `DCGM_FI_DEV_GPU_UTIL`?"
            ),
            (
                "endpoints: [{name: a, kind: file, path: a, resolutions: [10s, 30s]}]",
                "c.yaml:1:57: there are no windows of 30s, expected some of: 10s, 1m, 10m, 1h"
            ),
            (
                "endpoints: [{name: a, kind: file, path: a, streams: [sim/]}]",
                "c.yaml:1:54: `sim/` is not allowed here, expected a stream"
            ),
            (
                "endpoints: [{name: a, kind: file, path: x}, {name: b, kind: file, path: x}]",
                "c.yaml:1:52: `a` writes to the same file"
            ),
            (
                "endpoints: [{name: a, kind: webhook, url: http://a, headers: {ce-id: x}}]",
                "c.yaml:1:70: `ce-id` is not set by hand"
            ),
            (
                "endpoints: [{name: a, kind: webhook, url: http://a, headers: {Authorization: x}}]",
                "c.yaml:1:78: `Authorization` is not set by hand"
            ),
            (
                "endpoints: [{name: a, kind: webhook, url: http://a, headers: {\"X Y\": x}}]",
                "c.yaml:1:70: `X Y` is not the name of a header"
            ),
            (
                "endpoints: [{name: a, kind: webhook, url: http://a, bearer_token_file: /none}]",
                "c.yaml:1:72: /none cannot be read"
            ),
            (
                "endpoints: [{name: a, kind: webhook, url: http://a, retry: {min: 5m}}]",
                "c.yaml:1:60: min is greater than max"
            ),
        ] as [(String, String)])
    func refused(_ text: String, _ start: String) throws {
        let errors = try ConfigFolder(["c.yaml": text]).errors()
        let clean = errors.map { $0.replacingOccurrences(of: NSTemporaryDirectory(), with: "") }
        #expect(errors.contains { $0.hasPrefix(start) }, "\(clean)")
    }

    @Test("an error in a later file names that file, and all files are read before giving up")
    func laterFile() throws {
        let folder = try ConfigFolder([
            "c.yaml": "bogus: 1\nendpoints: [{name: e, kind: file, path: x}]", "conf.d/a.yaml": "{}\n---\n{}",
            "conf.d/b.yaml": "endpoints: [{name: e, kind: webhook, url: http://a}]",
        ])
        let starts = folder.errors().map { $0.split(separator: " ")[0] }
        #expect(starts == ["c.yaml:1:1:", "conf.d/a.yaml:2:1:", "conf.d/b.yaml:1:29:"])
    }

    @Test("a simulation's scenario is checked, and its errors are at places of its own file")
    func scenario() throws {
        let folder = try ConfigFolder([
            "c.yaml": "simulations: [{run: r, scenario: s.yaml}]", "s.yaml": "bogus: 1\n",
        ])
        #expect(folder.errors().contains { $0.hasPrefix("s.yaml:1:1: ") }, "\(folder.errors())")
    }

    @Test("a file that cannot be read says why")
    func unreadable() throws {
        let folder = try ConfigFolder(["x": ""])
        #expect(
            folder.errors() == [
                "c.yaml: cannot be opened: No such file or directory, expected a readable file"
            ])
        let directory = try ConfigFolder(["c.yaml/x": ""])
        #expect(directory.errors() == ["c.yaml: is not a file, expected a readable file"])
        let binary = try ConfigFolder([:])
        try FileManager.default.createDirectory(atPath: binary.path, withIntermediateDirectories: true)
        try Data([0xFF, 0xFE, 0x00]).write(to: URL(fileURLWithPath: binary.path + "/c.yaml"))
        #expect(binary.errors() == ["c.yaml: is not UTF-8, expected a text file"])
    }

    @Test("what waits for an endpoint is kept as long as the file says, three days where it says nothing")
    func undelivered() throws {
        let folder = try ConfigFolder(["c.yaml": "store: {undelivered_keep: 36h}"])
        #expect(try folder.load().store.undeliveredKeepMs == 36 * 3_600_000)
        #expect(try ConfigFolder(["c.yaml": "{}"]).load().store.undeliveredKeepMs == 3 * UTC.dayMs)
    }

    @Test("lengths that the retention table does not name are kept as the next shorter one")
    func retention() {
        let store = DaemonSettings.Store()
        #expect(store.keepMs(resolutionMs: 5_000) == 6 * 3_600_000)
        #expect(store.keepMs(resolutionMs: 60_000) == 7 * UTC.dayMs)
        #expect(store.keepMs(resolutionMs: 300_000) == 7 * UTC.dayMs)
        #expect(store.keepMs(resolutionMs: UTC.dayMs) == 730 * UTC.dayMs)
    }
}
