import Dispatch
import Logging
import QueueIsolation
public import Store
import Telemetry

// How a part leaves the process.

extension Reporter {
    /// Secrets that were read longer ago than this are read again before they are used.
    private static var secretsAgeMaxMs: Int64 { 10_000 }

    func send(_ part: Part, _ lane: LaneAddress) {
        let name = lane.endpoint
        guard let endpoint = endpoints[name], let body = endpoint.lanes.body(of: part, lane.number) else {
            return
        }
        if !endpoint.configuration.kind.isRequesting { return write(body, part, endpoint, lane) }
        if let pauseMs = pauseMs(name, nowMs: clock.nowMs()) { return send(part, lane, afterMs: pauseMs) }
        withSecrets(endpoint, lane) { reporter, secrets in
            guard let endpoint = reporter.endpoints[name] else { return }
            guard endpoint.isWelcome else { return reporter.shakeHands(lane, secrets) }
            // While secrets were read, another lane may have asked.
            let nowMs = reporter.clock.nowMs()
            if let pauseMs = reporter.pauseMs(name, nowMs: nowMs) {
                return reporter.send(part, lane, afterMs: pauseMs)
            }
            reporter.receivers[Reporter.owner(of: name)]?.pace.asked(nowMs: nowMs)
            let headers = endpoint.encoding.headers(for: part, form: endpoint.lanes.form(of: lane.number))
            let request = reporter.request(
                endpoint.configuration, secrets, headers: headers, body: body, id: part.id)
            reporter.endpoints[name]?.windowBytes.sent(body.count, of: part, lane: lane.number)
            reporter.endpoints[name]?.transfers[lane.number] = reporter.start(request) {
                [weak reporter] result in
                reporter?.onQueue { $0.finished(result, lane) }
            }
        }
    }

    /// How long the next request to its receiver has to wait; `nil` for not at all.
    private func pauseMs(_ name: String, nowMs: Int64) -> Int64? {
        let pauseMs = receivers[Self.owner(of: name)]?.pace.waitMs(nowMs: nowMs) ?? 0
        return pauseMs > 0 ? pauseMs : nil
    }

    /// The receiver said how many requests a minute it takes.
    private func send(_ part: Part, _ lane: LaneAddress, afterMs: Int64) {
        executor.queue.asyncAfter(deadline: .now() + .milliseconds(Int(afterMs))) { @Sendable [weak self] in
            self?.onQueue { reporter in
                guard reporter.endpoints[lane.endpoint]?.generation == lane.generation else { return }
                reporter.send(part, lane)
            }
        }
    }

    /// Asks whether events are welcome, before the first one; then the part goes out.
    private func shakeHands(_ lane: LaneAddress, _ secrets: Secrets) {
        let name = lane.endpoint
        guard let endpoint = endpoints[name], let origin = endpoint.configuration.handshakeOrigin else {
            return
        }
        var request = request(
            endpoint.configuration, secrets, headers: [HTTPHeader("WebHook-Request-Origin", origin)],
            body: [],
            id: nil)
        request.method = .options
        endpoints[name]?.transfers[lane.number] = start(request) { [weak self] result in
            self?.onQueue { reporter in
                guard reporter.endpoints[name]?.generation == lane.generation else { return }
                reporter.endpoints[name]?.transfers[lane.number] = nil
                reporter.welcomed(result, origin, lane)
            }
        }
    }

