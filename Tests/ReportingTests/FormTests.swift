import Foundation
import Sketches
import Store
import Telemetry
import Testing
import WireFormats

@testable import Reporting

/// The bytes of each kind, read by readers that share nothing with the writers.
@Suite struct FormTests {
    /// Two racks of 8 GPUs; the first has a sketch of the values 1, 2, 2, -3 and 0.
    private static let values = [1.0, 2, 2, -3, 0]

    private func window() -> StoredWindow { Self.sketched() }

    static func sketched() -> StoredWindow {
        var summary = Windows.window(0, racks: 2)
        let sketch = QuantileSketch(values).encoded()
        summary.levels[0].columns[0].sketchBytes = sketch
        summary.levels[0].columns[0].sketchOffsets = [0, UInt32(sketch.count), UInt32(sketch.count)]
        return StoredWindow(sequence: 1, summary: summary, topology: Windows.topology(racks: 2))
    }

    private func body(
        _ kind: EndpointKind, _ change: (inout EndpointConfiguration) -> Void = { _ in }
    ) -> [UInt8] {
        var configuration = EndpointConfiguration.test(kind)
        configuration.selection.resolutions = [10_000]
        change(&configuration)
        let grid = configuration.encoding.grid(for: window())
        var form = configuration.encoding.form
        if kind != .remoteWrite { form = .plain }
        return grid.body(0..<grid.rowCount, id: "some/id", part: 0, form: form)
    }

    private func text(_ kind: EndpointKind, _ change: (inout EndpointConfiguration) -> Void = { _ in })
        -> String
    {
        String(decoding: body(kind, change), as: UTF8.self)
    }

    /// The bucket of schema 6 that a value is in, by the definition: (2^((i-1)/64), 2^(i/64)].
    private func index(_ value: Double) -> Int64 { Int64((64 * log2(abs(value))).rounded(.up)) }

