import Receivers
import Telemetry
import TestSupport
import Testing
import WireFormats

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

private struct Report: Decodable, Equatable {
    struct Entry: Decodable, Equatable {
        var line: Int
        var error: String
    }
    var accepted: Int
    var rejected: [String: Int]
    var errors: [Entry]
    var hints: [String: String]?

    init?(_ reply: RawClient.Reply?) {
        guard let reply, reply.headers["content-type"] == "application/json",
            let report = try? JSONDecoder().decode(Report.self, from: Data(reply.body.utf8))
        else { return nil }
        self = report
    }
}

@Suite(.serialized) struct ImportTests {
    @Test("a page of dcgm-exporter arrives whole")
    func exporterPage() async throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "Fixtures/dcgm_example_8gpu_hostname.prom")
        let page = try Data(contentsOf: file)
        let bench = Bench()
        try await bench.run { port in
            let client = try RawClient(port: port)
            for _ in 0..<2 {
                let reply = await client.post("/api/v1/import", Array(page), ["Content-Type": "text/plain"])
                #expect(reply?.status == 200)
                let report = try #require(Report(reply))
                #expect(report.accepted == 200 && report.rejected == [:] && report.errors == [])
            }
        }
        // What the page says, read by simple means: the line after the last blank is the value.
        let lines = String(decoding: page, as: UTF8.self).split(separator: "\n").filter { !$0.hasPrefix("#") }
        var expected: [String: Double] = [:]
        for line in lines {
            let name = line.prefix { $0 != "{" }
            let gpu = line.split(separator: "gpu=\"")[1].prefix { $0 != "\"" }
            expected["\(name)/\(gpu)"] = Double(line.split(separator: " ").last ?? "")
        }
        let topology = bench.topology
        var found: [String: Double] = [:]
        for sample in bench.sink.samples {
            let ordinal = topology.gpuOrdinal[Int(sample.series.gpu)]
            found["\(sample.series.field.field.name)/\(ordinal)"] = sample.value
            #expect(sample.timeMs == Bench.nowMs)
        }
        #expect(expected.count == 200 && found == expected)
        #expect(bench.sink.series.count == 200, "25 fields of 8 GPUs, once each")
        #expect(Set(bench.sink.series.map(\.field)) == Set(FieldCatalog.defaults))
        #expect(topology.nodeNames == ["r07-n21.pod3.example"] && topology.gpuNode.count == 8)
        #expect(topology.nodeModel == ["NVIDIA H100 80GB HBM3"])
        #expect(topology.rackNames == [Placement.unassigned])
    }

    @Test("good lines count, bad ones are named")
    func mixed() async throws {
        let bench = Bench()
        try await bench.run { port in
            let client = try RawClient(port: port)
            let page = """
                # TYPE DCGM_FI_DEV_GPU_TEMP gauge
                DCGM_FI_DEV_GPU_TEMP{gpu="0",hostname="n1"} 40 \(Bench.nowMs - 5)
                DCGM_FI_DEV_GPU_TEMP{gpu="1",hostname="n1"} warm
                DCGM_FI_DEV_GPU_TEMP{gpu="1"} 41
                up 1
                """
            let reply = await client.post("/api/v1/import", Array(page.utf8))
            #expect(reply?.status == 200)
            let report = try #require(Report(reply))
            #expect(report.accepted == 1)
            #expect(report.rejected == ["bad_line": 1, "no_entity": 1, "unknown_field": 1])
            #expect(report.errors == [.init(line: 3, error: "the value is no number")])
            let none = await client.post("/api/v1/import", Array("?\n".utf8))
            #expect(none?.status == 400 && Report(none)?.errors.first?.line == 1)
            let empty = await client.post("/api/v1/import", [])
            #expect(empty?.status == 400 && empty?.body.hasPrefix("The body is empty: send lines") == true)
            let comments = Report(await client.post("/api/v1/import", Array("# HELP x y\n".utf8)))
            #expect(
                comments?.errors.first?.error == "there is no sample in the text, only comments and blanks")
            let odd = "DCGM_FI_DEV_GPU_TEMP{Hostname=\"n1\",gpu=\"GPU0\"} 45\n"
            let hints = Report(await client.post("/api/v1/import", Array(odd.utf8)))?.hints
            #expect(hints?["no_entity"]?.contains("a number from 0 to 255") == true)
        }
        #expect(bench.sink.samples.map(\.timeMs) == [Bench.nowMs - 5])
        #expect(bench.ledger.value.received == 3)
    }

    @Test("events arrive, bad lines are named")
    func events() async throws {
        let bench = Bench()
        try await bench.run { port in
            let client = try RawClient(port: port)
            let lines = """
                {"time": "2025-11-24T15:00:00Z", "kind": "job_start", "job": "run-417", "nodes": ["n1", "n2"]}
                {"kind": "xid", "entity": "n1", "gpu": 3, "value": 79, "message": "fell off the bus"}

                {"kind": "job_start", "job": "x"}
                {"kind": "milestone"}
                {"kind": "checkpoint", "job": "x", "nods": []}
                {"kind": "checkpoint", "job": 7}
                {"kind": "checkpoint", "job": "x", "time": 1764000000}
                {"kind": "checkpoint", "job": "x", "time": "yesterday"}
                {"job": "x"}
                [1]
                {"kind": "job_end", "job": "run-417", "time": 1763999999999}
                nonsense
                {"kind": "xid", "entity": "n1", "value": 79, "gpu": 300}
                """
            let reply = await client.post(
                "/api/v1/events", Array(lines.utf8), ["Content-Type": "application/x-ndjson"])
            #expect(reply?.status == 200)
            let report = try #require(Report(reply))
            #expect(report.accepted == 3 && report.rejected == ["bad_line": 10])
            #expect(report.errors.map(\.line) == [4, 5, 6, 7, 8, 9, 10, 11, 13, 14])
            #expect(report.errors[0].error == "a job that starts needs `job` and `nodes`")
            #expect(report.errors[2].error.hasPrefix("unknown key `nods`; known are time, kind"))
            #expect(report.errors[3].error == "`job` is of the wrong type")
            #expect(report.errors[6].error == "`kind` is missing")
            #expect(report.errors[7].error == "a JSON object was expected")
            #expect(report.errors[8].error == "this is no JSON object")
            #expect(report.errors[9].error == "`gpu` must be from 0 to 255")
            #expect(await client.post("/api/v1/events", Array("{}\n".utf8))?.status == 400)
            let empty = await client.post("/api/v1/events", [])
            #expect(empty?.status == 400 && empty?.body.hasPrefix("The body is empty: send one") == true)
            let blank = Report(await client.post("/api/v1/events", Array(" \n\n".utf8)))
            #expect(blank?.errors.first?.error == "there is no event, only blanks")
        }
        let start = Event(
            stream: .measured, timeMs: 1_763_996_400_000, kind: .jobStart, job: "run-417",
            nodes: ["n1", "n2"], source: .ingest)
        let xid = Event(
            stream: .measured, timeMs: Bench.nowMs, kind: .xid, entity: "n1", gpu: 3, value: 79,
            message: "fell off the bus", source: .ingest)
        let end = Event(
            stream: .measured, timeMs: 1_763_999_999_999, kind: .jobEnd, job: "run-417", source: .ingest)
        #expect(bench.events.all == [start, xid, end])
    }

    @Test("events that lie further back than they are kept, or ahead, are refused with reason and count")
    func oldEvents() async throws {
        let bench = Bench { $0.limits.eventsKeepMs = 3_600_000 }
        try await bench.run { port in
            let client = try RawClient(port: port)
            let lines = ([-3_600_001, -3_600_000, 0, 600_001] as [Int64]).map {
                #"{"kind": "checkpoint", "job": "x", "time": \#(Bench.nowMs + $0)}"#
            }
            let reply = await client.post("/api/v1/events", Array(lines.joined(separator: "\n").utf8))
            let report = try #require(Report(reply))
            #expect(report.accepted == 2 && report.rejected == ["too_old": 1, "future": 1])
            #expect(report.errors.map(\.line) == [1, 4])
            #expect(report.errors[0].error.contains("further back than events are kept"))
            let none = await client.post("/api/v1/events", Array(lines[0].utf8))
            #expect(none?.status == 400)
        }
        #expect(bench.events.all.map(\.timeMs) == [Bench.nowMs - 3_600_000, Bench.nowMs])
        #expect(bench.metric(#"colossus_ingest_refused_events_total{reason="too_old"} 2"#))
    }

    @Test("events are bounded: their number, their length, their depth")
    func eventLimits() async throws {
        let bench = Bench {
            $0.limits.eventsPerRequest = 2
            $0.limits.eventLineBytes = 3_000
        }
        try await bench.run { port in
            let client = try RawClient(port: port)
            let line = #"{"kind": "checkpoint", "job": "x"}"# + "\n"
            let three = String(repeating: line, count: 3)
            #expect(await client.post("/api/v1/events", Array(three.utf8))?.status == 413)
            #expect(bench.events.all.isEmpty)
            let deep = #"{"kind": "checkpoint", "job": "#
            let nested =
                deep + String(repeating: "[", count: 1_400) + String(repeating: "]", count: 1_400) + "}"
            #expect(await client.post("/api/v1/events", Array(nested.utf8))?.status == 400)
            let long = line.replacing("x", with: String(repeating: "x", count: 3_000))
            let reply = await client.post("/api/v1/events", Array(long.utf8))
            #expect(
                reply?.status == 400
                    && Report(reply)?.errors.first?.error == "the line is longer than 3000 bytes")
        }
    }
}
