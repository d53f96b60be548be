import Store
import Telemetry
import Testing

@testable import Reporting

@Suite struct EndpointConfigurationTests {
    @Test(
        "what cannot be used is said",
        arguments: [
            "name", "url scheme", "url space", "url empty", "path", "header break", "header name", "ce",
            "content-type",
            "samples", "timeout", "backoff", "two secrets", "source",
        ])
    func problems(what: String) {
        var one = EndpointConfiguration.test(what == "path" ? .file : .webhook)
        #expect(one.problems.isEmpty)
        switch what {
        case "name": one.name = "a b"
        case "url scheme": one.url = "file:///etc/passwd"
        case "url space": one.url = "http://a b/"
        case "url empty": one.url = ""
        case "path": one.path = ""
        case "header break": one.headers = ["X-A": "a\r\nX-B: b"]
        case "header name": one.headers = ["X A": "a"]
        case "ce": one.headers = ["CE-Id": "mine"]
        case "content-type": one.headers = ["Content-Type": "text/plain"]
        case "samples": one.batch.samplesMax = 0
        case "timeout": one.timeoutMs = 0
        case "backoff": one.backoff.baseMs = one.backoff.capMs + 1
        case "two secrets":
            one.secrets.tokenFile = "/t"
            one.headers = ["authorization": "Basic x"]
        default: one.source = "a b"
        }
        #expect(one.problems.count == 1)
    }

    @Test("remote write's own headers cannot be set, others can")
    func remoteWriteHeaders() {
        var one = EndpointConfiguration.test(.remoteWrite)
        one.headers = ["X-Scope-OrgID": "fleet", "ce-anything": "x"]
        #expect(one.problems.isEmpty)
        one.headers["x-prometheus-remote-write-version"] = "9"
        #expect(one.problems.count == 1)
    }

    @Test("names and files are there once")
    func twice() {
        let same = EndpointConfiguration.test(.file)
        var other = same
        other.name = "f"
        #expect(EndpointConfiguration.problems(in: [same, same]).count == 2)
        #expect(EndpointConfiguration.problems(in: [same, other]).count == 1)
        other.path = "other.jsonl"
        #expect(EndpointConfiguration.problems(in: [same, other]).isEmpty)
    }

    @Test("the destination that is shown has no user, password or query")
    func destination() {
        var one = EndpointConfiguration.test(.webhook, url: "https://u:p@host:8443/hooks/in?token=t#f")
        #expect(one.destination == "https://host:8443/hooks/in")
        one.url = "http://[::1]:9/x"
        #expect(one.destination == "http://[::1]:9/x")
        one.url = "nonsense://"
        #expect(one.destination == "(not a URL)")
    }

    @Test(
        "resolutions are written as users write them",
        arguments: [
            (10_000, "10s"), (60_000, "1m"), (600_000, "10m"), (3_600_000, "1h"), (86_400_000, "1d"),
            (1_500, "1500ms"),
        ]
            as [(Int64, String)])
    func resolutions(ms: Int64, text: String) { #expect(Resolution.text(ms) == text) }

    @Test(
        "labels that would come before the name are refused",
        arguments: ["_Zone", "_1", "_", "__a", "Zone", "1a"])
    func labels(name: String) {
        #expect(LabelChanges(added: [name: "x"]).problems.count == 1)
        #expect(LabelChanges(added: ["_zone": "x", "zOne_1": "y"]).problems.isEmpty)
    }

    @Test("other resolutions may cut windows in another way: their series have another label")
    func cut() {
        var one = EndpointConfiguration.test(.remoteWrite)
        one.selection.resolutions = [10_000, 60_000]
        var other = one
        other.selection.resolutions = [10_000]
        #expect(one.cut != other.cut)
        other.selection.resolutions = [60_000, 10_000]
        #expect(one.cut == other.cut)
    }
}
