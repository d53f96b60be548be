import Telemetry
import TestSupport
import Testing

@testable import Aggregation

@Suite(.computing) struct JobTableTests {
    private func find(_ name: String) -> Int32? { Int32(name.dropFirst()) }

    private func job(_ table: JobTable, _ node: Int32, _ timeMs: Int64) -> Int32 {
        table.snapshot.membership(node: node, timeMs: timeMs).job
    }

    @Test("membership is by time, half open, with the stretch for which it holds")
    func membership() {
        var table = JobTable(intervalsMax: 100)
        table.start(0, nodes: ["n1", "n2"], atMs: 100, find: find)
        table.end(0, atMs: 200)
        table.start(1, nodes: ["n2"], atMs: 300, find: find)
        #expect([99, 100, 199, 200, 299, 300].map { job(table, 2, $0) } == [-1, 0, 0, -1, -1, 1])
        #expect([99, 100, 199, 200, 300].map { job(table, 1, $0) } == [-1, 0, 0, -1, -1])
        let gap = table.snapshot.membership(node: 2, timeMs: 250)
        #expect((gap.fromMs, gap.toMs) == (200, 300))
        #expect(job(table, 77, 100) == -1)
    }

    @Test("a node has one job at a time: a new one ends the old one")
    func oneJobAtATime() {
        var table = JobTable(intervalsMax: 100)
        table.start(0, nodes: ["n1", "n2"], atMs: 100, find: find)
        table.start(1, nodes: ["n1"], atMs: 150, find: find)
        #expect([100, 149, 150].map { job(table, 1, $0) } == [0, 0, 1])
        #expect(job(table, 2, 150) == 0)
        // Told late: it ends where what is known already begins.
        table.start(2, nodes: ["n1"], atMs: 50, find: find)
        #expect([50, 99, 100, 150].map { job(table, 1, $0) } == [2, 2, 0, 1])
    }

    @Test("a job that starts again has its new nodes, and the old ones until then")
    func restart() {
        var table = JobTable(intervalsMax: 100)
        table.start(0, nodes: ["n1", "n2"], atMs: 100, find: find)
        table.start(0, nodes: ["n2", "n3"], atMs: 200, find: find)
        #expect([150, 250].map { job(table, 1, $0) } == [0, -1])
        #expect([150, 250].map { job(table, 2, $0) } == [0, 0])
        #expect([150, 250].map { job(table, 3, $0) } == [-1, 0])
    }

    @Test("nodes that nobody has heard of yet belong to their job from its start once they are known")
    func unknownNodes() {
        var table = JobTable(intervalsMax: 100)
        table.start(0, nodes: ["n1", "n5"], atMs: 100) { $0 == "n1" ? 1 : nil }
        #expect(table.hasWaiting)
        let isResolvedTooEarly = table.resolveWaiting { _ in nil }
        #expect(!isResolvedTooEarly)
        let isResolved = table.resolveWaiting(find: find)
        #expect(isResolved)
        #expect(job(table, 5, 100) == 0)
        table.end(0, atMs: 200)
        #expect(job(table, 5, 200) == -1)
    }

    @Test("what ended before a closed time is forgotten, and the number of intervals is bounded")
    func pruning() {
        var table = JobTable(intervalsMax: 3)
        table.start(0, nodes: ["n1", "n2", "n3", "n4"], atMs: 100, find: find)
        #expect(table.intervalCount == 3)
        table.end(0, atMs: 200)
        table.prune(beforeMs: 199)
        #expect(table.intervalCount == 3)
        table.prune(beforeMs: 200)
        #expect(table.intervalCount == 0)
        table.start(1, nodes: ["n4"], atMs: 300, find: find)
        #expect(job(table, 4, 300) == 1)
    }
}
