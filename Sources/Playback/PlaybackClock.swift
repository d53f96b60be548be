public import Dispatch

/// The wall clock of a run, so that tests bring one that they turn by hand.
public protocol PlaybackClock: Sendable {
    /// Monotonic, nanoseconds.
    func nowNs() -> Int64
    /// Runs `work` on `queue` once so much time has passed.
    func after(nanoseconds: Int64, on queue: DispatchQueue, _ work: @escaping @Sendable () -> Void)
}

/// The real one.
public struct SystemPlaybackClock: PlaybackClock {
    public init() {}

    public func nowNs() -> Int64 { Int64(DispatchTime.now().uptimeNanoseconds) }

    public func after(nanoseconds: Int64, on queue: DispatchQueue, _ work: @escaping @Sendable () -> Void) {
        // `asyncAfter` would be up to a tenth of the delay late.
        guard let timer = DispatchSource.makeTimerSource(queue: queue) as? DispatchSource else { return }
        timer.schedule(deadline: .now() + .nanoseconds(Int(nanoseconds)), leeway: .milliseconds(1))
        // The handler keeps the timer until it has fired.
        timer.setEventHandler { @Sendable in
            timer.cancel()
            work()
        }
        timer.activate()
    }
}
