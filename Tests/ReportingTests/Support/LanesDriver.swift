import Store
import Telemetry

@testable import Reporting

/// Plays store, endpoint, crashes and clock for the lanes of an endpoint, in virtual time and in one thread.
struct LanesDriver {
    /// What is done at its time, if the process still lives that asked for it.
    private enum Step {
        case tell(EndpointStateMachine.Event, lane: Int)
        case work(EndpointStateMachine.Action, lane: Int)
        case receive(Part, lane: Int)
        case commit
        case crash
    }

    private struct Scheduled {
        var atMs: Int64
        var order: Int
        /// `nil`: whoever lives then.
        var life: Int?
        var step: Step
    }

    /// How the receiver answers: whether it takes the part, and what it says; `nil` is no answer at all.
    typealias Receiver = (_ part: Part, _ nowMs: Int64, _ random: inout SplitMix64) -> (
        takes: Bool, outcome: AttemptOutcome
    )

    let configuration: EndpointConfiguration
    private let windows: [StoredWindow]
    private let partsEach: Int
    private let receiver: Receiver
    private var random: SplitMix64
    private let seed: UInt64

    private(set) var lanes: EndpointLanes
    private(set) var life = 0
    private(set) var nowMs: Int64 = 1_725_300_000_000
    private var queue: [Scheduled] = []
    private var order = 0
    private var commitsEveryMs: Int64 = 0
    private var storeFreeMs: Int64 = 0

    // What survives a crash.
    private(set) var committed: Int
    private(set) var cursor: DeliveryPosition?
    private(set) var gaps: [DeliveryGap] = []
    /// Parts of which the store knows that they are delivered.
    private(set) var done: Set<String> = []

    /// Every part that the receiver took, in its order, with when.
    private(set) var taken: [(id: String, sequence: Int64, atMs: Int64, life: Int, windows: Int)] = []
    private(set) var committedAtMs: [Int64: Int64] = [:]
    private(set) var dead: [EndpointStateMachine.Refusal] = []
    private(set) var problems: [String] = []
    private(set) var notices: [EndpointStateMachine.Notice] = []
    private(set) var inFlightMax = 0
    private(set) var gapsMax = 0
    private(set) var lanesMax = 0
    private(set) var crashes = 0
    private(set) var isStopped = false
    /// How long a request may take.
    var latencyMs: ClosedRange<Int64> = 1...20
    var storeFailsOneIn: Int?

    init(
        _ configuration: EndpointConfiguration, _ windows: [StoredWindow], partsEach: Int, committed: Int,
        seed: UInt64, standingAs other: LanesDriver? = nil, receiver: @escaping Receiver
    ) {
        self.configuration = configuration
        self.windows = windows
        self.partsEach = partsEach
        self.committed = committed
        self.receiver = receiver
        self.seed = seed
        random = SplitMix64(seed: seed)
        lanes = EndpointLanes(configuration, seed: seed)
        for sequence in 0..<committed { committedAtMs[Int64(sequence + 1)] = .min }
        guard let other else { return }
        (cursor, gaps, done, taken) = (other.cursor, other.gaps, other.done, other.taken)
    }

    mutating func commit(everyMs: Int64, from firstMs: Int64 = 0) {
        commitsEveryMs = everyMs
        if committed < windows.count { schedule(.commit, afterMs: firstMs, life: nil) }
    }

    mutating func crash(afterMs: Int64) { schedule(.crash, afterMs: afterMs, life: nil) }
    mutating func start() { feed(.start, EndpointLanes.live) }
    mutating func welcome(ratePerMinute: Int) { lanes.welcomed(ratePerMinute: ratePerMinute, nowMs: nowMs) }
    mutating func tell(_ event: EndpointStateMachine.Event) { feed(event, EndpointLanes.live) }

    /// Until nothing is left to do, or so long.
    mutating func run(forMs: Int64 = .max / 4, while condition: (LanesDriver) -> Bool = { _ in true }) {
        let end = nowMs + forMs
        while let index = queue.indices.min(by: {
            (queue[$0].atMs, queue[$0].order) < (queue[$1].atMs, queue[$1].order)
        }), queue[index].atMs <= end, condition(self) {
            let next = queue.remove(at: index)
            nowMs = max(nowMs, next.atMs)
            guard next.life == nil || next.life == life else { continue }
            take(next.step)
        }
    }

    private mutating func schedule(_ step: Step, afterMs: Int64, life: Int?) {
        order += 1
        queue.append(Scheduled(atMs: nowMs + afterMs, order: order, life: life, step: step))
    }

    private mutating func take(_ step: Step) {
        switch step {
        case .tell(let event, let lane): feed(event, lane)
        case .work(let action, let lane):
            let reply = work(action)
            schedule(.tell(reply, lane: lane), afterMs: 0, life: life)
        case .receive(let part, let lane):
            let answer = receiver(part, nowMs, &random)
            if answer.takes { taken.append((part.id, part.sequence, nowMs, life, part.windows)) }
            schedule(
                .tell(.attempted(answer.outcome), lane: lane),
                afterMs: Int64.random(in: latencyMs, using: &random) / 2, life: life)
        case .commit:
            committed += 1
            committedAtMs[Int64(committed)] = nowMs
            if committed < windows.count { schedule(.commit, afterMs: commitsEveryMs, life: nil) }
            feed(.committed(Int64(committed)), EndpointLanes.live)
        case .crash:
            crashes += 1
            life += 1
            lanes = EndpointLanes(configuration, seed: seed &+ UInt64(life))
            feed(.start, EndpointLanes.live)
        }
    }

