import ControlAPI
import Reporting
import Settings
import Store
import Telemetry

// What the control interface asks of the endpoints.
extension Daemon {
    func endpoints() async throws -> [ControlAPI.EndpointStatus] { try await endpoints(isExact: true) }

    /// - Parameter isExact: what waits is counted by now, also where that takes a while.
    private func endpoints(isExact: Bool) async throws -> [ControlAPI.EndpointStatus] {
        let parts = try running()
        // Of an endpoint that gets events alone, there may be an older cursor over the windows.
        let accounts =
            try await (isExact ? parts.store.endpointRecords() : parts.store.recentEndpointRecords())
        let events = try await parts.store.eventRecords()
        let configured = Set(
            settings.endpoints.map { EndpointConfiguration($0) }.compactMap(\.eventCursor?.name))
        let nowMs = clock.nowMs()
        return await parts.reporter.status().map { status in
            let records = configured.contains(status.name) ? events : accounts
            return ControlAPI.EndpointStatus(
                status, records.first { $0.endpoint == status.name }, nowMs: nowMs)
        }
    }

    /// Every two seconds, for `/metrics`: what only the store knows. Long backlogs are counted less often.
    func measureEndpoints() async {
        guard let endpoints = try? await endpoints(isExact: false) else { return }
        await forgetReplays()
        for endpoint in endpoints where !endpoint.name.hasSuffix("#replay") {
            metrics.gauge(
                "colossus_report_oldest_pending_seconds",
                "Age of the oldest window that the endpoint has not got, in seconds.",
                ["endpoint": endpoint.name]
            ).set(endpoint.oldestPendingSeconds ?? 0)
            metrics.gauge(
                "colossus_report_undelivered_windows",
                "Windows that the endpoint wants and has not got.", ["endpoint": endpoint.name]
            ).set(Double(endpoint.pending))
            gauge(
                "colossus_report_undelivered_bytes", endpoint, endpoint.pendingBytes.map(Double.init),
                "What would be sent for them, by the mean of the windows that were sent lately, in bytes.")
            gauge(
                "colossus_report_backlog_windows", endpoint, endpoint.backlog.map(Double.init),
                "Those of them that are older than some that the endpoint has got.")
            gauge(
                "colossus_report_live_seconds", endpoint, endpoint.liveSeconds,
                "Age of the oldest window that the lane of new windows has not got, in seconds.")
        }
    }

    private func gauge(
        _ name: String, _ endpoint: ControlAPI.EndpointStatus, _ value: Double?, _ help: String
    ) {
        // Not known, or no more, since the endpoint was configured otherwise.
        guard let value else { return metrics.remove(name, ["endpoint": endpoint.name]) }
        metrics.gauge(name, help, ["endpoint": endpoint.name]).set(value)
    }

    /// The cursor of a replay that is over would hold windows in the store. Cursors are looked at first: one that is there
    /// belongs to a replay that the reporter knows already, or to none.
    private func forgetReplays() async {
        guard let parts, let records = try? await parts.store.recentEndpointRecords() else { return }
        let lanes = records.map(\.endpoint).filter { $0.hasSuffix("#replay") }
        guard !lanes.isEmpty else { return }
        let names = Set(await parts.reporter.status().map(\.name))
        for lane in lanes where !names.contains(lane) {
            try? await parts.store.removeCursor(endpoint: lane)
        }
    }

    /// A request to drain waits for so long; the caller asks again.
    private static let drainMsMax: Int64 = 15_000

    func changeEndpoint(name: String, _ action: EndpointAction) async throws -> EndpointChangeReply {
        let parts = try running()
        guard await parts.reporter.status().contains(where: { $0.name == name }) else { throw unknown(name) }
        var (isDone, message) = (true, "")
        switch action {
        case .pause:
            try await parts.store.setPaused(endpoint: name, true)
            _ = await parts.reporter.setPaused(name, true)
            message = "rests after what is on its way; windows wait in the store"
        case .resume:
            try await parts.store.setPaused(endpoint: name, false)
            _ = await parts.reporter.setPaused(name, false)
            message = "goes on"
        case .drain:
            isDone = try await drain(name, parts)
            let rests = try await parts.store.pausedEndpoints().contains(name)
            message =
                isDone
                ? "has got everything, and rests"
                : rests ? "has not got everything yet, and rests as before" : "is still being sent to"
        case .replay(let replay):
            try await start(replay, of: name, parts)
            message = "gets windows from \(replay.from) to \(replay.to) once more, as \(name)#replay"
        }
        let now = try await endpoints().first { $0.name == name }
        guard let now else { throw unknown(name) }
        return EndpointChangeReply(now, done: isDone, message: message)
    }

    /// Afterwards it is as the store says: it rests when it has got everything, and when it rested before.
    private func drain(_ name: String, _ parts: DaemonParts) async throws -> Bool {
        _ = await parts.reporter.setPaused(name, false)
        do {
            let isDone = try await hasGotAll(name, parts)
            if isDone { try await parts.store.setPaused(endpoint: name, true) }
            try await restIfToldTo(name, parts)
            return isDone
        } catch {
            try? await restIfToldTo(name, parts)
            throw error
        }
    }

