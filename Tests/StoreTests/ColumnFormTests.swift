import Telemetry
import TestSupport
import Testing

@testable import Store

@Suite struct ColumnFormTests {
    /// Columns that each form is made for, and those at its edges.
    static func column(_ kind: Int, _ count: Int, _ random: inout SeededRandom) -> [Double] {
        let palette = (0..<20).map { _ in Double.random(in: -1...1, using: &random) }
        return (0..<count).map { index in
            switch kind {
            case 0: 0
            case 1: 359.25
            case 2: Double(Int.random(in: 0...255, using: &random))
            case 3: Double(Int.random(in: 0...65_535, using: &random))
            case 4: Double(UInt32.random(in: 0...UInt32.max, using: &random))
            case 5: Double(Int64.random(in: -1 << 52...1 << 52, using: &random))
            case 6: Double(Float.random(in: -1e6...1e6, using: &random))
            case 7: Double.random(in: -1e9...1e9, using: &random)
            case 8: palette.randomElement(using: &random) ?? 0
            case 9: Double(bitPattern: random.next())
            case 10: index == 0 ? -0.0 : 0
            case 11: [Double.infinity, -.infinity, .nan, 1].randomElement(using: &random) ?? 0
            case 12: Double(index) * 1e12
            case 13:
                [9_007_199_254_740_991, 9_007_199_254_740_992, -9_007_199_254_740_994].randomElement(
                    using: &random) ?? 0
            default: Double(Float(bitPattern: UInt32.random(in: 0...UInt32.max, using: &random)))
            }
        }
    }

    @Test("every column comes back with the same bits", arguments: 0..<15)
    func columnsRoundTrip(kind: Int) throws {
        for round in 0..<20 {
            let seed = UInt64.random(in: 0...UInt64.max)
            var random = SeededRandom(seed: seed)
            let values = Self.column(kind, [1, 2, 63, 64, 65, 1_000][round % 6], &random)
            var writer = ByteWriter()
            writer.column(values)
            var reader = ByteReader(writer.bytes)
            let back = try reader.column(values.count)
            #expect(back.map(\.bitPattern) == values.map(\.bitPattern), "seed \(seed), kind \(kind)")
            #expect(reader.isAtEnd)
        }
    }

    @Test(
        "the narrowest form is taken",
        arguments: [
            ([0, 0, 0], ColumnForm.zero), ([-0.0, -0.0], .constant), ([7.5, 7.5], .constant),
            ([1, 255], .u8),
            ([1, 256], .u16), ([0, 65_536], .u32), ([0, 4_294_967_296], .delta), ([-1, 1], .delta),
            ([0.5, 1], .f32), ([0.1, 1], .f64), ([0, -0.0], .f32), ([], .absent),
        ] as [([Double], ColumnForm)])
    func narrowest(values: [Double], form: ColumnForm) {
        var writer = ByteWriter()
        writer.column(values)
        #expect(writer.bytes.first == form.rawValue)
    }

