import Telemetry

/// Takes away what nobody needs any more of the runs before: work that a roll-up does once in each run. Who may not take it
/// away, or whose broker is away just then, tries again; a run does not depend on it.
public struct FormerRunMachine: NodeMachine {
    /// So many runs back leases are looked for: members may have been away when the run behind one of them began.
    public static let runsMax: UInt64 = 8
    /// Leases of so few bytes are given up after so many refusals; a later run tries again.
    public static let leaseRefusalsMax = 10
    static let firstWaitMs: Int64 = 1_000
    static let waitMaxMs: Int64 = 60_000

    private struct Job: Sendable {
        var stream: BusStream
        var subject: Subject
        var attempts = 0
        var refusals = 0
        var dueMs = Int64.min
    }

    private var jobs: [Job]
    private var tokens = TokenSource()
    private var underWay: UInt64?
    /// Whoever still works in a run before would make its leases anew.
    private var areAllHere = false
    /// Partials that were taken away.
    public private(set) var trimmed: UInt64 = 0
    /// Leases and signs of life that were taken away.
    public private(set) var leases: UInt64 = 0
    /// Attempts that came to nothing.
    public private(set) var failures: UInt64 = 0

    public var isDone: Bool { jobs.isEmpty }

    /// - Parameter fleet: of the run that is played now.
    public init(_ fleet: FleetMap) {
        jobs = fleet.earlierPartialSubjects.map { [Job(stream: .partials, subject: $0)] } ?? []
        for run in (max(1, fleet.run.subtractingSaturated(Self.runsMax))..<fleet.run).reversed() {
            jobs += FleetMap.leaseSubjects(fleet.cluster, ofEnded: run).map {
                Job(stream: .leases, subject: $0)
            }
        }
    }

    /// Whether all members that live have gone over to this run.
    public mutating func follow(areAllHere: Bool) { self.areAllHere = areAllHere }

    public mutating func handle(_ input: NodeInput, nowMs: Int64) -> [NodeAction] {
        switch input {
        case .tick: break
        case .published(let token, let result):
            guard token == underWay else { return [] }
            underWay = nil
            finish(result, nowMs)
        case .read, .delivered: return []
        }
        return next(nowMs)
    }

    private func isDue(_ job: Job, _ nowMs: Int64) -> Bool {
        job.dueMs <= nowMs && (job.stream == .partials || areAllHere)
    }

    /// The job that is worked on is the first one.
    private mutating func next(_ nowMs: Int64) -> [NodeAction] {
        guard underWay == nil, let place = jobs.firstIndex(where: { isDue($0, nowMs) }) else { return [] }
        jobs.swapAt(0, place)
        let token = tokens.next()
        underWay = token
        return [.trim(jobs[0].stream, jobs[0].subject, before: 1 << 62, token: token)]
    }

    private mutating func finish(_ result: Result<UInt64, BusError>, _ nowMs: Int64) {
        switch result {
        case .success(let count):
            if jobs[0].stream == .partials { trimmed += count } else { leases += count }
            jobs.removeFirst()
        case .failure(let error):
            failures += 1
            jobs[0].attempts += 1
            switch error {
            case .denied, .failed, .full: jobs[0].refusals += 1
            case .conflict, .ambiguous, .unavailable: break
            }
            guard jobs[0].stream == .partials || jobs[0].refusals < Self.leaseRefusalsMax else {
                jobs.removeFirst()
                return
            }
            jobs[0].dueMs =
                nowMs + min(Self.firstWaitMs << min(Int64(jobs[0].attempts - 1), 6), Self.waitMaxMs)
        }
    }
}

extension UInt64 {
    fileprivate func subtractingSaturated(_ other: UInt64) -> UInt64 { self > other ? self - other : 0 }
}
