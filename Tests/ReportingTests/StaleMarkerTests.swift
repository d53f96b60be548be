import Store
import Telemetry
import Testing
import WireFormats

@testable import Reporting

/// Series that come to their end.
@Suite struct StaleMarkerTests {
    private static let stale: UInt64 = 0x7FF0_0000_0000_0002
    private static let ok = MachineDriver.status(200)

    /// A series of remote write, however it was written, without its value.
    private struct Named: Hashable {
        var labels: [String: String]
        init(_ labels: [[String]]) {
            self.labels = Dictionary(labels.map { ($0[0], $0[1]) }) { first, _ in first }
        }
    }

    /// What is in a request, read by a reader that knows nothing of grids.
    private struct Told {
        var values: Set<Named> = []
        var ends: Set<Named> = []
        var times: Set<Int64> = []

        init(_ body: [UInt8]) throws {
            for series in try RemoteWriteReader.series(body) {
                let sample = try #require(series.samples.first)
                #expect(series.samples.count == 1)
                let isNew =
                    sample.value.bitPattern == StaleMarkerTests.stale
                    ? ends.insert(Named(series.labels)).inserted
                    : values.insert(Named(series.labels)).inserted
                #expect(isNew && !(sample.value.isNaN && sample.value.bitPattern != StaleMarkerTests.stale))
                #expect(series.labels.map { $0[0] } == series.labels.map { $0[0] }.sorted())
                times.insert(sample.timeMs)
            }
        }
    }

    private func body(_ grid: any WindowGrid) -> [UInt8] {
        grid.body(0..<grid.rowCount, id: "", part: 0, form: WireForm(compression: .snappy))
    }

    private func told(
        _ window: StoredWindow, after memory: inout SeriesMemory?, _ configuration: EndpointConfiguration
    ) throws -> Told {
        let grid = configuration.encoding.grid(for: .window(window), after: memory)
        memory = grid.memory
        return try Told(body(grid))
    }

    /// A fleet in which anything may be there or not, other names included; the same for the same seed.
    private func weather(_ index: Int, _ random: inout SplitMix64) -> StoredWindow {
        let topology = Topology(site: "memphis")
        let order = [0, 1, 2, 3, 4].shuffled(using: &random).prefix(Int.random(in: 2...5, using: &random))
        for node in order {
            topology.node(
                "n\(node)",
                at: Placement(
                    rack: "r\(node / 2)", array: "a0", hall: "h\(Int.random(in: 0...1, using: &random))"),
                gpuCount: 8)
        }
        let snapshot = topology.snapshot()
        var levels: [LevelSummary] = []
        for level in Level.allCases where Int.random(in: 0..<8, using: &random) > 0 {
            let jobs = level == .job ? ["", "llm", "rl", "eval"].shuffled(using: &random) : []
            let count = level == .job ? jobs.count : snapshot.count(level)
            let fields = [FieldIndex.powerUsage, .gpuUtil, .gpuTemp].filter { _ in
                Int.random(in: 0..<4, using: &random) > 0
            }
            let columns = fields.map { field in
                var column = FieldColumn(field: field, entityCount: count)
                for entity in 0..<count where Bool.random(using: &random) {
                    column.count[entity] = 3
                    column.sum[entity] = 6
                }
                if level.hasQuantiles {
                    (column.p50, column.p90, column.p99) = (column.sum, column.sum, column.sum)
                }
                return column
            }
            var gpus = GPUCounts(entityCount: count)
            for entity in 0..<count where Bool.random(using: &random) { gpus.expected[entity] = 8 }
            levels.append(LevelSummary(level: level, jobs: jobs, columns: columns, gpus: gpus))
        }
        let summary = WindowSummary(
            stream: .measured, resolutionMs: 10_000, startMs: Windows.startMs + Int64(index) * 10_000,
            topologyVersion: 1, levels: levels)
        return StoredWindow(sequence: Int64(index + 1), summary: summary, topology: snapshot)
    }

