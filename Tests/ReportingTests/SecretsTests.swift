import Foundation
import Logging
import Store
import Telemetry
import Testing
import WireFormats

@testable import Reporting

/// What goes along with requests, and where it comes from.
@Suite struct SecretsTests {
    private static let clock = WallClock { Int64(Date().timeIntervalSince1970 * 1_000) }

    private final class Folder: Sendable {
        let path = NSTemporaryDirectory() + "/secrets-\(UUID().uuidString)"
        init() throws {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }
        deinit { try? FileManager.default.removeItem(atPath: path) }
        func write(_ text: String, _ name: String) throws {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path + "/" + name))
        }
    }

    private func reporter(_ store: FakeStore, credentials: String? = nil) -> Reporter {
        Reporter(
            store: store, clock: Self.clock, metrics: Metrics(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, seed: 7,
            credentialsFolder: credentials)
    }

    private func store(windows: Int = 1) -> FakeStore {
        let store = FakeStore()
        store.commit((0..<windows).map { Windows.window($0, racks: 1) }, Windows.topology(racks: 1))
        return store
    }

    @Test("basic authentication, headers and tokens come from files and from systemd's credentials")
    func everyKind() async throws {
        let folder = try Folder()
        try folder.write("open:sesame\n", "password")
        try folder.write(" key-1 \n", "key")
        try folder.write("t0ken", "token")
        let server = try ScriptedServer { _ in .status(204) }
        defer { server.stop() }
        let store = store()
        let reporter = reporter(store, credentials: folder.path)
        var basic = EndpointConfiguration.test(.webhook, name: "basic", url: server.url("/basic"))
        basic.secrets.basicUser = "aladdin"
        basic.secrets.basicPasswordFile = "credential:password"
        basic.secrets.headerFiles = ["X-Api-Key": folder.path + "/key"]
        var influx = EndpointConfiguration.test(.influx, name: "influx", url: server.url("/influx"))
        influx.secrets.tokenFile = "credential:token"
        try await reporter.apply([basic, influx])
        try await eventually("both have it") { server.requests.count == 2 }
        let first = try #require(server.requests.first { $0.path == "/basic" })
        let pair = Data("aladdin:open:sesame".utf8).base64EncodedString()
        #expect(first.headers["authorization"] == "Basic \(pair)" && first.headers["x-api-key"] == "key-1")
        let second = try #require(server.requests.first { $0.path.hasPrefix("/influx") })
        #expect(second.headers["authorization"] == "Token t0ken" && second.path == "/influx?precision=ms")
        for text in ["\(basic)", String(reflecting: basic), "\(await reporter.status())"] {
            #expect(!text.contains("sesame") && !text.contains("key-1"))
        }
        await reporter.drain(within: .seconds(30))
    }

    @Test("a credential that is not there stops nothing but its endpoint, and is named")
    func missing() async throws {
        let store = store()
        let reporter = reporter(store)
        var endpoint = EndpointConfiguration.test(.webhook)
        endpoint.secrets.tokenFile = "credential:nothing"
        try await reporter.apply([endpoint])
        try await eventually("it is said") {
            await reporter.status().first?.lastError?.contains("credential:nothing") == true
        }
        #expect(store.cursor("e") == .start)
        await reporter.drain(within: .seconds(30))
    }

    @Test("a webhook is signed as Standard Webhooks has it: their example")
    func standardWebhooks() throws {
        // The example of the specification, github.com/standard-webhooks/standard-webhooks, libraries' tests.
        var places = EndpointSecrets()
        places.signingKeyFile = "key"
        let secrets = try Secrets(places, kind: .webhook) { _ in "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }
        let headers = secrets.signature(
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek", body: Array("{\"test\": 2432232314}".utf8),
            nowMs: 1_614_265_330_999)
        #expect(
            headers == [
                HTTPHeader("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                HTTPHeader("webhook-timestamp", "1614265330"),
                HTTPHeader("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ])
    }

    @Test("each attempt is signed over what it carries")
    func signed() async throws {
        let folder = try Folder()
        try folder.write("plain text key", "key")
        let server = try ScriptedServer { _ in .status(204) }
        defer { server.stop() }
        let store = store()
        let reporter = reporter(store)
        var endpoint = EndpointConfiguration.test(.webhook, url: server.url())
        endpoint.secrets.signingKeyFile = folder.path + "/key"
        try await reporter.apply([endpoint])
        try await eventually("it has come") { server.requests.count == 1 }
        let request = try #require(server.requests.first)
        let id = try #require(request.headers["webhook-id"])
        let time = try #require(request.headers["webhook-timestamp"])
        #expect(id == request.headers["ce-id"])
        let code = SHA256.authenticationCode(
            Array("\(id).\(time).".utf8) + request.body, key: Array("plain text key".utf8))
        #expect(request.headers["webhook-signature"] == "v1," + Data(code).base64EncodedString())
        await reporter.drain(within: .seconds(30))
    }

    @Test(
        "a handshake comes first; nothing is sent where events are not welcome",
        arguments: ["*", "us.example"])
    func handshake(allowed: String) async throws {
        let isOpen = Locked(false)
        let server = try ScriptedServer { request in
            guard request.method == "OPTIONS" else { return .status(200) }
            guard isOpen.withLock({ $0 }) else {
                return .status(200, headers: ["WebHook-Allowed-Origin: somebody.else"])
            }
            return .status(
                200, headers: ["WebHook-Allowed-Origin: \(allowed)", "WebHook-Allowed-Rate: 6000"])
        }
        defer { server.stop() }
        let store = store(windows: 3)
        let reporter = reporter(store)
        var endpoint = EndpointConfiguration.test(.webhook, url: server.url("/hook"))
        endpoint.handshakeOrigin = "us.example"
        try await reporter.apply([endpoint])
        try await eventually("it asks again") { server.requests.count >= 3 }
        #expect(server.requests.allSatisfy { $0.method == "OPTIONS" && $0.body.isEmpty })
        #expect(server.requests.first?.headers["webhook-request-origin"] == "us.example")
        #expect(await reporter.status().first?.lastError?.contains("somebody.else") == true)
        isOpen.withLock { $0 = true }
        try await eventually("the cursor reaches the end") { store.cursor("e")?.sequence == 3 }
        let methods = server.requests.map(\.method)
        #expect(methods.suffix(4) == ["OPTIONS", "POST", "POST", "POST"])
        await reporter.drain(within: .seconds(30))
    }

    @Test("a redirection is not followed, and no secret goes with it", arguments: [301, 302, 307, 308])
    func redirect(status: Int) async throws {
        let folder = try Folder()
        try folder.write("t0ken", "token")
        let thief = try ScriptedServer { _ in .status(204) }
        let server = try ScriptedServer { _ in .status(status, headers: ["Location: \(thief.url("/steal"))"])
        }
        defer {
            server.stop()
            thief.stop()
        }
        let store = store()
        let reporter = reporter(store)
        var endpoint = EndpointConfiguration.test(.webhook, url: server.url())
        endpoint.secrets.tokenFile = folder.path + "/token"
        try await reporter.apply([endpoint])
        try await eventually("it is tried again and again") { await reporter.status()[0].retries >= 3 }
        #expect(thief.requests.isEmpty && store.cursor("e") == .start)
        #expect(await reporter.status().first?.lastError?.hasPrefix("HTTP \(status)") == true)
        await reporter.drain(within: .seconds(30))
    }
}
