import TestSupport
import Testing
import WireFormats

@testable import Receivers

@Suite struct NodeJobsTests {
    @Test("the witness decides, and another GPU takes over when it was silent for a minute")
    func witness() {
        var jobs = NodeJobs(namesMax: 10)
        let a = jobs.number("A") ?? 0
        let b = jobs.number("B") ?? 0
        #expect(jobs.observe(node: 3, gpu: 0, job: 0, timeMs: 0) == nil)
        #expect(
            jobs.observe(node: 3, gpu: 1, job: a, timeMs: 10) == .init(node: 3, from: 0, to: a, timeMs: 10))
        #expect(jobs.observe(node: 3, gpu: 0, job: b, timeMs: 60_010) == nil)
        #expect(
            jobs.observe(node: 3, gpu: 0, job: b, timeMs: 60_011)
                == .init(node: 3, from: a, to: b, timeMs: 60_011))
        #expect(jobs.observe(node: 3, gpu: 1, job: a, timeMs: 60_012) == nil)
    }

    @Test("what is older than the last change changes nothing")
    func older() {
        var jobs = NodeJobs(namesMax: 10)
        let a = jobs.number("A") ?? 0
        #expect(jobs.observe(node: 0, gpu: 0, job: a, timeMs: 100) != nil)
        #expect(jobs.observe(node: 0, gpu: 0, job: 0, timeMs: 200)?.to == 0)
        // A replica that runs behind.
        #expect(jobs.observe(node: 0, gpu: 0, job: a, timeMs: 150) == nil)
        #expect(jobs.observe(node: 0, gpu: 0, job: a, timeMs: 200) == nil)
        #expect(jobs.observe(node: 0, gpu: 0, job: a, timeMs: 201)?.to == a)
    }

    @Test("names are bounded")
    func names() {
        var jobs = NodeJobs(namesMax: 3)
        #expect(["A", "B", "C", "A"].map { jobs.number($0) } == [1, 2, nil, 1])
        #expect(jobs.name(2) == "B" && jobs.name(0) == "")
    }
}

@Suite struct JobMembershipTests {
    private func change(_ node: Int32, _ from: UInt32, _ to: UInt32, _ timeMs: Int64) -> NodeJobs.Change {
        .init(node: node, from: from, to: to, timeMs: timeMs)
    }

    @Test("the first change is told at once, further ones together after two seconds, each with all nodes")
    func gathered() {
        var membership = JobMembership()
        membership.note(change(7, 0, 1, 500))
        #expect(membership.due(nowMs: 1_000) == [.init(job: 1, nodes: [7], timeMs: 500)])
        membership.note(change(9, 0, 1, 520))
        membership.note(change(8, 0, 1, 510))
        #expect(membership.due(nowMs: 2_999) == [])
        #expect(membership.due(nowMs: 3_000) == [.init(job: 1, nodes: [7, 8, 9], timeMs: 510)])
        #expect(membership.due(nowMs: 9_000) == [])
    }

    @Test("a node that goes to another job is news of that one; the job that has none left ends")
    func moves() {
        var membership = JobMembership()
        for node in [1, 2] as [Int32] { membership.note(change(node, 0, 1, 10)) }
        _ = membership.due(nowMs: 0)
        membership.note(change(1, 1, 2, 20))
        #expect(membership.due(nowMs: 5_000) == [.init(job: 2, nodes: [1], timeMs: 20)])
        membership.note(change(2, 1, 2, 30))
        #expect(
            membership.due(nowMs: 10_000)
                == [.init(job: 1, nodes: [], timeMs: 30), .init(job: 2, nodes: [1, 2], timeMs: 30)])
    }

    @Test("a job that shrinks goes on with the nodes that are left")
    func shrinks() {
        var membership = JobMembership()
        for node in [1, 2] as [Int32] { membership.note(change(node, 0, 1, 10)) }
        _ = membership.due(nowMs: 0)
        membership.note(change(1, 1, 0, 20))
        #expect(membership.due(nowMs: 100) == [])
        #expect(membership.due(nowMs: 100, all: true) == [.init(job: 1, nodes: [2], timeMs: 20)])
    }
}
