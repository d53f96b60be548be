public import Dispatch
public import Simulation
public import Telemetry

/// An `EventReplay` that is made elsewhere, because going through months of a run takes its time: whoever has news does not
/// wait for it, and each is followed in its order once it is there.
public final class EventFollower: Sendable {
    /// How many faults came too late.
    public typealias Done = @Sendable (_ missed: Int) -> Void

    private struct News {
        var injections: [FaultInjection]
        var turns: [PlaybackTurn]
        var done: Done
    }

    private struct State {
        var replay: EventReplay?
        var isMaking = false
        var waiting: [News] = []
    }

    private let state = Locked(State())
    private let queue: DispatchQueue
    private let make: @Sendable ([FaultInjection], [PlaybackTurn]) -> EventReplay

    /// - Parameters:
    ///   - queue: where it is made; may be held up.
    ///   - make: of all that is known at first.
    public init(
        on queue: DispatchQueue, _ make: @escaping @Sendable ([FaultInjection], [PlaybackTurn]) -> EventReplay
    ) {
        self.queue = queue
        self.make = make
    }

    /// - Parameter done: called once the events are told by these; on any thread.
    public func follow(
        _ injections: [FaultInjection], _ turns: [PlaybackTurn], done: @escaping Done
    ) {
        enum Step { case make, wait, done(Int) }
        let step = state.withLock { state -> Step in
            // Those before come first.
            if state.isMaking || !state.waiting.isEmpty {
                state.waiting.append(News(injections: injections, turns: turns, done: done))
                return .wait
            }
            if let count = state.replay?.follow(injections, turns) { return .done(count) }
            state.isMaking = true
            return .make
        }
        switch step {
        case .wait: break
        case .done(let count): done(count)
        case .make:
            queue.async { @Sendable [self] in
                let replay = make(injections, turns)
                state.withLock { $0.replay = replay }
                done(0)
                followWaiting()
            }
        }
    }

    private func followWaiting() {
        while let (count, done) = followNext() { done(count) }
    }

    private func followNext() -> (Int, Done)? {
        state.withLock { state in
            guard let next = state.waiting.first else {
                state.isMaking = false
                return nil
            }
            state.waiting.removeFirst()
            return (state.replay?.follow(next.injections, next.turns) ?? 0, next.done)
        }
    }

    /// What happens before that time and was not told yet, in order; nothing before it is made.
    public func events(before timeMs: Int64) -> [Event] {
        state.withLock { $0.replay?.events(before: timeMs) ?? [] }
    }
}
