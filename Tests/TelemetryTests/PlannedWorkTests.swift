import Telemetry
import Testing

@Suite struct PlannedWorkTests {
    static let now: Int64 = 1_700_000_000_000

    func start(
        _ entity: String, gpu: Int? = nil, at timeMs: Int64 = now, until: Int64? = nil, _ reason: String = ""
    )
        -> Event
    {
        PlannedWork.start(entity: entity, gpu: gpu, timeMs: timeMs, untilMs: until, reason: reason)
    }

    func end(_ entity: String, gpu: Int? = nil) -> Event {
        Event(
            stream: .measured, timeMs: Self.now + 9, kind: .maintenanceEnd, entity: entity, gpu: gpu,
            source: .ingest)
    }

    @Test("what begins is open until it ends, and what is told again keeps its beginning")
    func life() throws {
        var work = PlannedWork()
        work.take(start("n1", "fans"))
        work.take(start("n1", at: Self.now + 5_000, until: Self.now + 60_000, "fans and a disk"))
        work.take(start("r2", at: Self.now + 1))
        work.take(Event(stream: .measured, timeMs: 1, kind: .nodeDown, entity: "n9", source: .ingest))
        #expect(work.entries.map(\.name) == ["n1", "r2"])
        let first = try #require(work.find(entity: "n1", gpu: nil))
        #expect(first.sinceMs == Self.now)
        #expect(first.untilMs == Self.now + 60_000)
        #expect(first.reason == "fans and a disk")
        work.take(end("n1"))
        work.take(end("nobody"))
        #expect(work.entries.map(\.name) == ["r2"])
    }

    @Test("a GPU is apart from its node, and ends with it")
    func gpus() {
        var work = PlannedWork()
        work.take(start("n1", gpu: 3))
        work.take(start("n1", gpu: 4))
        work.take(end("n1", gpu: 3))
        #expect(work.entries.map(\.name) == ["n1/4"])
        work.take(end("n1"))
        #expect(work.isEmpty)
    }

    @Test("what has a planned end is due then, and an end before the beginning is none")
    func due() {
        var work = PlannedWork()
        work.take(start("n1", until: Self.now + 60_000))
        work.take(start("n2", until: Self.now - 1))
        #expect(work.due(nowMs: Self.now + 59_999).isEmpty)
        let ends = work.due(nowMs: Self.now + 60_000)
        #expect(ends.map(\.entity) == ["n1"])
        #expect(ends.map(\.timeMs) == [Self.now + 60_000])
        for event in ends { work.take(event) }
        #expect(work.entries.map(\.name) == ["n2"])
    }

    @Test("GPUs are counted once, whatever names them")
    func counts() {
        let topology = Topology(site: "s")
        for rack in 0..<3 {
            for node in 0..<2 {
                topology.node(
                    "n\(rack)\(node)",
                    at: Placement(rack: "r\(rack)", array: "a\(rack / 2)", hall: "h", model: "H100"),
                    gpuCount: 8)
            }
        }
        let fleet = topology.snapshot()
        var work = PlannedWork()
        #expect(work.gpuCount(fleet) == 0)
        work.take(start("n00", gpu: 3))
        work.take(start("nobody"))
        #expect(work.gpuCount(fleet) == 1)
        work.take(start("n00"))
        #expect(work.gpuCount(fleet) == 8)
        work.take(start("r0"))
        #expect(work.gpuCount(fleet) == 16)
        work.take(start("a0"))
        #expect(work.gpuCount(fleet) == 32)
        work.take(start("h"))
        #expect(work.gpuCount(fleet) == 48)
        work.take(end("h"))
        work.take(start("s"))
        #expect(work.gpuCount(fleet) == 48)
    }
}
