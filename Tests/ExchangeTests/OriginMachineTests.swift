import Sketches
import Telemetry
import TestSupport
import Testing

@testable import Exchange

@Suite("Publishing of what is ingested", .computing)
struct OriginMachineTests {
    let fleet: IngestedFleet
    var machine: OriginMachine

    init() throws {
        fleet = try IngestedFleet(partitions: 2)
        machine = OriginMachine(name: "w1", fleet: fleet.map)
    }

    func window(_ number: Int64, revision: UInt64 = 0) -> OriginWindow {
        OriginWindow(
            window: number, revision: revision, nodes: 1,
            shares: [0: fleet.groups([1], gpus: 1), 3: fleet.groups([2], gpus: 2)])
    }

    func sent(_ actions: [NodeAction]) -> [(message: BusMessage, token: UInt64)] {
        actions.compactMap { action in
            guard case .publish(let message, _, let token) = action else { return nil }
            return (message, token)
        }
    }

    mutating func store(
        _ sent: [(message: BusMessage, token: UInt64)], _ result: Result<UInt64, BusError> = .success(17),
        nowMs: Int64 = 0
    ) -> [NodeAction] {
        var actions: [NodeAction] = []
        for one in sent { actions += machine.handle(.published(token: one.token, result), nowMs: nowMs) }
        return actions
    }

    @Test("all shares of a window are stored before its marks, and those before the next window")
    mutating func order() throws {
        var actions = machine.handle(.tick, nowMs: 0)
        #expect(sent(actions).isEmpty, "whoever ingests nothing writes nothing")
        machine.add(window(8))
        machine.add(window(9))
        actions = machine.handle(.tick, nowMs: 0)
        let registration = sent(actions)
        #expect(registration.map(\.message.subject.text) == ["clsd.v1.test.lease.origin.w1"])
        let shares = sent(store(registration))
        #expect(shares.count == 2)
        let first = try PartialEnvelope(decoding: shares[0].message.bytes)
        #expect(first.origin == FleetMap.origin("w1") && first.epoch == 17 << 16)
        #expect(sent(store([shares[0]])).isEmpty && machine.status.published == 0)
        let marks = sent(store([shares[1]]))
        #expect(marks.count == 2 && marks.allSatisfy { OriginMark.isOne($0.message.bytes) })
        #expect(sent(store([marks[0]])).isEmpty)
        let next = sent(store([marks[1]]))
        #expect(machine.status.published == 1 && machine.status.window == 8)
        #expect(try PartialEnvelope(decoding: next[0].message.bytes).windowStartMs == 9_000)
    }

    @Test("what is not stored is sent again without its id, and nothing overtakes it")
    mutating func retries() throws {
        machine.add(window(8, revision: 3))
        let shares = sent(store(sent(machine.handle(.tick, nowMs: 0))))
        #expect(try PartialEnvelope(decoding: shares[0].message.bytes).epoch == 17 << 16 | 3)
        #expect(sent(store(shares, .failure(.full), nowMs: 100)).isEmpty)
        #expect(machine.status.problem == BusStream.partials.fullWords && machine.status.isFull)
        #expect(sent(machine.handle(.tick, nowMs: 500)).isEmpty)
        let again = sent(machine.handle(.tick, nowMs: 600))
        #expect(again.count == 2 && again.allSatisfy { $0.message.id == nil })
        #expect(Set(again.map(\.message.bytes)) == Set(shares.map(\.message.bytes)))
        #expect(sent(store(again, nowMs: 700)).count == 2)
        #expect(machine.status.problem == nil && !machine.status.isFull)
    }
}

extension OriginMachineTests {
    @Test("a worker whose name another one has taken publishes no more, and says so")
    mutating func superseded() throws {
        machine.add(window(8))
        let registration = sent(machine.handle(.tick, nowMs: 0))
        let shares = sent(store(registration))
        let opened = machine.handle(.tick, nowMs: 1).compactMap { action -> (Subject, UInt64)? in
            guard case .open(.leases, let subject, _, let cursor) = action else { return nil }
            return (subject, cursor)
        }
        let (subject, cursor) = try #require(opened.first)
        #expect(subject == registration[0].message.subject)
        func told(_ bytes: [UInt8], _ sequence: UInt64) -> NodeInput {
            let message = StoredMessage(subject: subject, bytes: bytes, sequence: sequence, timestampMs: 0)
            return .delivered(cursor: cursor, .messages([message]))
        }
        let own = registration[0].message.bytes
        _ = machine.handle(told(own, 17), nowMs: 2)
        _ = machine.handle(told(own, 18), nowMs: 2)
        #expect(machine.status.problem == nil)
        let other = OriginMachine(name: "w1", fleet: fleet.map, incarnation: 5)
        var newer = other
        newer.add(window(8))
        let theirs = sent(newer.handle(.tick, nowMs: 2))[0].message.bytes
        _ = machine.handle(told(theirs, 19), nowMs: 3)
        #expect(machine.status.problem?.contains("cluster.worker") == true)
        #expect(sent(store(shares)).isEmpty && sent(machine.handle(.tick, nowMs: 9_000)).isEmpty)
        #expect(machine.status.problem != nil && machine.status.published == 0)
    }
}

