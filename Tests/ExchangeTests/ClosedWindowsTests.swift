import Exchange
import Sketches
import Synchronization
import Telemetry
import Testing

@Suite("ClosedWindows") struct ClosedWindowsTests {
    let stream = StreamIndex(rawValue: 0)

    func windows() throws -> ClosedWindows {
        let topology = FinalAssemblyTests.topology
        let slices = FleetSlices(topology, slicesMax: 2)
        #expect(slices.count == 2 && slices.partitions == 1 && slices.slice(ofRack: 2) == 0)
        let fleet = try #require(
            FleetMap(
                cluster: "test", stream: "sim/test", slices: 2, partitions: 1, windowMs: 1_000, startMs: 0))
        return ClosedWindows(fleet: fleet, slices: slices, topology: topology, shardCount: 2)
    }

    /// A shard has the racks with its parity, as in the core.
    func close(_ windows: ClosedWindows, _ window: Int64) {
        for shard in 0..<2 {
            var partial = WindowPartial(
                stream: stream, shard: shard, startMs: window * 1_000, resolutionMs: 1_000)
            partial.fields = [.powerUsage]
            partial.groups = [Int32(shard), Int32(shard + 2)].map { GroupKey(rack: $0, job: "j") }
            partial.groupGPUs = GPUCounts(entityCount: 2)
            partial.groupGPUs.expected = [8, 8]
            var column = FieldColumn(field: .powerUsage, entityCount: 2)
            column.count = [1, 0]
            column.sum = [5, 0]
            column.min = [5, 0]
            column.max = [5, 0]
            let sketch = QuantileSketch([5]).encoded()
            column.sketchOffsets = [0, UInt32(sketch.count), UInt32(sketch.count)]
            column.sketchBytes = sketch
            partial.groupColumns = [column]
            windows.publish(partial)
        }
        for shard in 0..<2 {
            var last = WindowPartial(
                stream: stream, shard: shard, startMs: window * 1_000, resolutionMs: 1_000)
            last.isLast = true
            windows.publish(last)
        }
    }

    @Test(
        "a slice has the racks of its arrays, whichever shards had them; the roller is told of the end alone")
    func slices() throws {
        let windows = try windows()
        let told = Mutex<[Bool]>([])
        windows.subscribe { partial in told.withLock { $0.append(partial.isLast) } }
        close(windows, 0)
        #expect(windows.lastReadyWindow() == 0 && told.withLock { $0 } == [true, true])
        let groups = windows.groups(slice: 0, window: 0)
        #expect(groups.map(\.key.name) == ["r1", "r3"] && groups.allSatisfy { $0.key.job == "j" })
        #expect(groups[0].fields.first?.sketch == QuantileSketch([5]) && groups[1].fields.isEmpty)
        #expect(groups[1].gpus.expected == 8)
        #expect(windows.groups(slice: 1, window: 0).map(\.key.name) == ["r2", "r4"])
    }

    @Test("what is in finals is let go of, and what comes of it later is not kept")
    func settled() throws {
        let windows = try windows()
        close(windows, 0)
        close(windows, 1)
        windows.settle(through: 0)
        #expect(windows.count == 1 && windows.groups(slice: 0, window: 0).isEmpty)
        #expect(windows.groups(slice: 0, window: 1).count == 2)
        windows.settle(through: 5)
        close(windows, 5)
        #expect(windows.count == 0 && windows.lastReadyWindow() == 5)
    }
}