    private func welcomed(_ result: HTTPResult, _ origin: String, _ lane: LaneAddress) {
        let name = lane.endpoint
        guard case .response(let status, _, _, let details) = result.outcome, (200..<300).contains(status)
        else {
            if case .response(let status, let after, let reason, _) = result.outcome {
                // No refusal of what is in the part: later again.
                let text = "the handshake was answered with \(status)\(reason.isEmpty ? "" : ": " + reason)"
                let outcome =
                    status == 429 || status >= 500
                    ? AttemptOutcome.response(status: status, retryAfterMs: after, reason: text)
                    : .failed(.handshake, reason: text)
                return handle(.attempted(outcome), name, lane.number)
            }
            return handle(.attempted(result.outcome), name, lane.number)
        }
        guard let allowed = details.allowedOrigin, allowed == "*" || allowed == origin else {
            let said = details.allowedOrigin.map { "it allows \($0)" } ?? "it does not allow any origin"
            let outcome = AttemptOutcome.failed(.handshake, reason: "events are not welcome: \(said)")
            return handle(.attempted(outcome), name, lane.number)
        }
        endpoints[name]?.welcomed(ratePerMinute: details.allowedRate, nowMs: clock.nowMs())
        receivers[Self.owner(of: name), default: Receiver()].pace.allow(ratePerMinute: details.allowedRate)
        // The part that waits goes out now.
        if let part = endpoints[name]?.lanes.partOnItsWay(lane.number) { send(part, lane) }
    }

    /// Tries an endpoint without touching its cursor: a webhook gets an event of type `colossus.test`, databases an empty
    /// request, a file is opened.
    ///
    /// - Returns: `nil` when there is no endpoint of that name.
    public func test(_ name: String) async -> EndpointTestResult? {
        guard let endpoint = endpoints[name] else { return nil }
        let configuration = endpoint.configuration
        let result: HTTPResult
        if let test = endpoint.encoding.testRequest(nowMs: clock.nowMs()) {
            result = await attempt(endpoint, test, id: "test/\(clock.nowMs())")
        } else {
            result = HTTPResult(outcome: await files.check(configuration.target), seconds: 0)
        }
        let verdict = RetryPolicy.verdict(result.outcome, kind: configuration.kind)
        return Self.describe(result, configuration, verdict)
    }

    /// Sends a dead letter again, as it was, beside what the endpoint gets in order. Nothing is tried twice.
    ///
    /// - Returns: `nil` when there is no endpoint of that name that takes requests.
    public func resend(_ letter: DeadLetter) async -> EndpointTestResult? {
        guard let endpoint = endpoints[letter.endpoint], endpoint.configuration.kind.isRequesting else {
            return nil
        }
        let headers = letter.headers.map { HTTPHeader($0.name, $0.value) }
        let result = await attempt(endpoint, (headers, letter.body), id: letter.id)
        // A receiver of remote write 1.0 answers 2.0 well, and stores nothing.
        let isNew = headers.contains { $0.value == "2.0.0" }
        let form = WireForm(
            compression: endpoint.lanes.form(of: EndpointLanes.live).compression, version: isNew ? 2 : 1)
        let verdict = endpoint.encoding.verdict(result.outcome, form: form)
        return Self.describe(result, endpoint.configuration, verdict)
    }

    private static func describe(
        _ result: HTTPResult, _ configuration: EndpointConfiguration, _ verdict: Verdict
    ) -> EndpointTestResult {
        let succeeded = verdict == .delivered
        return EndpointTestResult(
            endpoint: configuration.name, succeeded: succeeded, isTemporary: verdict == .retry,
            status: result.outcome.status,
            seconds: result.seconds,
            message: "\(configuration.destination): \(succeeded ? "ok" : result.outcome.text)",
            response: result.outcome.responseBody
        )
    }

    private func attempt(
        _ endpoint: Endpoint, _ test: (headers: [HTTPHeader], body: [UInt8]), id: String
    ) async -> HTTPResult {
        let configuration = endpoint.configuration
        let secrets: Secrets
        switch await files.secrets(configuration.secrets, configuration.kind) {
        case .success(let read): secrets = read
        case .failure(let problem):
            return HTTPResult(outcome: .failed(.credentials, reason: problem.text), seconds: 0)
        }
        let request = request(configuration, secrets, headers: test.headers, body: test.body, id: id)
        return await withCheckedContinuation { continuation in
            _ = start(request) { continuation.resume(returning: $0) }
        }
    }

