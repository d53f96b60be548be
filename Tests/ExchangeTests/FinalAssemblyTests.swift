import Exchange
import Sketches
import Telemetry
import Testing

@Suite("FinalAssembly") struct FinalAssemblyTests {
    static let windowMs: Int64 = 1_000
    static let topology: TopologySnapshot = {
        let topology = Topology(site: "lab")
        for rack in 1...4 {
            _ = topology.node(
                "r\(rack)-n1", at: Placement(rack: "r\(rack)", array: "a\(rack)", hall: "h1", model: "H100"),
                gpuCount: 8)
        }
        return topology.snapshot()
    }()

    let fleet: FleetMap
    let stream = StreamIndex(rawValue: 3)

    init() throws {
        fleet = try #require(
            FleetMap(
                cluster: "test", stream: "sim/test", slices: 4, partitions: 2, windowMs: Self.windowMs,
                startMs: 0))
    }

    func isEmpty(_ assembly: inout FinalAssembly) -> Bool { assembly.take(stream: stream) == nil }

    /// Partition 0 has the racks 1 and 3, partition 1 has 2 and 4.
    func final(_ partition: Int, _ window: Int64, sequence: UInt64, present: Int = 2) -> StoredMessage {
        let groups = [1, 3].map { rack in
            let value = Double(100 * (rack + partition)) + Double(window)
            return PartialGroup(
                key: PartialGroupKey(level: .rack, name: "r\(rack + partition)", job: rack == 1 ? "j" : ""),
                gpus: GroupGPUs(expected: 8, reporting: 8),
                fields: [
                    FieldStatistics(
                        field: 155, count: 1, sum: value, min: value, max: value,
                        sketch: QuantileSketch([value]))
                ])
        }
        let record = FinalRecord(
            fleet: fleet.fingerprint, partition: partition, window: window, writer: 1, resumeSequence: 1,
            slicesPresent: present, slicesExpected: 2, late: 0, groups: groups)
        return StoredMessage(
            subject: fleet.finalSubject(partition), bytes: record.encoded(), sequence: sequence,
            timestampMs: Int64(sequence))
    }

    @Test("a window is reported when all partitions are there, in order, and once")
    func order() throws {
        var isNone = false
        var assembly = FinalAssembly(fleet: fleet, topology: Self.topology, next: 0)
        assembly.add(final(0, 0, sequence: 1))
        assembly.add(final(0, 1, sequence: 2))
        isNone = isEmpty(&assembly)
        #expect(isNone)
        assembly.add(final(1, 0, sequence: 3))
        assembly.add(final(1, 0, sequence: 3))
        var taken = assembly.take(stream: stream)
        let first = try #require(taken)
        #expect(first.window == 0 && first.coverage == 1 && first.resumeSequence == 1 && first.storedMs == 3)
        isNone = isEmpty(&assembly)
        #expect(isNone)
        assembly.add(final(0, 0, sequence: 1))
        assembly.add(final(1, 1, sequence: 4, present: 1))
        taken = assembly.take(stream: stream)
        let second = try #require(taken)
        #expect(second.window == 1 && second.coverage == 0.75)
    }

    @Test("a final becomes the share that the shards would have told of")
    func share() throws {
        var assembly = FinalAssembly(fleet: fleet, topology: Self.topology, next: 0)
        assembly.add(final(0, 0, sequence: 1))
        assembly.add(final(1, 0, sequence: 2))
        let taken = assembly.take(stream: stream)
        let partials = try #require(taken).partials
        #expect(partials.map(\.shard) == [0, 1] && partials.allSatisfy { $0.stream == stream })
        #expect(partials[1].groups == [GroupKey(rack: 1, job: "j"), GroupKey(rack: 3, job: "")])
        let power = try #require(partials[1].groupColumns.first)
        #expect(power.field == .powerUsage && power.sum == [200, 400] && power.count == [1, 1])
        #expect(try QuantileSketch(encoded: power.sketch(1)) == QuantileSketch([400]))
        #expect(partials[1].sampleCount == 2)
    }

    @Test("windows whose finals are gone are skipped, and counted")
    func gone() throws {
        var isNone = false
        var assembly = FinalAssembly(fleet: fleet, topology: Self.topology, next: 10)
        assembly.add(final(0, 100, sequence: 1))
        isNone = isEmpty(&assembly)
        #expect(isNone)
        assembly.add(final(1, 102, sequence: 2))
        assembly.add(final(0, 101, sequence: 3))
        isNone = isEmpty(&assembly)
        #expect(isNone)
        assembly.add(final(0, 102, sequence: 4))
        let taken = assembly.take(stream: stream)
        #expect(try #require(taken).window == 102)
        #expect(assembly.skipped == 92)
    }

    @Test("a partition that is far behind costs no memory without end: what is too early is read again")
    func tooEarly() throws {
        var assembly = FinalAssembly(fleet: fleet, topology: Self.topology, next: 0, windowsMax: 4)
        for window in 0..<10 { assembly.add(final(0, Int64(window), sequence: UInt64(window + 1))) }
        #expect(assembly.waitingCount == 4 && assembly.rereadFrom == 5)
        var again = assembly.takeReread()
        #expect(again == nil)
        for window in 0..<3 { assembly.add(final(1, Int64(window), sequence: UInt64(window + 11))) }
        for window in 0..<3 {
            let taken = assembly.take(stream: stream)
            #expect(taken?.window == Int64(window))
        }
        again = assembly.takeReread()
        #expect(again == 5)
        for window in 4..<7 { assembly.add(final(0, Int64(window), sequence: UInt64(window + 1))) }
        for window in 3..<7 { assembly.add(final(1, Int64(window), sequence: UInt64(window + 11))) }
        for window in 3..<7 {
            let taken = assembly.take(stream: stream)
            #expect(taken?.window == Int64(window))
        }
    }

    @Test("what is of another fleet is counted and left out")
    func foreign() throws {
        var assembly = FinalAssembly(fleet: fleet, topology: Self.topology, next: 0)
        var message = final(0, 0, sequence: 1)
        message.bytes[20] ^= 1
        assembly.add(message)
        let record = FinalRecord(
            fleet: 5, partition: 0, window: 0, writer: 1, resumeSequence: 1, slicesPresent: 1,
            slicesExpected: 1, late: 0, groups: [])
        message.bytes = record.encoded()
        assembly.add(message)
        #expect(assembly.foreign == 2 && assembly.waitingCount == 0)
    }
}
