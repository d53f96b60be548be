import ControlAPI
import Reporting
import Settings
import Store
import Telemetry

// What the control interface asks of the endpoints.
extension Daemon {
    func endpoints() async throws -> [ControlAPI.EndpointStatus] {
        let parts = try running()
        let accounts = try await parts.store.endpointRecords()
        return await parts.reporter.status().map { status in
            ControlAPI.EndpointStatus(status, accounts.first { $0.endpoint == status.name })
        }
    }

    func testEndpoint(name: String) async throws -> EndpointTestReply {
        guard let result = try await running().reporter.test(name) else {
            let names = settings.endpoints.map(\.name).joined(separator: ", ")
            throw ControlError(
                .notFound, "There is no endpoint \(name).",
                hint: names.isEmpty ? "The configuration has none." : "There are: \(names).")
        }
        return EndpointTestReply(
            name: name, ok: result.succeeded, status: result.status == 0 ? nil : result.status,
            milliseconds: result.seconds * 1_000, message: result.message)
    }
}

extension ControlAPI.EndpointStatus {
    init(_ status: Reporting.EndpointStatus, _ account: EndpointRecord?) {
        let state: State =
            switch status.state {
            case .disabled, .stopped: .disabled
            case .retrying: .retrying
            case .starting, .idle: .idle
            case .sending: .ok
            }
        self.init(
            name: status.name, kind: status.kind.rawValue, target: status.destination,
            state: status.failuresInARow > 0 && state != .disabled ? .retrying : state)
        pending = Int(account?.pending ?? status.pendingWindows)
        oldestPending = account?.oldestPendingMs.map { UTCTime(ms: $0) }
        delivered = account?.deliveredParts ?? Int64(status.deliveredParts)
        samples = account?.deliveredSamples ?? Int64(status.deliveredSamples)
        dead = account?.dead ?? Int64(status.deadLetters)
        lastError = status.failuresInARow > 0 || state == .disabled ? status.lastError : nil
        retryAt = status.nextRetryMs.map { UTCTime(ms: $0) }
    }
}