@Suite("Finals of what is ingested", .computing)
struct IngestAssemblyTests {
    let fleet: IngestedFleet

    init() throws { fleet = try IngestedFleet(partitions: 2) }

    func final(
        _ partition: Int, _ window: Int64, closed: Int64? = nil, revision: UInt32 = 0, coverage: Double = 1,
        _ groups: [PartialGroup] = []
    ) -> StoredMessage {
        var record = FinalRecord(
            fleet: fleet.map.fingerprint, partition: partition, window: window, writer: 1, resumeSequence: 1,
            slicesPresent: 1, slicesExpected: 1, late: 0, groups: groups)
        record.ingest = IngestedFinal(
            closed: closed ?? window, revision: revision, coverage: coverage, consumed: 0, isExact: false,
            origins: [])
        return StoredMessage(
            subject: fleet.map.finalSubject(partition), bytes: record.encoded(), sequence: 1, timestampMs: 0)
    }

    func assembly(reported: Int64? = nil) -> IngestAssembly {
        IngestAssembly(fleet: fleet.map, reported: reported, reviseMs: 60_000)
    }

    @Test("a window is told when no partition can have it any more that has not, and once")
    func order() {
        var assembly = assembly(reported: 4)
        assembly.add(final(0, 4))
        assembly.add(final(0, 5, coverage: 0.5))
        var taken = assembly.take()
        #expect(taken == nil)
        assembly.add(final(1, 5))
        taken = assembly.take()
        #expect(taken?.window == 5 && taken?.coverage == 0.75 && taken?.partitions.count == 2)
        assembly.add(final(0, 6))
        assembly.add(final(1, 7))
        taken = assembly.take()
        #expect(taken?.window == 6 && taken?.coverage == 0.5, "the other partition has passed it over")
        taken = assembly.take()
        #expect(taken == nil)
    }

    @Test("a revision goes on as what it adds; told again it adds nothing")
    func revisions() throws {
        var assembly = assembly()
        assembly.add(final(0, 5, fleet.groups([1, 2], gpus: 0b0011, job: "j")))
        assembly.add(final(1, 5))
        _ = assembly.take()
        let more = fleet.groups([1, 2, 9, 0.5], gpus: 0b0111, job: "j")
        for _ in 0..<2 { assembly.add(final(0, 5, closed: 8, revision: 1, more)) }
        let revised = assembly.takeRevisions()
        #expect(
            revised.count == 2 && revised.allSatisfy(\.isRevision) && revised[1].partitions[0].groups == [])
        let groups = revised[0].partitions[0].groups
        let rack = try #require(groups.first { $0.key.level == .rack })
        #expect(rack.gpus.reporting == 1 && rack.gpus.inJob == 1)
        #expect(rack.fields[0].count == 2 && rack.fields[0].sum == 9.5)
        #expect(rack.fields[0].min == 0.5 && rack.fields[0].max == 9)
        #expect(rack.fields[0].sketch.count == 2)
        let node = try #require(groups.first { $0.key.level == .node })
        #expect(node.gpus.reporting == 1 && node.ordinals?.reporting == 0b0100)
    }

    @Test(
        "a revision of a window that an earlier process told is late here; less than before changes nothing")
    func lateRevision() {
        var assembly = assembly(reported: 5)
        assembly.add(final(0, 3, closed: 9, revision: 1))
        #expect(assembly.late == 1)
        let groups = fleet.groups([1, 2], gpus: 3)
        var kept: UInt64 = 0
        #expect(fleet.groups([1], gpus: 1)[1].beyond(groups[1], &kept) == nil)
        #expect(groups[0].beyond(groups[0], &kept) == nil && kept == 0)
    }

    @Test(
        "a revision without sketches adds its counts and sums, and quantiles stay until there is one with them"
    )
    func revisionWithoutSketches() throws {
        var assembly = assembly()
        assembly.add(final(0, 5, fleet.groups([1, 2], gpus: 0b0011)))
        assembly.add(final(1, 5))
        _ = assembly.take()
        var lean = fleet.groups([1, 2, 9], gpus: 0b0111)
        for index in lean[1].fields.indices { lean[1].fields[index].sketch = .init() }
        assembly.add(final(0, 5, closed: 8, revision: 1, lean))
        assembly.add(final(0, 5, closed: 8, revision: 2, fleet.groups([1, 2, 9, 4], gpus: 0b0111)))
        let revised = assembly.takeRevisions()
        let racks = revised.compactMap { $0.partitions[0].groups.first { $0.key.level == .rack } }
        #expect(racks.map { $0.fields[0].count } == [1, 1] && racks.map { $0.fields[0].sum } == [9, 4])
        #expect(racks.map { $0.fields[0].sketch.count } == [0, 2] && assembly.keptSketches >= 1)
    }
}

@Suite("Windows of a worker that ingests", .computing)
struct OriginBookTests {
    let fleet: IngestedFleet
    let topology: TopologySnapshot

