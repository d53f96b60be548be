import Store
import Telemetry

@testable import Reporting

/// Plays store, endpoint and clock for a state machine, step by step and in one thread.
struct MachineDriver {
    var machine: EndpointStateMachine
    var windows: [StoredWindow]
    var nowMs: Int64 = 1_725_300_000_000
    var cursor: DeliveryPosition?
    /// What became of each attempt.
    var answer: (_ part: Part, _ attempt: Int) -> AttemptOutcome
    var failAdvances = 0
    var failReads = 0

    var sent: [Part] = []
    var accepted: [String] = []
    var dead: [EndpointStateMachine.Refusal] = []
    var waits: [Int64] = []
    var notices: [EndpointStateMachine.Notice] = []
    var advances: [EndpointStateMachine.Advance] = []
    var isStopped = false
    /// Sees each part that goes out.
    var onSend: ((EndpointStateMachine, Part) -> Void)?
    /// Nothing is answered after so many attempts: the process "dies".
    var attemptsMax = 100_000

    init(
        _ configuration: EndpointConfiguration, _ windows: [StoredWindow], seed: UInt64 = 1,
        answer: @escaping (_ part: Part, _ attempt: Int) -> AttemptOutcome
    ) {
        machine = EndpointStateMachine(configuration, seed: seed)
        self.windows = windows
        self.answer = answer
    }

    static func status(_ status: Int, retryAfterMs: Int64? = nil) -> AttemptOutcome {
        .response(status: status, retryAfterMs: retryAfterMs, reason: "said")
    }

    mutating func run() { feed(.start) }

    mutating func feed(_ first: EndpointStateMachine.Event) {
        var events: [EndpointStateMachine.Event] = [first]
        while !events.isEmpty {
            let actions = machine.handle(events.removeFirst(), nowMs: nowMs)
            for action in actions { if let event = perform(action) { events.append(event) } }
        }
    }

    private mutating func perform(_ action: EndpointStateMachine.Action) -> EndpointStateMachine.Event? {
        switch action {
        case .openCursor(let fromBeginning):
            let start =
                fromBeginning ? .start : DeliveryPosition(sequence: windows.last?.sequence ?? 0, parts: 0)
            cursor = cursor ?? start
            return .cursor(cursor)
        case .fetch(let after, _, let limit):
            if failReads > 0 {
                failReads -= 1
                return .windows(nil, scannedThrough: 0)
            }
            let found = windows.filter { $0.sequence > after.sequence }.prefix(limit)
            return .windows(Array(found), scannedThrough: found.last?.sequence ?? after.sequence)
        case .send(let part):
            guard sent.count < attemptsMax else { return nil }
            sent.append(part)
            onSend?(machine, part)
            let outcome = answer(part, sent.count)
            if RetryPolicy.verdict(outcome, kind: machine.configuration.kind) == .delivered {
                accepted.append(part.id)
            }
            return .attempted(outcome)
        case .advance(let advance):
            if failAdvances > 0 {
                failAdvances -= 1
                return .advanced(false)
            }
            cursor = advance.to
            advances.append(advance)
            dead += advance.dead
            return .advanced(true)
        case .wake(let afterMs, let token):
            waits.append(afterMs)
            nowMs += afterMs
            return .timer(token)
        case .report(let notice):
            notices.append(notice)
            return nil
        case .leap, .split: return nil
        case .stopped:
            isStopped = true
            return nil
        }
    }
}