    @Test("remote write 2.0: symbols, sorted labels, metadata, values")
    func remoteWrite2() throws {
        let series = try RemoteWriteReader.series2(body(.remoteWrite) { $0.protocolVersion = 2 })
        #expect(series.count == 26 && Set(series).count == 26)
        let average = try #require(
            series.first { $0.name == "rack:DCGM_FI_DEV_POWER_USAGE:max" && $0.labels["rack"] == "r1" })
        #expect(average.value == 100.5 && average.timeMs == Windows.startMs + 10_000)
        #expect(average.type == 2 && average.unit == "W" && average.help == "Power draw (in W).")
        #expect(average.labels == ["rack": "r1", "array": "a0", "hall": "h0", "site": "memphis"])
        #expect(series.allSatisfy { $0.isSorted && $0.histogram == nil })
    }

    @Test("remote write 2.0: a native histogram has the sketch's counts in the buckets of their values")
    func nativeHistogram() throws {
        let series = try RemoteWriteReader.series2(
            body(.remoteWrite) {
                $0.protocolVersion = 2
                $0.hasHistograms = true
            })
        #expect(series.count == 27)
        let one = try #require(series.first { $0.histogram != nil })
        #expect(one.name == "rack:DCGM_FI_DEV_POWER_USAGE:distribution" && one.type == 4)
        let histogram = try #require(one.histogram)
        #expect(histogram.count == 5 && histogram.zeroCount == 1 && histogram.schema == 6)
        #expect(histogram.positive == [index(1): 1, index(2): 2] && histogram.negative == [index(3): 1])
        #expect(histogram.resetHint == 3 && histogram.timeMs == Windows.startMs + 10_000)
    }

    @Test("the older version leaves histograms out, and parts end where they ended")
    func histogramsInOne() throws {
        var configuration = EndpointConfiguration.test(.remoteWrite)
        configuration.protocolVersion = 2
        configuration.hasHistograms = true
        let grid = configuration.encoding.grid(for: window())
        let older = try RemoteWriteReader.series(
            grid.body(0..<grid.rowCount, id: "", part: 0, form: WireForm(compression: .snappy)))
        #expect(older.count == 26)
        let all = 0..<grid.rowCount
        #expect(grid.leftOut(all, form: WireForm(compression: .snappy)) == 1)
        #expect(grid.leftOut(all, form: WireForm(compression: .snappy, version: 2)) == 0)
    }

    @Test("what the older version leaves out counts as dropped, and not as delivered")
    func leftOut() {
        var configuration = EndpointConfiguration.test(.remoteWrite)
        configuration.protocolVersion = 2
        configuration.hasHistograms = true
        var driver = MachineDriver(configuration, [window()]) { _, attempt in
            MachineDriver.status(attempt == 1 ? 415 : 204)
        }
        driver.run()
        #expect(driver.advances.map(\.samples) == [26])
        #expect(driver.machine.account.dropped == [.form: 1])
        #expect(driver.notices.contains(.dropped(samples: 1, .form)))
    }

    @Test("OTLP in JSON: gauges and exponential histograms")
    func otlpJSON() throws {
        let object = try JSONSerialization.jsonObject(with: Data(body(.otlp) { $0.payload = .json }))
        let resources = try #require((object as? [String: Any])?["resourceMetrics"] as? [[String: Any]])
        let scopes = try #require(resources.first?["scopeMetrics"] as? [[String: Any]])
        let metrics = try #require(scopes.first?["metrics"] as? [[String: Any]])
        #expect(metrics.count == 14)
        let gauge = try #require(
            metrics.first { $0["name"] as? String == "rack:DCGM_FI_DEV_POWER_USAGE:sum" })
        #expect(gauge["unit"] as? String == "W")
        let points = try #require((gauge["gauge"] as? [String: Any])?["dataPoints"] as? [[String: Any]])
        #expect(points.map { $0["asDouble"] as? Double } == [0, 800])
        #expect(points[0]["timeUnixNano"] as? String == "\((Windows.startMs + 10_000) * 1_000_000)")
        let attributes = try #require(points[1]["attributes"] as? [[String: Any]])
        #expect(attributes.map { $0["key"] as? String } == ["array", "hall", "rack", "site"])
        let distribution = try #require(metrics.first { $0["exponentialHistogram"] != nil })
        let data = try #require(distribution["exponentialHistogram"] as? [String: Any])
        #expect(data["aggregationTemporality"] as? Int == 1)
        let point = try #require((data["dataPoints"] as? [[String: Any]])?.first)
        #expect(point["count"] as? String == "5" && point["zeroCount"] as? String == "1")
        #expect(point["scale"] as? Int == 6)
        let positive = try #require(point["positive"] as? [String: Any])
        // OTLP's bucket i is Prometheus' bucket i + 1.
        #expect(positive["offset"] as? Int64 == index(1) - 1)
        let counts = try #require(positive["bucketCounts"] as? [String])
        #expect(counts.first == "1" && counts.last == "2" && counts.count == 65)
    }

    @Test("OTLP in protobuf: the same metrics, points and times, walked by hand")
    func otlp() throws {
        let request = try RemoteWriteReader.fields(body(.otlp))
        let resource = try RemoteWriteReader.fields(try #require(request.first { $0.number == 1 }).bytes)
        let scope = try RemoteWriteReader.fields(try #require(resource.first { $0.number == 2 }).bytes)
        let metrics = try scope.filter { $0.number == 2 }.map { try RemoteWriteReader.fields($0.bytes) }
        let names = metrics.map { String(decoding: $0.first { $0.number == 1 }?.bytes ?? [], as: UTF8.self) }
        #expect(names.count == 14 && Set(names).count == 14)
        let place = try #require(names.firstIndex(of: "rack:DCGM_FI_DEV_POWER_USAGE:sum"))
        let gauge = try RemoteWriteReader.fields(try #require(metrics[place].first { $0.number == 5 }).bytes)
        let points = try gauge.map { try RemoteWriteReader.fields($0.bytes) }
        func integers(_ number: UInt64) -> [UInt64] {
            points.flatMap { point in point.filter { $0.number == number }.map(\.integer) }
        }
        #expect(integers(3) == Array(repeating: UInt64(Windows.startMs + 10_000) * 1_000_000, count: 2))
        let values = integers(4).map { Double(bitPattern: $0) }
        #expect(values == [0, 800])
    }

    @Test("Influx: a line an entity and field, escaped, with times in milliseconds")
    func influx() throws {
        var window = window()
        let topology = Topology(site: "memphis")
        for (node, rack) in [("n0", "r 0,=\\"), ("n1", "r1\nx")] {
            topology.node(node, at: Placement(rack: rack, array: "a0", hall: "h0"), gpuCount: 8)
        }
        window.topology = topology.snapshot()
        var configuration = EndpointConfiguration.test(.influx)
        configuration.selection.resolutions = [10_000]
        let grid = configuration.encoding.grid(for: window)
        let lines = String(
            decoding: grid.body(0..<grid.rowCount, id: "", part: 0, form: .plain), as: UTF8.self
        )
        .split(separator: "\n", omittingEmptySubsequences: false)
        let time = Windows.startMs + 10_000
        #expect(lines.count == 5 && lines.last == "")
        let tags = "array=a0,hall=h0,rack=r\\ 0\\,\\=/,site=memphis"
        #expect(
            lines[0]
                == "rack:colossus_gpus,\(tags) expected=8,reporting=8,silent=0,in_job=4,faulted=0 \(time)")
        #expect(
            lines[1] == "rack:DCGM_FI_DEV_POWER_USAGE,\(tags) avg=0,min=-0.5,max=0.5,count=8,sum=0,"
                + "p50=0,p90=0.25,p99=0.375 \(time)")
        #expect(lines[2].contains("rack=r1_x,"))
    }

    @Test("Influx: organisation and bucket are in the query, percent-encoded")
    func influxURL() {
        var one = EndpointConfiguration.test(.influx, url: "http://h:8086/api/v2/write")
        #expect(one.requestURL == "http://h:8086/api/v2/write?precision=ms")
        one.org = "my org"
        one.bucket = "a&b/ü"
        #expect(
            one.requestURL == "http://h:8086/api/v2/write?precision=ms&org=my%20org&bucket=a%26b%2F%C3%BC")
        #expect(one.destination == "http://h:8086/api/v2/write")
    }

    @Test("a structured CloudEvent has the summary as its data")
    func structured() throws {
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(body(.webhook) { $0.format = .structured }))
                as? [String: Any])
        #expect(object["specversion"] as? String == "1.0" && object["id"] as? String == "some/id")
        #expect(
            object["type"] as? String == "colossus.summary" && object["source"] as? String == "/colossusd")
        let data = try #require(object["data"] as? [String: Any])
        #expect(data["schema"] as? String == "colossus.summary/v1" && (data["rows"] as? [Any])?.count == 2)
    }

    @Test("a batch of CloudEvents has an event a row, under ids that do not depend on the parts")
    func batch() throws {
        let events = try #require(
            try JSONSerialization.jsonObject(with: Data(body(.webhook) { $0.format = .batch }))
                as? [[String: Any]])
        #expect(
            events.map { $0["id"] as? String }
                == [1, 2].map { "measured/10000/\(Windows.startMs)/0/row-\($0)" })
        #expect(events.allSatisfy { $0["type"] as? String == "colossus.summary_row" })
        let data = try #require(events[1]["data"] as? [String: Any])
        #expect(data["rack"] as? String == "r1" && data["end_ms"] as? Int64 == Windows.startMs + 10_000)
    }

    @Test("only the statistics that were selected are sent", arguments: EndpointKind.ofWindows)
    func statistics(kind: EndpointKind) throws {
        func change(_ configuration: inout EndpointConfiguration) {
            configuration.statistics = [.avg, .p99]
            configuration.hasGPUCounts = false
            configuration.hasHistograms = false
        }
        switch kind {
        case .remoteWrite:
            let series = try RemoteWriteReader.series(body(kind, change))
            #expect(
                Set(series.map { $0.name.split(separator: ":")[2] }) == ["avg", "p99"] && series.count == 4)
        case .alertmanager: break
        case .influx:
            #expect(text(kind, change).split(separator: "\n").allSatisfy { $0.contains(" avg=") })
            #expect(!text(kind, change).contains("max=") && !text(kind, change).contains("gpus"))
        case .otlp:
            let json = text(kind) {
                change(&$0)
                $0.payload = .json
            }
            #expect(json.contains(":p99\"") && !json.contains(":max\"") && !json.contains("gpus"))
        case .webhook, .file, .stdout:
            let json = text(kind, change)
            #expect(json.contains("\"avg\"") && !json.contains("\"max\"") && !json.contains("\"gpus\""))
        }
    }

    @Test("labels are added and renamed, everywhere and in order", arguments: EndpointKind.ofWindows)
    func labels(kind: EndpointKind) throws {
        func change(_ configuration: inout EndpointConfiguration) {
            configuration.labels = LabelChanges(
                added: ["cluster": "c 1"], renamed: ["rack": "a_rack", "resolution": "step"])
            configuration.selection.resolutions = []
        }
        switch kind {
        case .remoteWrite:
            for series in try RemoteWriteReader.series(body(kind, change)) {
                let names = series.labels.map { $0[0] }
                #expect(names == ["__name__", "a_rack", "array", "cluster", "hall", "site", "step"])
                #expect(series.label("cluster") == "c 1" && series.label("step") == "10s")
            }
        case .alertmanager: break
        case .influx:
            #expect(
                text(kind, change).contains(
                    ",a_rack=r0,array=a0,cluster=c\\ 1,hall=h0,site=memphis,step=10s "))
        case .otlp:
            let json = text(kind) {
                change(&$0)
                $0.payload = .json
            }
            #expect(json.contains("{\"key\":\"a_rack\",\"value\":{\"stringValue\":\"r1\"}}"))
        case .webhook, .file, .stdout:
            #expect(
                text(kind, change).contains(
                    "\"level\":\"rack\",\"a_rack\":\"r0\",\"array\":\"a0\",\"cluster\":\"c 1\""))
        }
    }

    @Test("label changes that cannot be are said")
    func labelProblems() {
        #expect(
            LabelChanges(added: ["cluster": "x"], renamed: ["node": "instance", "rack": "node"]).problems
                .isEmpty)
        for bad in [
            LabelChanges(added: ["site": "x"]), LabelChanges(added: ["__name__": "x"]),
            LabelChanges(added: ["Cluster": "x"]), LabelChanges(added: ["a": ""]),
            LabelChanges(added: ["a": "x\ny"]),
            LabelChanges(renamed: ["gpu": "x"]), LabelChanges(renamed: ["rack": "site"]),
            LabelChanges(added: ["x": "1"], renamed: ["rack": "x"]), LabelChanges(added: ["a b": "1"]),
        ] { #expect(!bad.problems.isEmpty, "\(bad)") }
    }

    @Test("gzip, zstd and snappy are what others can read")
    func compression() throws {
        let bytes = Array(String(repeating: "level:field:statistic ", count: 1_000).utf8)
        #expect(Compression.none.pack(bytes) == bytes)
        #expect(try RemoteWriteReader.unpacked(Compression.snappy.pack(bytes)) == bytes)
        for (compression, tool) in [(Compression.gzip, "/usr/bin/gzip"), (.zstd, "/usr/bin/zstd")]
        where FileManager.default.isExecutableFile(atPath: tool) {
            let path = NSTemporaryDirectory() + "/packed-\(UUID().uuidString)"
            try Data(compression.pack(bytes)).write(to: URL(fileURLWithPath: path))
            defer { try? FileManager.default.removeItem(atPath: path) }
            let process = Process()
            let output = Pipe()
            process.executableURL = URL(fileURLWithPath: tool)
            process.arguments = ["-dc"]
            process.standardInput = FileHandle(forReadingAtPath: path)
            process.standardOutput = output
            try process.run()
            let read = output.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            #expect(Array(read) == bytes, "\(compression)")
        }
    }
}