    private func start(_ request: HTTPRequest, done: @escaping @Sendable (HTTPResult) -> Void) -> Int? {
        guard let transfers else {
            done(HTTPResult(outcome: .failed(.transfer, reason: "libcurl cannot be used here"), seconds: 0))
            return nil
        }
        return transfers.assumeIsolated { $0.start(request, done: done) }
    }

    private func finished(_ result: HTTPResult, _ lane: LaneAddress) {
        let name = lane.endpoint
        guard let endpoint = endpoints[name], endpoint.generation == lane.generation else { return }
        endpoints[name]?.transfers[lane.number] = nil
        endpoints[name]?.meters.took(seconds: result.seconds)
        endpoints[name]?.lastSeconds = result.seconds
        // What was refused or failed may have had old secrets.
        let form = endpoint.lanes.form(of: lane.number)
        if endpoint.encoding.verdict(result.outcome, form: form) != .delivered {
            endpoints[name]?.known = nil
        }
        handle(.attempted(result.outcome), name, lane.number)
    }

    private func write(_ line: [UInt8], _ part: Part, _ endpoint: Endpoint, _ lane: LaneAddress) {
        let configuration = endpoint.configuration
        endpoints[lane.endpoint]?.windowBytes.sent(line.count, of: part, lane: lane.number)
        files.executor.queue.async { @Sendable [files, weak self] in
            let outcome = files.assumeIsolated {
                $0.append(line, id: part.id, from: lane.endpoint, to: configuration.target)
            }
            self?.reply(.attempted(outcome), to: lane)
        }
    }

    /// Goes on with the endpoint's secrets, which may have to be read first.
    private func withSecrets(
        _ endpoint: Endpoint, _ lane: LaneAddress,
        _ body: @escaping @Sendable (isolated Reporter, Secrets) -> Void
    ) {
        let places = endpoint.configuration.secrets
        guard !places.isEmpty else { return body(self, Secrets()) }
        // Read in the future: the clock was set back since.
        if let known = endpoint.known, (0..<Self.secretsAgeMaxMs).contains(clock.nowMs() - known.readMs) {
            return body(self, known.secrets)
        }
        let name = endpoint.configuration.name
        let kind = endpoint.configuration.kind
        files.executor.queue.async { @Sendable [files, weak self] in
            let read = files.assumeIsolated { $0.secrets(places, kind) }
            self?.onQueue { reporter in
                guard reporter.endpoints[name]?.generation == lane.generation else { return }
                switch read {
                case .success(let secrets):
                    reporter.endpoints[name]?.known = (secrets, reporter.clock.nowMs())
                    body(reporter, secrets)
                case .failure(let problem):
                    let outcome = AttemptOutcome.failed(.credentials, reason: problem.text)
                    reporter.handle(.attempted(outcome), name, lane.number)
                }
            }
        }
    }

    private func request(
        _ configuration: EndpointConfiguration, _ secrets: Secrets, headers: [HTTPHeader], body: [UInt8],
        id: String?
    ) -> HTTPRequest {
        var all =
            headers + configuration.headers.sorted { $0.key < $1.key }.map { HTTPHeader($0.key, $0.value) }
        all += secrets.headers
        if let id { all += secrets.signature(id: id, body: body, nowMs: clock.nowMs()) }
        return HTTPRequest(
            url: configuration.requestURL, headers: all, body: body,
            connectTimeoutMs: configuration.connectTimeoutMs, timeoutMs: configuration.timeoutMs,
            tls: tls(configuration.tls), hidden: Secrets.hidden(secrets, configuration)
        )
    }

    /// A credential that nobody passed stays a path that cannot be opened, so that the error names it.
    private func tls(_ tls: EndpointTLS) -> EndpointTLS {
        var resolved = tls
        func resolve(_ path: String?) -> String? {
            path.map { CredentialPath.resolve($0, in: credentialsFolder) ?? $0 }
        }
        resolved.caFile = resolve(tls.caFile)
        resolved.certificateFile = resolve(tls.certificateFile)
        resolved.keyFile = resolve(tls.keyFile)
        return resolved
    }
}
