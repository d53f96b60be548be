import ControlAPI
import Exchange
import Playback
import Settings
import Telemetry

// The end of a run that was started, and that this member does not play or report.
extension ClusterNode {
    /// Ends the run that was started last.
    ///
    /// - Returns: how it was started; `nil` when it has another name, or is over.
    func stop(_ run: String) async throws -> SharedStart? {
        let (bus, clock) = (try await broker(), around.clock)
        let machine = StopMachine(
            cluster: settings.name, name: run, member: name,
            decode: { [self] bytes in
                (try? decode(bytes)).map { ($0.name, $0.number, $0.map?.fingerprint) }
            },
            decodeAgreed: { ClusterAgreement.subject(of: $0) }, nowMs: { clock.nowMs() })
        let shell = NodeShell(machine, bus: bus, clock: ClusterMember.nowMs)
        defer { shell.stop() }
        while true {
            shell.tick()
            if let answer = shell.withMachine({ $0.answer }) {
                switch answer {
                case .success(let bytes): return try SharedStart(decoding: bytes)
                case .failure(.isNotThere), .failure(.isOver): return nil
                case .failure(.isUnknown(let error)): throw error
                case .failure(.unreadable(let text)): throw BusError.failed(text)
                }
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}

extension Daemon {
    /// Ends a run that was started for all, where this member takes no part in it, or nobody has begun to play it.
    ///
    /// - Returns: `nil` when it is no such run.
    func stopUnplayed(_ run: String) async throws -> SimulationStatus? {
        guard let node = try running().cluster, !node.names.isOwn(run) else { return nil }
        if let control = node.member?.parts.control, control.fleet.run == run, control.status.log != nil {
            return nil
        }
        let start: SharedStart?
        do {
            start = try await node.stop(run)
        } catch let error as BusError {
            // What it has alone is no matter of the brokers.
            guard node.member == nil || node.names.shared == run else { return nil }
            let words = ClusterNode.words(error)
            if case .denied = error {
                throw ControlError(.failed, "Run \(run) is not stopped: \(words).")
            }
            throw ControlError(.tryAgain, "Run \(run) may not be stopped: \(words).", hint: "Try again.")
        }
        guard let start else { return nil }
        let asked = UTCTime(ms: start.askedMs)
        var status = SimulationStatus(
            run: run, scenario: start.path, seed: start.seed, state: .stopped,
            speed: Pace.times(start.speed).description, start: asked, end: asked,
            now: TimelineRow(time: asked))
        status.message = "this member took no part in it"
        return status
    }
}
