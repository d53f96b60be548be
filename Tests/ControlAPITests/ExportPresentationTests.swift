import ControlAPI
import Testing

@Suite struct FaultAndExportPresentationTests {
    @Test("truth says what was missed, hidden and detected, and after how long")
    func truth() throws {
        var seen = FaultRow(
            time: UTCTime(ms: 0), kind: "memory", entity: "r0001-n1", gpu: 3, injected: true,
            detection: .detected)
        (seen.detected, seen.sign, seen.delaySeconds) = (UTCTime(ms: 10_000), "xid", 10)
        let hidden = FaultRow(
            time: UTCTime(ms: 0), kind: "silent", entity: "r0001-n2", injected: false, detection: .hidden)
        let missed = FaultRow(
            time: UTCTime(ms: 0), kind: "hot", entity: "r0001-n2", injected: true, missed: true,
            detection: .hidden)
        let reply = TruthReply(
            run: "a", until: UTCTime(ms: 20_000), total: 9, faults: [seen, hidden, missed])
        let text = try reply.output(.table).joined(separator: "\n")
        #expect(text.contains("9 faults; of the newest 3: 1 detected, 2 leave no sign"))
        #expect(!text.contains("unknown: "))
        #expect(text.contains("missed") && text.contains("xid") && text.contains("10s"))
        var open = seen
        (open.detection, open.detected, open.sign, open.delaySeconds) = (.unknown, nil, nil, nil)
        let all = TruthReply(run: "a", until: UTCTime(ms: 20_000), total: 2, faults: [seen, open])
        let lines = try all.output(.table)
        #expect(lines[0].hasSuffix(": 2 faults; 1 detected, 0 leave no sign"))
        #expect(lines.last?.hasPrefix("unknown: the windows after it are not closed yet") == true)
        let csv = try reply.output(.csv)
        #expect(
            csv[1]
                == "a,1970-01-01T00:00:00Z,memory,r0001-n1,3,true,false,detected,1970-01-01T00:00:10Z,xid,10")
        #expect(try reply.output(.jsonl).allSatisfy { $0.contains(TruthReply.schemaName) })
    }

    @Test("an export shows its ports, or where it sends")
    func export() throws {
        func target(_ port: Int) -> ExportTarget {
            ExportTarget(
                address: "127.0.0.1:\(port)", node: "r0001-n1", rack: "r0001", array: "a001", hall: "h1")
        }
        let scrape = ExportStatus(
            name: "a", run: "r", kind: "scrape", nodes: 2, firstNode: "r0001-n1", simulatedTime: false,
            targets: [target(9_400), target(9_401)])
        let write = ExportStatus(
            name: "b", run: "r", kind: "remote_write", nodes: 2, firstNode: "r0001-n1", simulatedTime: true,
            url: "http://h/w")
        let text = try ExportsReply([scrape, write]).output(.table).joined(separator: "\n")
        #expect(text.contains("127.0.0.1:9400 … 127.0.0.1:9401") && text.contains("http://h/w"))
        #expect(try ExportsReply([]).output(.table) == ["no exports"])
    }
}
