import Telemetry

/// A time during which a node belongs to a job.
struct JobInterval: Sendable, Hashable {
    var fromMs: Int64
    /// Exclusive; `Int64.max` while the job runs.
    var toMs: Int64
    /// Number in the stream's `JobNames`.
    var job: Int32
}

/// Which job each node belonged to at which time, at one version: immutable, and given to every shard.
struct JobSnapshot: Sendable {
    /// `job` for "none".
    static let none: Int32 = -1

    var version = 0
    /// By node index; ascending and not overlapping. Nodes beyond the end have never been in a job.
    var intervals: [[JobInterval]] = []

    /// The job of a node at a time, or the gap between two jobs, with the time for which that answer holds.
    func membership(node: Int32, timeMs: Int64) -> JobInterval {
        var gap = JobInterval(fromMs: .min, toMs: .max, job: Self.none)
        guard Int(node) < intervals.count else { return gap }
        for interval in intervals[Int(node)] {
            if timeMs < interval.fromMs {
                gap.toMs = interval.fromMs
                return gap
            }
            if timeMs < interval.toMs { return interval }
            gap.fromMs = interval.toMs
        }
        return gap
    }
}

/// Makes the snapshots out of job events, in whatever order those come.
struct JobTable: Sendable {
    /// A start whose nodes nobody has heard of yet.
    private struct Waiting: Sendable {
        var node: String
        var interval: JobInterval
    }

    private(set) var snapshot = JobSnapshot()
    private(set) var intervalCount = 0
    private var waiting: [Waiting] = []
    /// Nodes with an interval of each running job.
    private var running: [Int32: Set<Int32>] = [:]
    let intervalsMax: Int

    init(intervalsMax: Int) { self.intervalsMax = intervalsMax }

    var hasWaiting: Bool { !waiting.isEmpty }

    /// The job runs on these nodes from now on, and on no others any more.
    mutating func start(
        _ job: Int32, nodes: [String], atMs timeMs: Int64, find: (String) -> Int32?
    ) {
        end(job, atMs: timeMs)
        for name in Set(nodes).sorted() {
            let interval = JobInterval(fromMs: timeMs, toMs: .max, job: job)
            if let node = find(name) {
                insert(interval, node)
            } else if intervalCount + waiting.count < intervalsMax {
                waiting.append(Waiting(node: name, interval: interval))
            }
        }
        snapshot.version += 1
    }

    mutating func end(_ job: Int32, atMs timeMs: Int64) {
        for node in running.removeValue(forKey: job) ?? [] {
            var list = snapshot.intervals[Int(node)]
            for index in list.indices where list[index].job == job && list[index].toMs > timeMs {
                list[index].toMs = max(timeMs, list[index].fromMs)
            }
            let before = list.count
            list.removeAll { $0.fromMs >= $0.toMs }
            intervalCount -= before - list.count
            snapshot.intervals[Int(node)] = list
        }
        for index in waiting.indices where waiting[index].interval.job == job {
            waiting[index].interval.toMs = min(waiting[index].interval.toMs, timeMs)
        }
        waiting.removeAll { $0.interval.fromMs >= $0.interval.toMs }
        snapshot.version += 1
    }

    /// Looks again for the nodes that were not known when their job started.
    ///
    /// - Returns: whether the snapshot changed.
    mutating func resolveWaiting(find: (String) -> Int32?) -> Bool {
        let still = waiting.filter { entry in
            guard let node = find(entry.node) else { return true }
            insert(entry.interval, node)
            return false
        }
        guard still.count < waiting.count else { return false }
        waiting = still
        snapshot.version += 1
        return true
    }

    /// Forgets what ended before a time that is closed.
    mutating func prune(beforeMs: Int64) {
        guard intervalCount > 0 || !waiting.isEmpty else { return }
        for node in snapshot.intervals.indices
        where snapshot.intervals[node].contains(where: { $0.toMs <= beforeMs }) {
            let before = snapshot.intervals[node].count
            snapshot.intervals[node].removeAll { $0.toMs <= beforeMs }
            intervalCount -= before - snapshot.intervals[node].count
        }
        waiting.removeAll { $0.interval.toMs <= beforeMs }
    }

    /// A node has one job at a time: whatever it did then ends, and the new one ends where a later one begins.
    private mutating func insert(_ new: JobInterval, _ node: Int32) {
        guard intervalCount < intervalsMax else { return }
        while snapshot.intervals.count <= Int(node) { snapshot.intervals.append([]) }
        var list = snapshot.intervals[Int(node)]
        var interval = new
        intervalCount -= list.count
        for index in list.indices {
            if list[index].fromMs > interval.fromMs {
                interval.toMs = min(interval.toMs, list[index].fromMs)
            } else if list[index].toMs > interval.fromMs {
                list[index].toMs = interval.fromMs
            }
        }
        list.removeAll { $0.fromMs >= $0.toMs }
        list.append(interval)
        list.sort { $0.fromMs < $1.fromMs }
        intervalCount += list.count
        snapshot.intervals[Int(node)] = list
        running[interval.job, default: []].insert(node)
    }
}