    private mutating func feed(_ event: EndpointStateMachine.Event, _ lane: Int) {
        for one in lanes.handle(event, lane: lane, nowMs: nowMs) {
            switch one.action {
            case .openCursor, .fetch, .advance, .leap, .split:
                // The store works in the order of the calls.
                storeFreeMs = max(storeFreeMs, nowMs) + Int64.random(in: 0...3, using: &random)
                schedule(.work(one.action, lane: one.lane), afterMs: storeFreeMs - nowMs, life: life)
            case .send(let part):
                if done.contains(part.id) { problems.append("\(part.id) is sent although it is done") }
                schedule(
                    .receive(part, lane: one.lane),
                    afterMs: Int64.random(in: latencyMs, using: &random) / 2, life: life)
            case .wake(let afterMs, let token):
                schedule(.tell(.timer(token), lane: one.lane), afterMs: afterMs, life: life)
            case .report(let notice): notices.append(notice)
            case .stopped: isStopped = true
            }
        }
        inFlightMax = max(inFlightMax, lanes.inFlight.count)
        gapsMax = max(gapsMax, lanes.gaps.count)
        lanesMax = max(lanesMax, lanes.lanes.count)
    }

    // MARK: The store

    private mutating func work(_ action: EndpointStateMachine.Action) -> EndpointStateMachine.Event {
        let fails = storeFailsOneIn.map { Int.random(in: 0..<$0, using: &random) == 0 } ?? false
        switch action {
        case .openCursor(let fromBeginning):
            if fails { return .opened(nil) }
            let start = DeliveryPosition(sequence: fromBeginning ? 0 : Int64(committed), parts: 0)
            cursor = cursor ?? start
            return .opened(cursor.map { DeliveryCursor(position: $0, gaps: gaps, newest: Int64(committed)) })
        case .fetch(let after, let through, let limit):
            if fails { return .windows(nil, scannedThrough: 0) }
            let end = through ?? Int64(committed)
            let found = windows.dropFirst(Int(after.sequence)).prefix { $0.sequence <= end }.prefix(limit)
            let scanned = found.count == limit ? found.last?.sequence ?? end : max(end, after.sequence)
            return .windows(Array(found), scannedThrough: scanned)
        case .advance(let advance): return .advanced(!fails && self.advance(advance))
        case .leap(let from, let through): return .leaped(!fails && leap(from, through))
        case .split(let through, let sequence): return .split(!fails && split(through, sequence))
        default: return .split(false)
        }
    }

    private mutating func advance(_ advance: EndpointStateMachine.Advance) -> Bool {
        dead += advance.dead
        if let through = advance.through {
            guard let index = gaps.firstIndex(where: { $0.through == through }) else {
                problems.append("no gap ends at \(through)")
                return false
            }
            settle(gaps[index].after, advance.to)
            gaps[index].after = max(gaps[index].after, advance.to)
            gaps.removeAll(where: \.isClosed)
        } else if let cursor {
            settle(cursor, advance.to)
            self.cursor = max(cursor, advance.to)
        }
        return true
    }

    private mutating func leap(_ from: DeliveryPosition, _ through: Int64) -> Bool {
        guard let cursor, cursor <= from, from.sequence < through else {
            problems.append("a leap from \(from) to \(through) at \(String(describing: cursor))")
            return false
        }
        if gaps.count >= DeliveryGap.countMax { problems.append("a leap with \(gaps.count) gaps") }
        gaps.append(DeliveryGap(after: from, through: through))
        self.cursor = DeliveryPosition(sequence: through, parts: 0)
        return true
    }

    private mutating func split(_ through: Int64, _ sequence: Int64) -> Bool {
        guard let index = gaps.firstIndex(where: { $0.through == through }),
            gaps[index].after.sequence < sequence, sequence < through
        else {
            problems.append("no gap through \(through) holds \(sequence)")
            return false
        }
        if gaps.count >= DeliveryGap.countMax { problems.append("a split with \(gaps.count) gaps") }
        gaps.insert(DeliveryGap(after: gaps[index].after, through: sequence), at: index)
        gaps[index + 1].after = DeliveryPosition(sequence: sequence, parts: 0)
        return true
    }

    /// All parts between two positions are delivered.
    private mutating func settle(_ old: DeliveryPosition, _ new: DeliveryPosition) {
        guard old < new else { return }
        var at = old
        while at < new, at.sequence < Int64(windows.count) {
            let window = windows[Int(at.sequence)]
            done.insert(Part.id(of: window.summary, part: at.parts))
            at.parts += 1
            if at.parts == partsEach { at = DeliveryPosition(sequence: at.sequence + 1, parts: 0) }
        }
    }

    var windowCount: Int { windows.count }

    /// Ids of all parts of all windows.
    var all: [String] {
        windows.flatMap { window in (0..<partsEach).map { Part.id(of: window.summary, part: $0) } }
    }
}
