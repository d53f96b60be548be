/// The nodes of each job, and when that has to be told.
///
/// An event names all nodes of a job: that is what a `job_start` says in this house. A job that starts on thousands
/// of nodes shows itself scrape by scrape, so its first change is told at once and further ones at most every two
/// seconds; each with the event time of the first change in it, which is the nearest to what really happened.
struct JobMembership {
    struct News: Equatable {
        var job: UInt32
        /// Ascending; empty: the job ended.
        var nodes: [Int32]
        var timeMs: Int64
    }

    private struct Members {
        var nodes: Set<Int32> = []
        /// Event time of the first change that was not told yet.
        var changedMs: Int64?
        /// Wall clock.
        var toldMs = Int64.min
    }

    static let quietMs: Int64 = 2_000

    private var jobs: [UInt32: Members] = [:]
    private var changed: Set<UInt32> = []

    mutating func note(_ change: NodeJobs.Change) {
        if change.from > 0 { jobs[change.from, default: Members()].nodes.remove(change.node) }
        if change.to > 0 { jobs[change.to, default: Members()].nodes.insert(change.node) }
        // That the node left is in the news of its new job; the old one has news only when it goes on without it.
        touch(change.to > 0 ? change.to : change.from, change.timeMs)
        if change.to > 0, change.from > 0, jobs[change.from]?.nodes.isEmpty == true {
            touch(change.from, change.timeMs)
        }
    }

    /// What is to be told at `nowMs` on the wall clock, in the order of the jobs' numbers.
    mutating func due(nowMs: Int64, all: Bool = false) -> [News] {
        guard !changed.isEmpty else { return [] }
        var news: [News] = []
        for job in changed.sorted() {
            guard var members = jobs[job], let changedMs = members.changedMs else {
                changed.remove(job)
                continue
            }
            let isQuiet = members.toldMs != .min && nowMs < members.toldMs + Self.quietMs
            if isQuiet, !all { continue }
            news.append(News(job: job, nodes: members.nodes.sorted(), timeMs: changedMs))
            changed.remove(job)
            members.changedMs = nil
            members.toldMs = nowMs
            jobs[job] = members.nodes.isEmpty ? nil : members
        }
        return news
    }

    private mutating func touch(_ job: UInt32, _ timeMs: Int64) {
        guard job > 0 else { return }
        let before = jobs[job]?.changedMs
        jobs[job]?.changedMs = min(before ?? timeMs, timeMs)
        changed.insert(job)
    }
}
