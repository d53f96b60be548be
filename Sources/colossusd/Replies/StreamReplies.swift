import Aggregation
import ControlAPI
import Telemetry

extension ControlAPI.StreamStatus {
    /// Seconds that a stream may be behind before status says so, beside the lateness that windows wait for.
    private static let lagMaxSeconds = 60.0
    /// A run that is further behind its pace than this does not keep up, in seconds of the wall clock.
    private static let runLagMaxSeconds = 5.0

    init(_ status: Aggregation.StreamStatus, rate: Double, run: SimulationStatus?) {
        let (isGood, words) = Self.verdict(status, run)
        self.init(
            stream: status.stream.name, kind: status.stream.isSimulated ? .simulated : .measured,
            keepingUp: isGood, verdict: words)
        watermark = status.watermarkMs.map { UTCTime(ms: $0) }
        closedThrough = status.closedThroughMs.map { UTCTime(ms: $0) }
        lagSeconds = run?.lagSeconds ?? (status.watermarkMs == nil ? nil : Double(status.lagMs) / 1_000)
        series = status.seriesCount
        samples = SampleAccount(status.ledger)
        samplesPerSecond = rate
        senders = status.senders.count
    }

    private static func verdict(
        _ status: Aggregation.StreamStatus, _ run: SimulationStatus?
    ) -> (Bool, String) {
        if let run {
            switch run.state {
            case .starting, .running: break
            case .paused, .finished, .stopped, .failed: return (true, run.state.rawValue)
            }
            let isGood = run.lagSeconds < runLagMaxSeconds
            return (isGood, isGood ? "keeping up" : "falling behind")
        }
        guard status.watermarkMs != nil else { return (true, "idle") }
        if status.unclosedWindowCount > 2 { return (false, "waiting for the store") }
        let isGood = Double(status.lagMs) / 1_000 < lagMaxSeconds
        return (isGood, isGood ? "keeping up" : "catching up")
    }
}
