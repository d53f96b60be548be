import Store
import Telemetry

/// Puts windows that follow each other into one request, where all of them fit.
struct WindowGatherer: Sendable {
    /// As many as will fit, from what was seen; encoding a few too many costs time.
    private(set) var likely: Int

    init(likely: Int = BatchLimits.windowsRange.upperBound) { self.likely = likely }

    /// - Parameters:
    ///   - one: the window that is next.
    ///   - fetched: those after it, the next one last; those that go with it are taken out.
    ///   - configuration: a window that it does not send ends the batch.
    /// - Returns: `nil` where it goes alone.
    mutating func take(
        _ one: Consignment, _ fetched: inout [Consignment], _ encoding: any EndpointEncoding,
        _ configuration: EndpointConfiguration, _ memory: SeriesMemory?, _ nowMs: Int64
    ) -> WindowProgress? {
        let limits = configuration.batch
        // A revision has the times of a window that may be in the same request.
        guard limits.windowsMax > 1, case .window(let first) = one, first.summary.revision == 0 else {
            return nil
        }
        let most = min(limits.windowsMax, likely)
        var windows = [first]
        for case .window(let next) in fetched.reversed() {
            guard windows.count < most, next.summary.revision == 0,
                configuration.dropReason(next, nowMs) == nil
            else { break }
            windows.append(next)
        }
        func isWhole(_ progress: WindowProgress) -> Bool {
            var trial = progress
            _ = trial.nextPart()
            return trial.isFinished
        }
        while windows.count > 1 {
            let all = Consignment.windows(windows)
            let plain = WindowProgress(all, grid: encoding.grid(for: all), limits: limits, skipping: 0)
            if isWhole(plain) {
                // What ends series, which costs more to find out, goes alone.
                let whole =
                    memory == nil
                    ? plain
                    : WindowProgress(
                        all, grid: encoding.grid(for: all, after: memory), limits: limits, skipping: 0)
                guard isWhole(whole) else { return nil }
                fetched.removeLast(windows.count - 1)
                likely = windows.count * 2
                return whole
            }
            windows.removeLast((windows.count + 1) / 2)
        }
        likely = 2
        return nil
    }
}
