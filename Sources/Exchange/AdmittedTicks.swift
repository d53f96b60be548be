public import Telemetry

/// The way of a shared run's ticks into its core: the next one waits until there is room for its window.
public struct AdmittedTicks: FleetSink {
    private let core: any FleetSink
    private let windows: ClosedWindows

    public init(_ core: any FleetSink, _ windows: ClosedWindows) {
        self.core = core
        self.windows = windows
    }

    public func offer(_ tick: any FleetTick, stream: StreamIndex, done: @escaping @Sendable () -> Void) {
        let windows = windows
        core.offer(tick, stream: stream) { windows.admit(done) }
    }
}
