import Dispatch
import Logging
import QueueIsolation
import Telemetry

// How a part leaves the process.

extension Reporter {
    /// A token that was read longer ago than this is read again before it is used.
    private static var tokenAgeMaxMs: Int64 { 60_000 }

    func send(_ part: Part, _ name: String) {
        guard let endpoint = endpoints[name], let body = endpoint.machine.body(of: part) else { return }
        if endpoint.configuration.kind == .file { return write(body, part, endpoint) }
        withToken(endpoint) { reporter, token in
            guard let endpoint = reporter.endpoints[name] else { return }
            let request = Reporter.request(
                endpoint.configuration, headers: endpoint.encoding.headers(for: part), body: body,
                token: token
            )
            let generation = endpoint.generation
            reporter.endpoints[name]?.transfer = reporter.start(request) { [weak reporter] result in
                reporter?.onQueue { $0.finished(result, name, generation) }
            }
        }
    }

    /// Tries an endpoint without touching its cursor: a webhook gets an event of type `colossus.test`, remote write an
    /// empty request, a file is opened.
    ///
    /// - Returns: `nil` when there is no endpoint of that name.
    public func test(_ name: String) async -> EndpointTestResult? {
        guard let endpoint = endpoints[name] else { return nil }
        let configuration = endpoint.configuration
        let result: HTTPResult
        switch endpoint.encoding {
        case let webhook as WebhookEndpoint:
            result = await attempt(endpoint, webhook.testRequest(nowMs: clock.nowMs()))
        case let remoteWrite as RemoteWriteEndpoint:
            result = await attempt(endpoint, remoteWrite.testRequest)
        default:
            result = HTTPResult(outcome: await files.check(configuration.path), seconds: 0)
        }
        let succeeded = RetryPolicy.verdict(result.outcome, kind: configuration.kind) == .delivered
        return EndpointTestResult(
            endpoint: name, succeeded: succeeded, status: result.outcome.status, seconds: result.seconds,
            message: "\(configuration.destination): \(succeeded ? "ok" : result.outcome.text)"
        )
    }

    private func attempt(_ endpoint: Endpoint, _ test: (headers: [HTTPHeader], body: [UInt8])) async
        -> HTTPResult
    {
        let configuration = endpoint.configuration
        var token: String?
        if let path = configuration.bearerTokenFile {
            switch await files.token(path) {
            case .success(let read): token = read
            case .failure(let problem):
                return HTTPResult(outcome: .failed(.credentials, reason: problem.text), seconds: 0)
            }
        }
        let request = Self.request(configuration, headers: test.headers, body: test.body, token: token)
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

    private func finished(_ result: HTTPResult, _ name: String, _ generation: Int) {
        guard endpoints[name]?.generation == generation else { return }
        endpoints[name]?.transfer = nil
        endpoints[name]?.meters.took(seconds: result.seconds)
        // What was refused or failed may have had an old token.
        if RetryPolicy.verdict(result.outcome, kind: .webhook) != .delivered { endpoints[name]?.token = nil }
        handle(.attempted(result.outcome), name)
    }

    private func write(_ line: [UInt8], _ part: Part, _ endpoint: Endpoint) {
        let path = endpoint.configuration.path
        let sync = endpoint.configuration.fsync
        let generation = endpoint.generation
        files.executor.queue.async { @Sendable [files, weak self] in
            let outcome = files.assumeIsolated { $0.append(line, id: part.id, to: path, sync: sync) }
            self?.reply(.attempted(outcome), endpoint.configuration.name, generation)
        }
    }

    /// Goes on with the endpoint's token, which may have to be read first.
    private func withToken(
        _ endpoint: Endpoint, _ body: @escaping @Sendable (isolated Reporter, String?) -> Void
    ) {
        guard let path = endpoint.configuration.bearerTokenFile else { return body(self, nil) }
        if let token = endpoint.token, clock.nowMs() - endpoint.tokenReadMs < Self.tokenAgeMaxMs {
            return body(self, token)
        }
        let name = endpoint.configuration.name
        let generation = endpoint.generation
        files.executor.queue.async { @Sendable [files, weak self] in
            let read = files.assumeIsolated { $0.token(path) }
            self?.onQueue { reporter in
                guard reporter.endpoints[name]?.generation == generation else { return }
                switch read {
                case .success(let token):
                    reporter.endpoints[name]?.token = token
                    reporter.endpoints[name]?.tokenReadMs = reporter.clock.nowMs()
                    body(reporter, token)
                case .failure(let problem):
                    reporter.handle(.attempted(.failed(.credentials, reason: problem.text)), name)
                }
            }
        }
    }

    private static func request(
        _ configuration: EndpointConfiguration, headers: [HTTPHeader], body: [UInt8], token: String?
    ) -> HTTPRequest {
        var all =
            headers + configuration.headers.sorted { $0.key < $1.key }.map { HTTPHeader($0.key, $0.value) }
        if let token { all.append(HTTPHeader("Authorization", "Bearer " + token)) }
        return HTTPRequest(
            url: configuration.url, headers: all, body: body,
            connectTimeoutMs: configuration.connectTimeoutMs, timeoutMs: configuration.timeoutMs,
            caFile: configuration.caFile
        )
    }
}

// What an operator reads about it.

extension Reporter {
    func log(_ notice: EndpointStateMachine.Notice, _ name: String) {
        let endpoint: Logger.Metadata = ["endpoint": "\(name)"]
        switch notice {
        case .failing(let reason):
            logger.warning(
                "endpoint does not work; summaries wait in the store",
                metadata: endpoint.merging(["reason": "\(reason)"]) { $1 })
        case .recovered(let attempts):
            logger.notice(
                "endpoint works again", metadata: endpoint.merging(["failed_attempts": "\(attempts)"]) { $1 })
        case .refused(let samples, let reason):
            logger.error(
                "endpoint refused samples for good; they are kept as dead letters",
                metadata: endpoint.merging([
                    "event": "endpoint_refused", "samples": "\(samples)", "reason": "\(reason)",
                ]) { $1 })
        case .disabled(let reason):
            logger.error(
                "endpoint wants nothing any more and is disabled",
                metadata: endpoint.merging(["reason": "\(reason)"]) { $1 })
        case .dropped(let samples, let reason):
            logger.warning(
                "samples are not sent",
                metadata: endpoint.merging(["samples": "\(samples)", "reason": "\(reason.rawValue)"]) { $1 })
        case .storeFailing:
            logger.warning("the store does not answer; the endpoint waits", metadata: endpoint)
        }
    }
}