    private func restIfToldTo(_ name: String, _ parts: DaemonParts) async throws {
        let paused = try await parts.store.pausedEndpoints()
        guard !paused.isDisjoint(with: [name, name + "#events"]) else { return }
        _ = await parts.reporter.setPaused(name, true)
    }

    private func hasGotAll(_ name: String, _ parts: DaemonParts) async throws -> Bool {
        let began = clock.nowMs()
        while clock.nowMs() - began < Self.drainMsMax {
            await parts.reporter.hurry(name)
            // What takes a while to count is counted only when little seems to be left.
            if try await hasNothingPending(name, isExact: false),
                try await hasNothingPending(name, isExact: true)
            {
                return true
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        return false
    }

    private func hasNothingPending(_ name: String, isExact: Bool) async throws -> Bool {
        let lanes = try await endpoints(isExact: isExact).filter {
            $0.name == name || $0.name == name + "#events"
        }
        return !lanes.isEmpty && lanes.allSatisfy { $0.pending == 0 }
    }

    private func start(_ replay: EndpointReplay, of name: String, _ parts: DaemonParts) async throws {
        guard replay.from.ms < replay.to.ms else {
            throw ControlError(
                .badRequest, "\(replay.from) is not before \(replay.to).", hint: "Say --from and then --to.")
        }
        let lane = name + "#replay"
        guard !name.contains("#"), await !parts.reporter.status().contains(where: { $0.name == lane }) else {
            throw ControlError(
                .conflict, "\(name) is replaying already.",
                hint: "`colossusctl endpoints list` shows \(lane).")
        }
        // A cursor that an earlier process left behind would be gone on with.
        try await parts.store.removeCursor(endpoint: lane)
        _ = await parts.reporter.replay(name, startingIn: replay.from.ms..<replay.to.ms)
    }

    private func unknown(_ name: String) -> ControlError {
        let names = settings.endpoints.map(\.name).joined(separator: ", ")
        return ControlError(
            .notFound, "There is no endpoint \(name).",
            hint: names.isEmpty ? "The configuration has none." : "There are: \(names).")
    }

    func testEndpoint(name: String) async throws -> EndpointTestReply {
        guard let result = try await running().reporter.test(name) else { throw unknown(name) }
        return EndpointTestReply(
            name: name, ok: result.succeeded, status: result.status == 0 ? nil : result.status,
            milliseconds: result.seconds * 1_000, message: result.message)
    }
}

extension ControlAPI.EndpointStatus {
    init(_ status: Reporting.EndpointStatus, _ account: EndpointRecord?, nowMs: Int64) {
        let state: State =
            switch status.state {
            case .disabled, .stopped: .disabled
            case .retrying: .retrying
            case .paused: .paused
            case .starting, .idle: .idle
            case .sending: .ok
            }
        self.init(
            name: status.name, kind: status.kind.rawValue, target: status.destination,
            state: status.failuresInARow > 0 && state != .disabled && state != .paused ? .retrying : state)
        // Of a replay, the store does not know what it wants.
        let account = status.name.hasSuffix("#replay") ? nil : account
        pending = Int(account?.pending ?? status.pendingWindows)
        oldestPending = account?.oldestPendingMs.map { UTCTime(ms: $0) }
        delivered = account?.deliveredParts ?? Int64(status.deliveredParts)
        samples = account?.deliveredSamples ?? Int64(status.deliveredSamples)
        dead = account?.dead ?? Int64(status.deadLetters)
        // Also of a part that fails beside others.
        lastError =
            status.failuresInARow > 0 || state == .disabled || state == .retrying ? status.lastError : nil
        retryAt = status.nextRetryMs.map { UTCTime(ms: $0) }
        lastDelivered = status.lastDeliveredMs.map { UTCTime(ms: $0) }
        retried = Int64(status.retries)
        var dropped = status.dropped.mapValues(Int64.init)
        if let account, account.coarsened > 0 { dropped["coarsened"] = account.coarsened }
        if let account, account.dropped > 0 { dropped["dropped"] = account.dropped }
        self.dropped = dropped.isEmpty ? nil : dropped
        inFlight = status.isSending
        latencySeconds = status.lastSeconds
        oldestPendingSeconds = account?.oldestPendingMs.map { max(0, Double(nowMs - $0) / 1_000) }
        circuit = status.circuit.rawValue
        form = status.form.isEmpty ? nil : status.form
        pendingBytes = pending == 0 ? 0 : status.windowBytes.map { Int64(Double(pending) * $0) }
        requests = status.inFlight
        requestsMax = status.inFlightMax
        guard status.takesAnyOrder, let account else { return }
        backlog = Int(account.backlog)
        liveSeconds = account.oldestLiveMs.map { max(0, Double(nowMs - $0) / 1_000) } ?? 0
    }
}