    @Test(
        "what has had no value in so many windows ends with the last of them, once, and nothing else does",
        arguments: 0..<60)
    func ends(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var configuration = EndpointConfiguration.test(.remoteWrite)
        configuration.hasGPUCounts = seed % 3 > 0
        if seed % 4 == 1 { configuration.statistics = [.avg, .p99] }
        if seed % 5 == 1 { configuration.selection.levels = [.node, .job] }
        if seed % 2 == 1 {
            configuration.labels = LabelChanges(added: ["dc": "one"], renamed: ["node": "instance"])
        }
        let windows = Int(1 + seed % 4)
        var memory: SeriesMemory? = SeriesMemory(staleAfterMs: Int64(windows) * 10_000 - Int64(seed % 3))
        // By series: the windows without a value since the last.
        var absent: [Named: Int] = [:]
        var all = 0
        for index in 0..<30 {
            let window = weather(index, &random)
            let found = try told(window, after: &memory, configuration)
            let alone = try Told(body(configuration.encoding.grid(for: window)))
            #expect(found.values == alone.values && alone.ends.isEmpty)
            for name in absent.keys { absent[name, default: 0] += 1 }
            for name in alone.values { absent[name] = 0 }
            let over = Set(absent.filter { $0.value == windows }.keys)
            for name in over { absent[name] = nil }
            #expect(found.ends == over)
            #expect(found.times.isSubset(of: [window.summary.endMs]))
            all += over.count
        }
        #expect(all > 20)
    }

    @Test(
        "parts with ends keep their limits, cut at the same places as without, and can be halved",
        arguments: 0..<10)
    func parts(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let configuration = EndpointConfiguration.test(.remoteWrite)
        var memory: SeriesMemory? = SeriesMemory(staleAfterMs: 1)
        _ = try told(weather(0, &random), after: &memory, configuration)
        let window = weather(1, &random)
        let limits = BatchLimits(samplesMax: 7, bytesMax: 4_096)
        func parts(_ grid: any WindowGrid) -> [Part] {
            var progress = WindowProgress(.window(window), grid: grid, limits: limits, skipping: 0)
            var found: [Part] = []
            while let part = progress.nextPart() {
                if let (one, two) = progress.halves(of: part) {
                    #expect(one.samples + two.samples == part.samples)
                    #expect(one.rows.upperBound == two.rows.lowerBound)
                } else {
                    #expect(part.samples == 1)
                }
                found.append(part)
            }
            return found
        }
        let plain = parts(configuration.encoding.grid(for: window))
        let ending = configuration.encoding.grid(for: .window(window), after: memory)
        let all = parts(ending)
        // The cursor counts parts: those before the first end are what they are without.
        #expect(Array(all.prefix(plain.count)) == plain)
        let whole = try Told(body(ending))
        var pieces = 0
        for part in all {
            #expect(part.samples <= limits.samplesMax)
            let bytes = ending.body(part.rows, id: "", part: 0, form: WireForm(compression: .none))
            #expect(bytes.count <= limits.bytesMax)
            let packed = ending.body(part.rows, id: "", part: 0, form: WireForm(compression: .snappy))
            let told = try Told(packed)
            #expect(told.values.count + told.ends.count == part.samples)
            pieces += part.samples
        }
        #expect(pieces == whole.values.count + whole.ends.count)
    }

    @Test("windows in one request end series in the order of time")
    func batches() throws {
        var random = SplitMix64(seed: 3)
        let configuration = EndpointConfiguration.test(.remoteWrite)
        let windows = (0..<5).map { weather($0, &random) }
        let memory: SeriesMemory? = SeriesMemory(staleAfterMs: 10_000)
        let grid = configuration.encoding.grid(for: .windows(windows), after: memory)
        let together = try RemoteWriteReader.series(body(grid))
        var one = memory
        var alone: [RemoteWriteReader.Series] = []
        for window in windows {
            let grid = configuration.encoding.grid(for: .window(window), after: one)
            alone += try RemoteWriteReader.series(body(grid))
            one = grid.memory
        }
        func texts(_ series: [RemoteWriteReader.Series]) -> [String] {
            series.map { "\($0.labels) \($0.samples[0].timeMs) \($0.samples[0].value.bitPattern)" }
        }
        #expect(texts(together) == texts(alone))
        let times = together.map { $0.samples[0].timeMs }
        #expect(times == times.sorted())
        #expect(together.contains { $0.samples[0].value.bitPattern == Self.stale })
    }

