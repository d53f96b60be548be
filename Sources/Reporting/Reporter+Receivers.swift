import Store
import Telemetry

// What counts for all names of one endpoint: for its windows (`NAME`), its events (`NAME#events`) and its replay
// (`NAME#replay`), which have cursors of their own and the same receiver.
extension Reporter {
    /// What the receiver of an endpoint has said of itself.
    struct Receiver {
        /// So many requests a minute, whatever is in them.
        var pace = RequestPace()
        /// It wants no requests before that; wall clock, Unix milliseconds.
        var quietUntilMs: Int64?
    }

    /// The endpoint that a name belongs to.
    static func owner(of name: String) -> String { String(name.prefix { $0 != "#" }) }

    /// The other names of the same endpoint that are there.
    func relatives(of name: String) -> [String] {
        let owner = Self.owner(of: name)
        return [owner, owner + EndpointConfiguration.eventsMark, owner + Self.replayMark].filter {
            $0 != name && endpoints[$0] != nil
        }
    }

    /// Tells the others what came of an attempt, where it says something of the receiver.
    ///
    /// - Parameters:
    ///   - retries: attempts of this name that had failed before.
    ///   - wasDisabled: it had said before that it wants nothing any more.
    func passOn(_ outcome: AttemptOutcome, of name: String, retries: Int, wasDisabled: Bool) {
        guard let endpoint = endpoints[name] else { return }
        if endpoint.lanes.isDisabled, !wasDisabled {
            for other in relatives(of: name) { handle(.gone(outcome.text), other) }
        }
        guard endpoint.lanes.account.retries > retries, case .response(_, let after?, _, _) = outcome
        else { return }
        let pauseMs = min(after, endpoint.configuration.backoff.retryAfterMaxMs)
        receivers[Self.owner(of: name), default: Receiver()].quietUntilMs = clock.nowMs() + pauseMs
        for other in relatives(of: name) { handle(.quiet(forMs: pauseMs), other) }
    }

    /// A name that begins beside others of its endpoint is told what they were told.
    func tellOfReceiver(_ name: String) {
        if let gone = relatives(of: name).first(where: { endpoints[$0]?.lanes.isDisabled ?? false }) {
            handle(.gone(endpoints[gone]?.lanes.account.lastError ?? ""), name)
        }
        guard let endpoint = endpoints[name],
            let untilMs = receivers[Self.owner(of: name)]?.quietUntilMs
        else { return }
        // The clock may have been set back since.
        let leftMs = min(untilMs - clock.nowMs(), endpoint.configuration.backoff.retryAfterMaxMs)
        if leftMs > 0 { handle(.quiet(forMs: leftMs), name) }
    }
}
