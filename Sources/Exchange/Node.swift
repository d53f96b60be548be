import Telemetry

/// What a node of the cluster wants of the bus.
public enum NodeAction: Sendable {
    case publish(BusMessage, Expectation, token: UInt64)
    case read(BusStream, Subject, token: UInt64)
    /// Answered as if something had been published.
    case trim(BusStream, Subject, before: UInt64, token: UInt64)
    case open(BusStream, Subject, BusStart, cursor: UInt64)
    case close(cursor: UInt64)
}

/// What happens to it.
public enum NodeInput: Sendable {
    /// Comes again and again, several times in a third of a lease.
    case tick
    case published(token: UInt64, Result<UInt64, BusError>)
    case read(token: UInt64, Result<StoredMessage?, BusError>)
    case delivered(cursor: UInt64, BusDelivery)
}

/// A worker or a roll-up as a pure value: no bus, no clock, no threads.
public protocol NodeMachine: Sendable {
    mutating func handle(_ input: NodeInput, nowMs: Int64) -> [NodeAction]
}

/// Names for what is under way: each once.
struct TokenSource: Sendable {
    private var last: UInt64 = 0
    mutating func next() -> UInt64 {
        last += 1
        return last
    }
}

/// Runs a machine against a bus. Inputs may come on any thread and from within a call to the bus; one is handled at a
/// time, in the order in which they came.
public final class NodeShell<Machine: NodeMachine>: Sendable {
    private struct State {
        var machine: Machine
        var inputs: [NodeInput] = []
        var isRunning = false
        var isStopped = false
        var cursors: [UInt64: any BusCursor] = [:]
    }

    private let state: Locked<State>
    private let bus: any Bus
    private let clock: @Sendable () -> Int64

    /// - Parameter clock: milliseconds that never go back.
    public init(_ machine: Machine, bus: any Bus, clock: @escaping @Sendable () -> Int64) {
        state = Locked(State(machine: machine))
        self.bus = bus
        self.clock = clock
    }

    /// Whoever starts the shell calls this from a timer.
    public func tick() { take(.tick) }

    /// Looks at the machine, or tells it something (to drain, say), between two inputs.
    public func withMachine<Value>(_ body: (inout Machine) -> Value) -> Value {
        state.withLock { body(&$0.machine) }
    }

    /// As a process that is gone: nothing comes in any more, and nothing goes out.
    public func stop() {
        let cursors = state.withLock { state in
            state.isStopped = true
            state.inputs = []
            defer { state.cursors = [:] }
            return Array(state.cursors.values)
        }
        for cursor in cursors { cursor.close() }
    }

    private func take(_ input: NodeInput) {
        let mine = state.withLock { state in
            guard !state.isStopped else { return false }
            state.inputs.append(input)
            guard !state.isRunning else { return false }
            state.isRunning = true
            return true
        }
        guard mine else { return }
        while let actions = handleNext() {
            for action in actions { perform(action) }
        }
    }

    private func handleNext() -> [NodeAction]? {
        let now = clock()
        return state.withLock { state in
            guard !state.inputs.isEmpty else {
                state.isRunning = false
                return nil
            }
            let inputs = state.inputs
            state.inputs = []
            return inputs.flatMap { state.machine.handle($0, nowMs: now) }
        }
    }

    private func perform(_ action: NodeAction) {
        switch action {
        case .publish(let message, let expectation, let token):
            bus.publish(message, expecting: expectation) { [weak self] result in
                self?.take(.published(token: token, result))
            }
        case .read(let stream, let subject, let token):
            bus.last(stream, subject) { [weak self] result in self?.take(.read(token: token, result)) }
        case .trim(let stream, let filter, let sequence, let token):
            bus.trim(stream, filter, before: sequence) { [weak self] result in
                self?.take(.published(token: token, result))
            }
        case .open(let stream, let filter, let start, let cursor):
            let opened = bus.open(stream, filter, from: start) { [weak self] delivery in
                self?.take(.delivered(cursor: cursor, delivery))
            }
            let unwanted = state.withLock { state in
                guard !state.isStopped else { return true }
                state.cursors[cursor] = opened
                return false
            }
            if unwanted { opened.close() }
        case .close(let cursor):
            state.withLock { $0.cursors.removeValue(forKey: cursor) }?.close()
        }
    }
}