    @Test("in 2.0 distributions end, too; in 1.0 there are none")
    func distributions() throws {
        var sketch = FormTests.sketched()
        var configuration = EndpointConfiguration.test(.remoteWrite)
        configuration.protocolVersion = 2
        configuration.hasHistograms = true
        let first = configuration.encoding.grid(
            for: .window(sketch), after: SeriesMemory(staleAfterMs: 1_000))
        sketch.sequence += 1
        sketch.summary.startMs += sketch.summary.resolutionMs
        sketch.summary.levels = []
        let next = configuration.encoding.grid(for: .window(sketch), after: first.memory)
        let new = WireForm(compression: .snappy, version: 2)
        let before = try RemoteWriteReader.series2(first.body(0..<first.rowCount, id: "", part: 0, form: new))
        let after = try RemoteWriteReader.series2(next.body(0..<next.rowCount, id: "", part: 0, form: new))
        #expect(
            Set(after.map { Named([["", $0.name]] + $0.labels.map { [$0.key, $0.value] }) })
                == Set(before.map { Named([["", $0.name]] + $0.labels.map { [$0.key, $0.value] }) }))
        #expect(after.count == before.count && after.allSatisfy { $0.value?.bitPattern == Self.stale })
        let ended = after.filter { $0.name.hasSuffix(":distribution") }
        #expect(!ended.isEmpty && before.filter { $0.histogram != nil }.count == ended.count)
        let old = WireForm(compression: .snappy, version: 1)
        let simple = try RemoteWriteReader.series(next.body(0..<next.rowCount, id: "", part: 0, form: old))
        #expect(simple.count == after.count - ended.count)
        #expect(next.leftOut(0..<next.rowCount, form: old) == ended.count)
    }

    // MARK: On the way

    private func windows(_ silent: [Set<Int>], racks: Int = 4) -> [StoredWindow] {
        Windows.stored(
            silent.enumerated().map { Windows.window($0, racks: racks, silent: $1) }, racks: racks)
    }

    /// Everything that the endpoint was sent, part by part.
    private func run(
        _ configuration: EndpointConfiguration, _ windows: [StoredWindow], dyingAfter attemptsMax: Int? = nil
    ) throws -> [Told] {
        var bodies: [[UInt8]] = []
        var driver = MachineDriver(configuration, windows) { _, _ in Self.ok }
        if let attemptsMax { driver.attemptsMax = attemptsMax }
        driver.onSend = { machine, part in bodies.append(machine.body(of: part) ?? []) }
        driver.run()
        if attemptsMax != nil {
            var again = MachineDriver(configuration, windows) { _, _ in Self.ok }
            again.cursor = driver.cursor
            again.onSend = driver.onSend
            again.run()
        }
        return try bodies.map(Told.init)
    }

    @Test(
        "a rack that is heard no more ends after its time, once, and begins again; one that pauses for less does not",
        arguments: [2, 7, 1_000])
    func silence(samplesMax: Int) throws {
        var configuration = EndpointConfiguration.test(.remoteWrite)
        configuration.batch.samplesMax = samplesMax
        configuration.hasGPUCounts = false
        configuration.staleAfterMs = 20_000
        let told = try run(configuration, windows([[], [2, 3], [2], [2, 3], [], [1, 2], [1, 2], [1]]))
        let ends = told.flatMap { told in told.ends.map { ($0.labels["rack"] ?? "", told.times) } }
        func at(_ index: Int) -> Set<Int64> { [Windows.startMs + Int64(index + 1) * 10_000] }
        for (index, racks) in [2: ["r2"], 6: ["r1", "r2"]] {
            for rack in racks { #expect(ends.count { $0 == (rack, at(index)) } == 8) }
        }
        #expect(ends.count == 24)
    }

    @Test("a crash at any part loses no value and ends nothing that goes on", arguments: 1..<14)
    func restart(attempts: Int) throws {
        var configuration = EndpointConfiguration.test(.remoteWrite)
        configuration.batch.samplesMax = 9
        configuration.staleAfterMs = 10_000
        let windows = windows([[], [2], [0, 1]])
        func all(_ told: [Told], _ names: (Told) -> Set<Named>) -> [Int64: Set<Named>] {
            var found: [Int64: Set<Named>] = [:]
            for one in told { for time in one.times { found[time, default: []].formUnion(names(one)) } }
            return found
        }
        let undisturbed = try run(configuration, windows)
        let restarted = try run(configuration, windows, dyingAfter: attempts)
        #expect(all(restarted, \.values) == all(undisturbed, \.values))
        let (known, wanted) = (all(restarted, \.ends), all(undisturbed, \.ends))
        #expect(wanted.values.map(\.count).sorted() == [0, 8, 16])
        for (time, names) in known { #expect(names.isSubset(of: wanted[time] ?? [])) }
    }

    @Test("no ends where they are not wanted, where revisions go, in gaps, and for other kinds")
    func without() throws {
        let windows = windows([[], [0], [0, 1]])
        var configuration = EndpointConfiguration.test(.remoteWrite)
        configuration.staleAfterMs = 10_000
        #expect(try run(configuration, windows).contains { !$0.ends.isEmpty })
        #expect(EndpointStateMachine(configuration, seed: 1, through: 9).memory == nil)
        configuration.sendsRevisions = true
        #expect(try run(configuration, windows).allSatisfy { $0.ends.isEmpty })
        configuration = .test(.remoteWrite)
        #expect(EndpointStateMachine(configuration, seed: 1).memory?.staleAfterMs == 90_000)
        configuration.staleAfterMs = nil
        #expect(try run(configuration, windows).allSatisfy { $0.ends.isEmpty })
        for kind in EndpointKind.ofWindows where kind != .remoteWrite {
            #expect(EndpointStateMachine(.test(kind), seed: 1).memory == nil)
        }
    }

    @Test("what comes late or again ends nothing; a stream that begins anew is compared with itself")
    func order() throws {
        let configuration = EndpointConfiguration.test(.remoteWrite)
        var memory: SeriesMemory? = SeriesMemory(staleAfterMs: 10_000)
        let windows = windows([[], [0], [1], []])
        _ = try told(windows[2], after: &memory, configuration)
        // Rack 0 was heard in window 2, and rack 1 was not.
        #expect(try told(windows[1], after: &memory, configuration).ends.isEmpty)
        #expect(try told(windows[2], after: &memory, configuration).ends.isEmpty)
        #expect(try told(windows[3], after: &memory, configuration).ends.isEmpty)
        var early = windows[1]
        early.summary.startMs -= SeriesMemory.backMs * 2
        #expect(try told(early, after: &memory, configuration).ends.isEmpty)
        early.summary.startMs += 10_000
        early.summary.levels = windows[2].summary.levels
        let ended = try told(early, after: &memory, configuration).ends
        #expect(ended.count == 8 && ended.allSatisfy { $0.labels["rack"] == "r1" })
    }

    @Test("only so many streams are remembered: that which had no window for longest is forgotten")
    func bounded() throws {
        var memory = SeriesMemory(staleAfterMs: 10_000)
        let configuration = EndpointConfiguration.test(.remoteWrite)
        func ends(_ run: Int, _ index: Int, silent: Set<Int> = []) throws -> Bool {
            let stream = try #require(StreamID.simulated(run: "r\(run)"))
            let summary = Windows.window(index, racks: 1, stream: stream, silent: silent)
            let window = StoredWindow(sequence: 1, summary: summary, topology: Windows.topology(racks: 1))
            return !memory.take(configuration.selected(window)).isEmpty
        }
        for run in 0...SeriesMemory.countMax { #expect(try !ends(run, 0)) }
        for run in 1...SeriesMemory.countMax { #expect(try ends(run, 1, silent: [0])) }
        #expect(try !ends(0, 1, silent: [0]))
    }

    @Test("a node that moves to another rack ends where it was, and one that comes back in time does not")
    func moving() throws {
        var configuration = EndpointConfiguration.test(.remoteWrite)
        configuration.selection.levels = [.node]
        configuration.hasGPUCounts = false
        var memory: SeriesMemory? = SeriesMemory(staleAfterMs: 20_000)
        func window(_ index: Int, _ racks: [String]) -> StoredWindow {
            let topology = Topology(site: "memphis")
            var column = FieldColumn(field: .powerUsage, entityCount: racks.count)
            for (node, rack) in racks.enumerated() {
                topology.node("n\(node)", at: Placement(rack: rack, array: "a", hall: "h"), gpuCount: 8)
                column.count[node] = 1
            }
            let gpus = GPUCounts(entityCount: racks.count)
            let summary = WindowSummary(
                stream: .measured, resolutionMs: 10_000, startMs: Windows.startMs + Int64(index) * 10_000,
                topologyVersion: index, levels: [LevelSummary(level: .node, columns: [column], gpus: gpus)])
            return StoredWindow(sequence: Int64(index + 1), summary: summary, topology: topology.snapshot())
        }
        let racks = [
            ["x", "x"], ["x", "y"], ["x", "x"], ["x", "y"], ["x", "y"], ["y", "y"], ["y", "y"],
        ]
        var ends: [[String]] = []
        for (index, racks) in racks.enumerated() {
            let told = try told(window(index, racks), after: &memory, configuration)
            ends.append(
                Set(told.ends.map { "\($0.labels["node"] ?? "") \($0.labels["rack"] ?? "")" }).sorted())
            #expect(told.ends.count == 5 * ends[index].count)
        }
        #expect(ends == [[], [], [], [], ["n1 x"], [], ["n0 x"]])
    }
}
