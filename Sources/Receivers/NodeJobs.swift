import Telemetry

/// Which job each node works for, as the `hpc_job` labels of its series tell.
///
/// One GPU of a node is its witness (the first that named a job), so that GPUs that are labelled differently for a
/// moment do not make the node's job flap; another takes over when the witness was silent for a minute. Only what is
/// newer than the last change changes anything: replicas of a Prometheus run behind each other.
struct NodeJobs {
    struct Change: Equatable {
        var node: Int32
        /// Numbers of `name`; 0 is no job.
        var from: UInt32
        var to: UInt32
        var timeMs: Int64
    }

    private struct State {
        var job: UInt32 = 0
        var witness: Int32 = -1
        var seenMs = Int64.min
        var changedMs = Int64.min
    }

    private static let silenceMs: Int64 = 60_000

    private var states: [State] = []
    private var names: [String] = [""]
    private var numbers: [String: UInt32] = ["": 0]
    private let namesMax: Int

    init(namesMax: Int) { self.namesMax = namesMax }

    /// The number of a job, or `nil` when there are too many.
    mutating func number(_ name: String) -> UInt32? {
        if let known = numbers[name] { return known }
        guard names.count < namesMax else { return nil }
        let number = UInt32(names.count)
        names.append(name)
        numbers[name] = number
        return number
    }

    func name(_ number: UInt32) -> String { names[Int(number)] }

    /// A series of `gpu` said at `timeMs` that it works for `job`.
    mutating func observe(node: Int32, gpu: Int32, job: UInt32, timeMs: Int64) -> Change? {
        while states.count <= Int(node) { states.append(State()) }
        var state = states[Int(node)]
        if state.witness < 0, job == 0 { return nil }
        let isOverdue = timeMs > (state.seenMs.addingReportingOverflow(Self.silenceMs).partialValue)
        guard state.witness == gpu || state.witness < 0 || isOverdue else { return nil }
        guard timeMs > state.changedMs, timeMs >= state.seenMs else { return nil }
        state.witness = gpu
        state.seenMs = timeMs
        defer { states[Int(node)] = state }
        guard state.job != job else { return nil }
        let change = Change(node: node, from: state.job, to: job, timeMs: timeMs)
        state.job = job
        state.changedMs = timeMs
        return change
    }
}
