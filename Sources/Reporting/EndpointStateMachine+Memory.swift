import Store

// Which series were there before, so that those that come to their end can be told.

extension EndpointStateMachine {
    /// Before the first window: what the endpoint got last, also before a restart.
    mutating func recall(_ nowMs: Int64, _ actions: inout [Action]) {
        guard memory != nil, reached.sequence > 0 else { return fetch(nowMs, &actions) }
        actions.append(.recall(through: reached.sequence))
    }

    /// What cannot be read is not known: then the first window ends nothing.
    mutating func recalled(_ windows: [StoredWindow], _ nowMs: Int64, _ actions: inout [Action]) {
        for presence in windows.map({ SeriesPresence(configuration.selected($0)) }) { memory?.note(presence) }
        fetch(nowMs, &actions)
    }

    /// A window, or some that went together, got their answers.
    mutating func finishWindow() {
        if let after = progress?.grid.memory { memory = after }
        progress = nil
    }
}
