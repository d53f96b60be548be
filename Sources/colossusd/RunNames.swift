import Telemetry

/// Whose the names of simulated runs are: a stream has one writer, the cluster's reporter or a run of this daemon alone.
final class RunNames: Sendable {
    private struct State {
        var shared: String?
        var own: Set<String> = []
    }

    /// Whether the cluster may have a run of which nobody knows the name yet.
    let mayShare: Bool
    private let state: Locked<State>

    /// - Parameter shared: the run that the cluster has in the configuration.
    init(mayShare: Bool, shared: String?) {
        self.mayShare = mayShare
        state = Locked(State(shared: shared))
    }

    /// The cluster's run.
    var shared: String? { state.withLock { $0.shared } }

    /// For the cluster, from now on.
    ///
    /// - Returns: whether no run of this daemon alone has it.
    func share(_ name: String) -> Bool {
        state.withLock { state in
            state.shared = name
            return !state.own.contains(name)
        }
    }

    /// For a run of this daemon alone, until it is given back; `false` when it is the cluster's.
    func take(_ name: String) -> Bool {
        state.withLock { state in
            guard state.shared != name else { return false }
            state.own.insert(name)
            return true
        }
    }

    /// Whether a run of this daemon alone has it.
    func isOwn(_ name: String) -> Bool { state.withLock { $0.own.contains(name) } }

    func giveBack(_ name: String) { _ = state.withLock { $0.own.remove(name) } }
}
