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

    @Test("a gap of more windows than may wait is skipped too, and what was refused is read again")
    func wideGap() {
        var assembly = FinalAssembly(fleet: fleet, topology: Self.topology, next: 0, windowsMax: 4)
        let messages = [
            final(0, 1_000, sequence: 1), final(1, 2_000, sequence: 2), final(0, 2_000, sequence: 3),
            final(0, 2_001, sequence: 4), final(1, 2_001, sequence: 5),
        ]
        var taken: [Int64] = []
        var rereads: [UInt64] = []
        var from: UInt64? = 1
        while let first = from, rereads.count < 10 {
            for message in messages where message.sequence >= first {
                assembly.add(message)
                if let window = assembly.take(stream: stream)?.window { taken.append(window) }
            }
            from = assembly.takeReread()
            if let from { rereads.append(from) }
        }
        #expect(taken == [2_000, 2_001])
        #expect(assembly.skipped == 2_000 && rereads.count <= 2 && assembly.rereadFrom == nil)
    }

    @Test("what cannot be kept yet is not read again and again")
    func noUselessReread() {
        var assembly = FinalAssembly(fleet: fleet, topology: Self.topology, next: 0, windowsMax: 4)
        assembly.add(final(0, 0, sequence: 1))
        assembly.add(final(0, 50, sequence: 2))
        let isNone = isEmpty(&assembly)
        let again = assembly.takeReread()
        #expect(isNone && again == nil && assembly.rereadFrom == 2)
    }

    @Test("what the next window waits for is read again, however many windows wait")
    func neededReread() {
        var assembly = FinalAssembly(fleet: fleet, topology: Self.topology, next: 0, windowsMax: 4)
        assembly.add(final(0, 0, sequence: 1))
        for window in 0..<6 { assembly.add(final(1, Int64(window), sequence: UInt64(window + 2))) }
        var taken = assembly.take(stream: stream)
        #expect(taken?.window == 0)
        assembly.add(final(0, 4, sequence: 8))
        taken = assembly.take(stream: stream)
        #expect(taken == nil && assembly.next == 4)
        for window in 5..<8 { assembly.add(final(0, Int64(window), sequence: UInt64(window + 4))) }
        let again = assembly.takeReread()
        #expect(assembly.waitingCount == 4 && again == 6)
        for window in 4..<6 { assembly.add(final(1, Int64(window), sequence: UInt64(window + 2))) }
        for window in 4..<6 {
            taken = assembly.take(stream: stream)
            #expect(taken?.window == Int64(window))
        }
    }

    @Test("a final whose groups were too long counts as none of its slices")
    func lacksGroups() throws {
        var assembly = FinalAssembly(fleet: fleet, topology: Self.topology, next: 0)
        var limits = ExchangeLimits()
        limits.finalBytesMax = 100
        var message = final(0, 0, sequence: 1)
        message.bytes = try FinalRecord(decoding: message.bytes).encoded(limits)
        assembly.add(message)
        assembly.add(final(1, 0, sequence: 2))
        let taken = assembly.take(stream: stream)
        #expect(try #require(taken).coverage == 0.5)
    }

    @Test("a window's number beyond all bounds is refused", arguments: [-1, 1 << 36, .max] as [Int64])
    func outOfRange(window: Int64) {
        #expect(throws: EnvelopeError.outOfRange) {
            _ = try FinalRecord(decoding: final(0, window, sequence: 1).bytes)
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
