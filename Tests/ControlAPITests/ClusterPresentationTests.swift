import ControlAPI
import FoundationEssentials
import Testing

@Suite("What the cluster shows") struct ClusterPresentationTests {
    static let reply: ClusterReply = {
        var worker = ClusterMemberStatus(
            name: "w1", state: .active, roles: ["worker"], version: "1.0.0", heardSeconds: 1.2)
        worker.slices = 32
        worker.share = 32
        worker.readyThrough = UTCTime(ms: 1_714_694_460_000)
        var dead = ClusterMemberStatus(
            name: "w2", state: .silent, roles: ["worker", "rollup"], version: "1.0.0", heardSeconds: 99)
        dead.problem = "no broker can be reached"
        var reply = ClusterReply(cluster: "prod", member: "w1", connected: true)
        reply.stream = "sim/colossus"
        reply.speed = "60x"
        reply.windowSeconds = 60
        reply.slices = 64
        reply.slicesHeld = 32
        reply.partitions = 4
        reply.replicaLag = ["partials": 12, "finals": 0]
        reply.members = [worker, dead]
        return reply
    }()

    @Test("replies survive JSON and say what they are")
    func roundTrips() throws {
        let text = try ControlJSON.encode(Self.reply)
        #expect(try ControlJSON.decode(ClusterReply.self, from: text) == Self.reply)
        #expect(String(decoding: text, as: UTF8.self).contains("\"schema\":\"colossus.cluster/v1\""))
        var row = ClusterSliceRow(slice: 3, partition: 1, arrays: ["a004", "a068"])
        row.member = "w1"
        row.epoch = 77
        let slices = ClusterSlicesReply([row])
        let data = try ControlJSON.encode(slices)
        #expect(try ControlJSON.decode(ClusterSlicesReply.self, from: data) == slices)
    }

    @Test("the status names the run, how many slices are worked on, and who is silent")
    func status() throws {
        let lines = try Self.reply.output(.table)
        #expect(lines.contains("cluster prod, asked of w1"))
        #expect(lines.contains("slices  32 of 64 are worked on, in 4 partitions"))
        #expect(lines.contains("copies behind, messages: partials 12"))
        #expect(lines.contains { $0.hasPrefix("w1") && $0.contains("active") })
        #expect(lines.contains("w2: no broker can be reached"))
    }

    @Test("the status says what was asked of the run last, and who knows of it")
    func control() throws {
        var reply = Self.reply
        var control = ClusterControl(
            entries: 0, isKnown: true, playsThrough: UTCTime(ms: 1_714_694_460_000))
        reply.control = control
        #expect(try reply.output(.table).contains("control nothing was asked of the run"))
        control.entries = 2
        control.isKnown = false
        control.last = "speed 120.0"
        control.member = "w2"
        control.after = UTCTime(ms: 1_714_694_460_000)
        reply.control = control
        #expect(
            try reply.output(.table).contains(
                "control speed 120.0, asked of w2, after 2024-05-03T00:01:00Z of the run; number 2, "
                    + "and not all workers know of it yet"))
        let text = try ControlJSON.encode(reply)
        #expect(try ControlJSON.decode(ClusterReply.self, from: text) == reply)
        #expect(String(decoding: text, as: UTF8.self).contains("\"plays_through\""))
    }

    @Test("one row a member for spreadsheets, one object a worker for jq")
    func records() throws {
        let csv = try Self.reply.output(.csv)
        #expect(csv.count == 3 && csv[0].hasPrefix("name,state,roles,version,heard_seconds,slices"))
        #expect(csv[1].hasPrefix("w1,active,worker,1.0.0,1.2,32,32,2024-05-03T00:01:00Z"))
        let objects = try ClusterWorkersReply(Self.reply).output(.jsonl)
        #expect(objects.count == 2 && objects[0].contains("\"schema\":\"colossus.cluster_workers/v1\""))
    }

    @Test("slices without a worker are counted")
    func freeSlices() throws {
        let rows = [0, 1].map { ClusterSliceRow(slice: $0, partition: 0, arrays: ["a\($0)"]) }
        let lines = try ClusterSlicesReply(rows).output(.table)
        #expect(lines.contains("2 of 2 slices have no worker"))
    }

    @Test("a drain says what is left")
    func change() throws {
        let reply = ClusterChangeReply(
            [ClusterMemberChange(member: "w2", ok: true, message: "it gives its slices away", slices: 0)],
            done: true)
        #expect(try reply.output(.table) == ["w2: it gives its slices away; it has 0 slices"])
    }

    @Test(
        "the bill of a fleet: 200,000 GPUs have 391 arrays, and ten times the window is a tenth of the bytes")
    func capacity() throws {
        let bill = ClusterCapacityReply(
            gpus: [200_000, 10_000_000], windowSeconds: 10, fields: 25, leaseSeconds: 10, slicesMax: 64)
        let small = try #require(bill.rows.first)
        #expect(small.arrays == 391 && small.slices == 64 && small.partitions == 33)
        // 3,125 racks of 25 fields of 75 bytes, and 28,125 names with GPU counts of 20.
        #expect(abs(small.partialMegabytesPerSecond - (3_125 * 25 * 75 + 28_125 * 20) / 1e7) < 1e-9)
        #expect(small.brokers == 3 && bill.rows[1].brokers == 5)
        let fast = ClusterCapacityReply(
            gpus: [200_000], windowSeconds: 1, fields: 25, leaseSeconds: 10, slicesMax: 64)
        #expect(
            abs(fast.rows[0].partialMegabytesPerSecond - 10 * small.partialMegabytesPerSecond) < 1e-9)
        #expect(try bill.output(.csv).count == 3)
        #expect(try bill.output(.table).contains { $0.contains("200,000") || $0.contains("200000") })
    }
}