    init() throws {
        fleet = try IngestedFleet()
        let topology = Topology(site: "s")
        topology.node("n1", at: Placement(rack: "r", array: "a", hall: "h", model: "H100"), gpuCount: 8)
        self.topology = topology.snapshot()
    }

    func partial(_ count: UInt32, gpus: UInt64, isLate: Bool = false) -> WindowPartial {
        var partial = WindowPartial(
            stream: StreamIndex(rawValue: 0), shard: 0, startMs: 5_000, resolutionMs: 1_000)
        partial.isLate = isLate
        partial.nodes = [0]
        partial.nodeGPUs = GPUCounts(entityCount: 1)
        partial.nodeOrdinals = [GPUOrdinals(reporting: gpus)]
        partial.groups = [GroupKey(rack: 0, job: "")]
        partial.groupGPUs = GPUCounts(entityCount: 1)
        partial.groupGPUs.reporting = [UInt32(gpus.nonzeroBitCount)]
        partial.fields = FieldCatalog.find(id: 155).map { [$0] } ?? []
        partial.groupColumns = partial.fields.map { field in
            var column = FieldColumn(field: field, entityCount: 1)
            column.count = [count]
            column.sum = [Double(count)]
            column.min = [1]
            column.max = [1]
            return column
        }
        return partial
    }

    @Test("what came late makes the whole share again; where the window is forgotten it is only counted")
    func late() throws {
        var book = OriginBook(fleet: fleet.map)
        book.add(partial(4, gpus: 0b0011), topology)
        let jobs = WindowNodes(jobs: ["j": [0]])
        let first = book.take(5, coverage: 1, topology: topology, more: jobs)
        book.add(partial(3, gpus: 0b0110, isLate: true), topology)
        let second = book.take(5, coverage: 1, topology: topology, more: jobs)
        #expect(first.revision == 0 && second.revision == 1)
        let slice = fleet.map.slice(hall: "h", array: "a")
        let groups = try #require(second.shares[slice])
        #expect(groups.map(\.key.level) == [.node, .rack, .job] || groups.count == 3)
        let node = try #require(groups.first { $0.key.level == .node })
        #expect(node.gpus == GroupGPUs(expected: 8, reporting: 3) && node.key.name == IngestedFleet.node)
        #expect(groups.first { $0.key.level == .rack }?.fields.first?.count == 7)
        #expect(groups.first { $0.key.level == .job }?.key.job == "j")
        book.forget(before: 6)
        book.add(partial(3, gpus: 1, isLate: true), topology)
        #expect(book.tooLate == 1 && book.count == 0)
    }

    @Test("what comes late is told where its node stood when the window was closed")
    func moved() throws {
        let fleet = Topology(restoring: topology)
        var book = OriginBook(fleet: self.fleet.map)
        book.add(partial(4, gpus: 0b0011), fleet.snapshot())
        _ = book.take(5, coverage: 1, topology: fleet.snapshot())
        _ = fleet.arrange { _, _ in Placement(rack: "r2", array: "b", hall: "h", model: "H100") }
        fleet.gpu(node: 0, ordinal: 8)
        book.add(partial(3, gpus: 0b0110, isLate: true), fleet.snapshot())
        let second = book.take(5, coverage: 1, topology: fleet.snapshot())
        let groups = second.shares.flatMap(\.value)
        #expect(Set(groups.map(\.key.name)) == [IngestedFleet.node, IngestedFleet.rack])
        let node = try #require(groups.first { $0.key.level == .node })
        #expect(node.gpus.reporting == 3 && groups.count == 2)
        // A window that is closed after it has the place of now.
        var next = partial(1, gpus: 1)
        next.startMs = 6_000
        book.add(next, fleet.snapshot())
        let third = book.take(6, coverage: 1, topology: fleet.snapshot())
        let names = Set(third.shares.flatMap(\.value).filter { $0.key.level == .node }.map(\.key.name))
        let rack = PlacedName.rack(hall: "h", array: "b", rack: "r2")
        #expect(names == [PlacedName.node("n1", rack: rack, model: "H100")])
    }

    @Test("racks of which no array is known are not all in one slice; those of one array are")
    func unassigned() {
        let racks = (0..<64).map { "r\($0)" }
        let slices = Set(racks.map { fleet.map.slice(hall: "h", array: Placement.unassigned, rack: $0) })
        #expect(slices == Set(0..<fleet.map.slices))
        #expect(Set(racks.map { fleet.map.slice(hall: "h", array: "a", rack: $0) }).count == 1)
    }

    @Test("names of places survive, with whatever is in them; a separator in a name does not break it")
    func names() throws {
        let rack = PlacedName.rack(hall: "h\u{0}x", array: "", rack: "r/1")
        let parsed = try #require(PlacedName.node(PlacedName.node("n 1", rack: rack, model: "")))
        #expect(parsed.name == "n 1" && parsed.rack == rack)
        #expect(parsed.place == Placement(rack: "r/1", array: "", hall: "h?x"))
        #expect(PlacedName.node("n1") == nil)
        #expect(PlacedName.rack(of: IngestedFleet.node) == IngestedFleet.rack[...])
    }
}
