import Exchange
import Telemetry

/// A clock that stands still until somebody runs what is due; one thread.
final class VirtualTime: Scheduler {
    private struct Due {
        var atMs: Int64
        var number: Int
        var body: @Sendable () -> Void
    }

    private struct State {
        var nowMs: Int64 = 0
        var number = 0
        /// A binary heap: the earliest first, and of one time what was asked for first.
        var heap: [Due] = []
    }

    private let state = Locked(State())

    var nowMs: Int64 { state.withLock { $0.nowMs } }
    var wallClock: WallClock { WallClock { [self] in nowMs } }

    func after(_ delayMs: Int64, _ body: @escaping @Sendable () -> Void) {
        state.withLock { state in
            state.number += 1
            state.heap.append(Due(atMs: state.nowMs + max(0, delayMs), number: state.number, body: body))
            var place = state.heap.count - 1
            while place > 0, Self.isBefore(state.heap[place], state.heap[(place - 1) / 2]) {
                state.heap.swapAt(place, (place - 1) / 2)
                place = (place - 1) / 2
            }
        }
    }

    /// Runs what is due next; `false` when nothing is, or only after `untilMs`.
    func step(untilMs: Int64) -> Bool {
        let body = state.withLock { state -> (@Sendable () -> Void)? in
            guard let first = state.heap.first, first.atMs <= untilMs else { return nil }
            state.nowMs = first.atMs
            let last = state.heap.removeLast()
            if !state.heap.isEmpty { Self.sink(last, in: &state.heap) }
            return first.body
        }
        body?()
        return body != nil
    }

    func run(untilMs: Int64) {
        while step(untilMs: untilMs) {}
        state.withLock { $0.nowMs = max($0.nowMs, untilMs) }
    }

    private static func sink(_ due: Due, in heap: inout [Due]) {
        heap[0] = due
        var place = 0
        while true {
            var least = place
            for child in [2 * place + 1, 2 * place + 2] where child < heap.count {
                if isBefore(heap[child], heap[least]) { least = child }
            }
            if least == place { return }
            heap.swapAt(place, least)
            place = least
        }
    }

    private static func isBefore(_ left: Due, _ right: Due) -> Bool {
        (left.atMs, left.number) < (right.atMs, right.number)
    }
}
