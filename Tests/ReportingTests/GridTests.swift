import Foundation
import Store
import Telemetry
import Testing

@testable import Reporting

@Suite struct GridTests {
    private func topology() -> TopologySnapshot {
        let topology = Topology(site: "memphis")
        topology.node("n0", at: Placement(rack: "r0", array: "a0", hall: "h0"), gpuCount: 8)
        topology.node("n1", at: Placement(rack: "r0", array: "a0", hall: "h1"), gpuCount: 8)
        return topology.snapshot()
    }

    /// Every level, two entities where there can be two; the second has nothing to say.
    private func everyLevel(stream: StreamID = .measured) -> StoredWindow {
        let levels = Level.allCases.map { level in
            let count = level == .site ? 1 : 2
            var column = FieldColumn(field: .powerUsage, entityCount: count)
            column.count[0] = 4
            column.sum[0] = 2_001
            column.min[0] = 400.25
            column.max[0] = 600.5
            if level.hasQuantiles {
                column.p50 = Array(repeating: 500, count: count)
                column.p90 = Array(repeating: 590, count: count)
                column.p99 = Array(repeating: 600, count: count)
            }
            var gpus = GPUCounts(entityCount: count)
            gpus.expected[0] = 8
            gpus.reporting[0] = 5
            gpus.inJob[0] = 4
            gpus.faulted[0] = 1
            return LevelSummary(
                level: level, jobs: level == .job ? ["llm", ""] : [], columns: [column], gpus: gpus)
        }
        let summary = WindowSummary(
            stream: stream, resolutionMs: 60_000, startMs: Windows.startMs, topologyVersion: 1, levels: levels
        )
        return StoredWindow(sequence: 1, summary: summary, topology: topology())
    }

    private func remoteWrite(
        _ window: StoredWindow, _ change: (inout EndpointConfiguration) -> Void = { _ in }
    ) throws -> [RemoteWriteReader.Series] {
        var configuration = EndpointConfiguration.test(.remoteWrite)
        change(&configuration)
        let grid = configuration.encoding.grid(for: window)
        return try RemoteWriteReader.series(grid.body(0..<grid.rowCount, id: "", part: 0))
    }

    @Test("remote write: names, sorted labels, values and times, read by an independent decoder")
    func remoteWriteSeries() throws {
        let series = try remoteWrite(everyLevel())
        // 6 levels: 5 GPU counts and 5 statistics each, 3 quantiles except for nodes.
        #expect(series.count == 6 * 10 + 5 * 3)
        #expect(Set(series).count == series.count)
        for one in series {
            #expect(one.samples.map(\.timeMs) == [Windows.startMs + 60_000])
            let names = one.labels.map { $0[0] }
            #expect(names == names.sorted() && Set(names).count == names.count)
            #expect(one.labels.allSatisfy { !$0[1].isEmpty })
            #expect(one.label("site") == "memphis")
            #expect(one.label("resolution") == "1m")
            #expect(one.label("colossus_stream") == nil)
        }
        func value(_ name: String) -> Double? { series.first { $0.name == name }?.samples.first?.value }
        #expect(value("rack:DCGM_FI_DEV_POWER_USAGE:avg") == 500.25)
        #expect(value("hall:DCGM_FI_DEV_POWER_USAGE:min") == 400.25)
        #expect(value("site:DCGM_FI_DEV_POWER_USAGE:max") == 600.5)
        #expect(value("node:DCGM_FI_DEV_POWER_USAGE:count") == 4)
        #expect(value("array:DCGM_FI_DEV_POWER_USAGE:sum") == 2_001)
        #expect(value("job:DCGM_FI_DEV_POWER_USAGE:p99") == 600)
        #expect(value("node:DCGM_FI_DEV_POWER_USAGE:p50") == nil)
        #expect(value("rack:colossus_gpus:expected") == 8)
        #expect(value("rack:colossus_gpus:reporting") == 5)
        #expect(value("rack:colossus_gpus:silent") == 3)
        #expect(value("rack:colossus_gpus:in_job") == 4)
        #expect(value("rack:colossus_gpus:faulted") == 1)
    }

