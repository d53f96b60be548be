import Dispatch
import Logging
import Store
import Telemetry

// What an operator does to endpoints.

extension Reporter {
    /// Behind the name of an endpoint: the lane that sends a stretch of the history once more.
    static var replayMark: String { "#replay" }

    /// Lets an endpoint rest, after what is on its way, or go on at once: also one that was disabled or waits. Its events and
    /// its replay do the same.
    ///
    /// - Returns: `false` when there is no endpoint of that name.
    public func setPaused(_ name: String, _ isPaused: Bool) -> Bool {
        guard endpoints[name] != nil else { return false }
        logger.notice(
            isPaused ? "endpoint is paused" : "endpoint goes on", metadata: ["endpoint": "\(name)"])
        if !isPaused { receivers[Self.owner(of: name)]?.quietUntilMs = nil }
        let names = [name, name + EndpointConfiguration.eventsMark, name + Self.replayMark]
        for lane in names where endpoints[lane] != nil { handle(isPaused ? .pause : .resume, lane) }
        return true
    }

    /// Windows that wait for others to go in one request go out now.
    public func hurry(_ name: String) {
        for lane in [name, name + EndpointConfiguration.eventsMark] where endpoints[lane] != nil {
            handle(.hurry, lane)
        }
    }

    /// Sends windows that start in a stretch of time once more, in order, beside what the endpoint gets anyway. It is an
    /// endpoint of its own in all lists, `NAME#replay`, and gone when it is done; it ends with the process. While the endpoint
    /// rests it rests, too.
    ///
    /// The cursor `NAME#replay` must have been removed from the store.
    ///
    /// - Parameter range: Unix milliseconds, of the windows' starts.
    /// - Returns: `false` when there is no endpoint of that name, or when it replays already.
    public func replay(_ name: String, startingIn range: Range<Int64>) -> Bool {
        guard let endpoint = endpoints[name], endpoints[name + Self.replayMark] == nil,
            !name.contains("#"), endpoint.configuration.feed == .windows
        else { return false }
        var lane = endpoint.configuration
        lane.name = name + Self.replayMark
        lane.fromBeginning = true
        if !lane.sendsRevisions {
            // A sample cannot be replaced. A revision stands behind later windows: only where any order is taken it can
            // come in place of what was closed first.
            lane.sendsRevisions = lane.takesAnyOrder
            lane.selection.newestRevisions = lane.takesAnyOrder
        }
        // What came after these windows was sent before.
        lane.staleAfterMs = nil
        lane.selection.startsMs = range
        lane.takesAnyOrder = false
        start(lane, isPaused: endpoint.lanes.isPaused)
        return true
    }

    /// A replay that has sent all is over.
    func endReplay(_ name: String) {
        guard name.hasSuffix(Self.replayMark), let endpoint = endpoints[name],
            endpoint.lanes.isIdle
        else { return }
        let account = endpoint.lanes.account
        logger.notice(
            "replay is done",
            metadata: [
                "endpoint": "\(Self.owner(of: name))",
                "parts": "\(account.partsDelivered + account.partsCut)",
                "samples": "\(account.samples)", "dead_letters": "\(account.deadLetters)",
            ])
        forget(name)
    }
}