    @Test("counts come back", arguments: [UInt32(0), 1, 255, 256, 65_535, 65_536, .max])
    func countsRoundTrip(high: UInt32) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        for values in [
            [high, high], [0, high], (0..<500).map { _ in UInt32.random(in: 0...high, using: &random) },
        ] {
            var writer = ByteWriter()
            writer.column(values)
            var reader = ByteReader(writer.bytes)
            #expect(try reader.counts(values.count) == values, "seed \(seed)")
        }
    }

    @Test("a blob of any bytes is read or refused, and never takes the process down")
    func anyBytes() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        var maker = CloseMaker(seed: seed, racks: 80)
        let window = maker.window(0, 60_000)
        let column = window.levels[1].columns[0]
        let good = try SummaryBlob.encode(column)
        let sketches = try #require(try SummaryBlob.encodeSketches(column))
        let fleet = TopologyBlob.encode(maker.topology)
        for _ in 0..<2_000 {
            for blob in [good, sketches, fleet] {
                var bad = blob
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    bad[Int.random(in: 0..<min(bad.count, 200), using: &random)] = UInt8.random(
                        in: 0...255, using: &random)
                }
                if Bool.random(using: &random) {
                    bad.removeLast(Int.random(in: 0..<bad.count, using: &random))
                }
                var other = column
                _ = try? SummaryBlob.column(bad, field: column.field)
                _ = try? SummaryBlob.gpus(bad)
                _ = try? SummaryBlob.sketches(bad, into: &other)
                _ = try? SummaryBlob.names(bad)
                _ = try? TopologyBlob.decode(bad)
                _ = try? TimelineBlob.decode(bad)
            }
        }
    }

    @Test("a compressed blob that claims to be huge is refused before memory is taken")
    func hugeBlob() throws {
        let zstd = try Zstd()
        let packed = try zstd.compress(Array(repeating: 7, count: 100_000))
        #expect(throws: StoreError.self) {
            try packed.withUnsafeBytes { try zstd.decompress($0, limit: 99_999) }
        }
        let short: [UInt8] = [1, 2, 3]
        #expect(throws: StoreError.self) { try short.withUnsafeBytes { try zstd.decompress($0) } }
    }

    @Test("a fleet comes back with names, parents and GPUs, and goes on with the same indices")
    func topology() throws {
        let made = CloseMaker(seed: 1, racks: 20).topology
        let back = try TopologyBlob.decode(TopologyBlob.encode(made))
        #expect(back.version == made.version)
        for level in Level.allCases { #expect(back.names(level) == made.names(level)) }
        #expect(back.nodeRack == made.nodeRack)
        #expect(back.rackArray == made.rackArray)
        #expect(back.arrayHall == made.arrayHall)
        #expect(back.gpuNode == made.gpuNode)
        #expect(back.gpuOrdinal == made.gpuOrdinal)
        #expect(back.nodeModel == made.nodeModel)
        let restored = Topology(restoring: back)
        #expect(restored.node("node-3-1", at: Placement()) == 7)
        #expect(restored.node("new", at: Placement(rack: "rack3", array: "a0", hall: "h0")) == 40)
        #expect(restored.snapshot().nodeRack[40] == 3)
        #expect(restored.gpu(node: 7, ordinal: 2) == 58)
        #expect(restored.version == made.version + 1)
    }

    @Test(
        "who says that nodes belong to a fleet comes after what earlier versions wrote, and only where a list says so"
    )
    func standing() throws {
        let fleet = Topology(restoring: CloseMaker(seed: 1, racks: 3).topology)
        #expect(TopologyBlob.encode(fleet.snapshot()).first == 1)
        _ = fleet.arrange { $0 == "node-0-0" || $0 == "node-0-1" ? $1 : nil }
        let change = fleet.arrange { name, now in
            name == "node-0-0" ? Placement(rack: "new", array: now.array, hall: now.hall) : nil
        }
        #expect(change.moved == [0] && change.removed == [1])
        let bytes = TopologyBlob.encode(fleet.snapshot())
        let back = try TopologyBlob.decode(bytes)
        #expect(bytes.first == 2 && back.nodeStanding.prefix(3) == [.listed, .removed, .heard])
        #expect(back.rackNames.last == "new" && back.nodeRack[0] == 3)
        let restored = Topology(restoring: back)
        #expect(restored.nodes(ofRack: 3) == [0] && restored.nodes(ofRack: 0) == [1])
        #expect(throws: StoreError.self) { try TopologyBlob.decode(bytes.dropLast() + [3]) }
        #expect(throws: StoreError.self) { try TopologyBlob.decode(Array(bytes.dropLast())) }
    }

    @Test("GPUs under maintenance come after what earlier versions wrote, and only where there are any")
    func maintenance() throws {
        var gpus = GPUCounts(entityCount: 3)
        gpus.expected = [8, 8, 8]
        gpus.reporting = [8, 7, 0]
        let before = try SummaryBlob.encode(gpus)
        #expect(try SummaryBlob.gpus(before) == gpus)
        gpus.maintenance = [0, 0, 8]
        let after = try SummaryBlob.encode(gpus)
        #expect(after.count > before.count && Array(after.prefix(before.count)) == before)
        #expect(try SummaryBlob.gpus(after) == gpus)
        gpus.maintenance = [1]
        #expect(throws: StoreError.self) { try SummaryBlob.encode(gpus) }
    }
}