    @Test(
        "remote write: the place of an entity is in its labels",
        arguments: [
            (Level.node, "array=a0 hall=h0 node=n0 rack=r0 site=memphis"),
            (.rack, "array=a0 hall=h0 rack=r0 site=memphis"), (.array, "array=a0 hall=h0 site=memphis"),
            (.hall, "hall=h0 site=memphis"), (.site, "site=memphis"), (.job, "job=llm site=memphis"),
        ])
    func places(level: Level, labels: String) throws {
        let series = try remoteWrite(everyLevel()) {
            $0.selection.levels = [level]
            $0.selection.resolutions = [60_000]
        }
        #expect(series.count == (level == .node ? 10 : 13))
        for one in series {
            #expect(one.labels.dropFirst().map { "\($0[0])=\($0[1])" }.joined(separator: " ") == labels)
            #expect(one.name.hasPrefix(level.rawValue + ":"))
        }
    }

    @Test("remote write: what stands in for shorter windows is in series of its own")
    func standIn() throws {
        let series = try remoteWrite(everyLevel()) {
            $0.selection.levels = [.site]
            $0.selection.resolutions = [10_000]
        }
        #expect(!series.isEmpty && series.allSatisfy { $0.label("resolution") == "1m" })
    }

    @Test("remote write: only simulated streams say which they are")
    func simulated() throws {
        let stream = try #require(StreamID.simulated(run: "build"))
        let series = try remoteWrite(everyLevel(stream: stream)) { $0.selection.levels = [.hall] }
        #expect(series.allSatisfy { $0.label("colossus_stream") == "sim/build" })
        #expect(
            series[0].labels.map { $0[0] } == ["__name__", "colossus_stream", "hall", "resolution", "site"])
    }

    @Test("fields and levels that are not selected are left out")
    func selection() throws {
        let window = StoredWindow(
            sequence: 1, summary: Windows.window(0, racks: 2, fields: [.gpuUtil, .powerUsage]),
            topology: Windows.topology(racks: 2))
        let series = try remoteWrite(window) { $0.selection.fields = [.gpuUtil] }
        #expect(
            Set(series.map { $0.name.split(separator: ":")[1] }) == ["DCGM_FI_DEV_GPU_UTIL", "colossus_gpus"])
        #expect(try remoteWrite(window) { $0.selection.levels = [.site] }.isEmpty)
    }

    @Test(
        "parts hold every row once, in order, within their limits", arguments: EndpointKind.ofWindows,
        [1, 20, 500])
    func cutting(kind: EndpointKind, samplesMax: Int) throws {
        var configuration = EndpointConfiguration.test(kind)
        configuration.batch = BatchLimits(samplesMax: samplesMax, bytesMax: 4_096)
        let summary = Windows.window(1, racks: 30, silent: [0, 3, 29], fields: [.powerUsage, .gpuUtil])
        let window = StoredWindow(sequence: 1, summary: summary, topology: Windows.topology(racks: 30))
        let grid = configuration.encoding.grid(for: window)
        var progress = WindowProgress(window: window, grid: grid, limits: configuration.batch, skipping: 0)
        var parts: [Part] = []
        while let part = progress.nextPart() { parts.append(part) }
        #expect(progress.isFinished)
        #expect(parts.map(\.index) == Array(0..<parts.count))
        var samples = 0
        for (index, part) in parts.enumerated() {
            let rows = part.rows.filter { grid.weight(row: $0).isPresent }
            #expect(part.samples <= samplesMax || rows.count == 1)
            #expect(grid.body(part.rows, id: part.id, part: index).count <= 4_096 || rows.count == 1)
            if index > 0 { #expect(parts[index - 1].rows.upperBound == part.rows.lowerBound) }
            // Resuming after some parts gives the same next part.
            var resumed = WindowProgress(
                window: window, grid: grid, limits: configuration.batch, skipping: index)
            #expect(resumed.nextPart() == part)
            samples += part.samples
        }
        // 27 racks with 2 fields of 8 statistics, and 5 counts for each of the 30.
        #expect(samples == 27 * 16 + 30 * 5)
    }

    @Test("JSON: an independent reader finds every number, and the same summary gives the same bytes")
    func json() throws {
        var window = everyLevel()
        var point = TimelinePoint(timeMs: Windows.startMs + 60_000)
        point.phase = "Memphis \"1\"\n"
        point.inTraining = 99_968
        point.ettr = 0.1
        window.summary.timeline = point
        let grid = EndpointConfiguration.test(.webhook).encoding.grid(for: window)
        let body = grid.body(0..<grid.rowCount, id: "some/id", part: 0)
        #expect(body == grid.body(0..<grid.rowCount, id: "some/id", part: 0))
        let object = try #require(try JSONSerialization.jsonObject(with: Data(body)) as? [String: Any])
        #expect(object["schema"] as? String == "colossus.summary/v1")
        #expect(object["id"] as? String == "some/id")
        #expect(object["stream"] as? String == "measured")
        #expect(object["start"] as? String == "2024-09-02T00:00:00Z")
        #expect(object["end_ms"] as? Int64 == Windows.startMs + 60_000)
        let timeline = try #require(object["timeline"] as? [String: Any])
        #expect(timeline["phase"] as? String == "Memphis \"1\"\n")
        #expect(timeline["in_training"] as? Int == 99_968)
        #expect(timeline["ettr"] as? Double == 0.1)
        let rows = try #require(object["rows"] as? [[String: Any]])
        #expect(rows.map { $0["level"] as? String } == ["node", "rack", "array", "hall", "site", "job"])
        let rack = rows[1]
        #expect(rack["rack"] as? String == "r0" && rack["hall"] as? String == "h0")
        #expect((rack["gpus"] as? [String: Int])?["silent"] == 3)
        let power = try #require((rack["fields"] as? [String: [String: Double]])?["DCGM_FI_DEV_POWER_USAGE"])
        #expect(
            power == [
                "avg": 500.25, "min": 400.25, "max": 600.5, "count": 4, "sum": 2_001, "p50": 500, "p90": 590,
                "p99": 600,
            ])
        #expect((rows[0]["fields"] as? [String: [String: Double]])?["DCGM_FI_DEV_POWER_USAGE"]?.count == 5)
        #expect((rows[5]["job"] as? String) == "llm")
    }

    @Test(
        "JSON numbers are the shortest that read back",
        arguments: [
            (0.1, "0.1"), (1.0, "1"), (-2.0, "-2"), (1e300, "1e+300"), (.leastNonzeroMagnitude, "5e-324"),
            (0.0, "0"),
            (-0.0, "-0.0"), (123_456_789.125, "123456789.125"), (.nan, "null"), (.infinity, "null"),
            (1e15, "1000000000000000.0"), (2.0 / 3.0, "0.6666666666666666"),
        ])
    func numbers(value: Double, text: String) {
        var json = JSONWriter()
        json.value(value)
        #expect(String(decoding: json.bytes, as: UTF8.self) == text)
        if value.isFinite { #expect(Double(text) == value) }
    }

    @Test("JSON text is escaped so that an independent reader gets it back")
    func texts() throws {
        let text = String(decoding: (1..<128).map { UInt8($0) }, as: UTF8.self) + "é🙂"
        var json = JSONWriter()
        json.object { $0.field("t", text) }
        let object = try JSONSerialization.jsonObject(with: Data(json.bytes)) as? [String: String]
        #expect(object?["t"] == text)
    }
}
