import Aggregation
import Receivers
import Store
import Telemetry
import TestSupport
import Testing
import WireFormats

/// Remote write over HTTP into a log on disk, a process that ends without a word, and one that repeats the log.
@Suite struct IngestLogFlowTests {
    static let temperature = "DCGM_FI_DEV_GPU_TEMP"
    static let energy = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
    static let startMs: Int64 = 1_764_000_000_000
    static let gpus = 8

    /// One scrape of a node's GPUs: what a test expects is worked out from these numbers alone.
    static func value(_ field: String, step: Int, gpu: Int) -> Double {
        field == energy ? Double(1_000_000 * gpu + 700 * step) : Double(30 + gpu + step % 7)
    }

    static func labels(_ field: String, node: String, gpu: Int) -> [String: String] {
        ["__name__": field, "Hostname": node, "gpu": "\(gpu)", "rack": "r1"]
    }

    static func timeMs(_ step: Int) -> Int64 { startMs + Int64(step) * 1_000 }

    static func version1(node: String, step: Int) -> [UInt8] {
        var encoder = RemoteWriteEncoder()
        for field in [temperature, energy] {
            for gpu in 0..<gpus {
                encoder.add(
                    labels: labels(field, node: node, gpu: gpu).map { Label($0.key, $0.value) },
                    samples: [
                        TimedValue(timeMs: timeMs(step), value: value(field, step: step, gpu: gpu))
                    ])
            }
        }
        return encoder.finish()
    }

    static func version2(node: String, step: Int) -> [UInt8] {
        var message = Message2()
        for field in [temperature, energy] {
            for gpu in 0..<gpus {
                message.add(
                    labels(field, node: node, gpu: gpu),
                    [(timeMs(step), value(field, step: step, gpu: gpu))])
            }
        }
        return Snappy.encode(message.bytes)
    }

    static let version2Headers = [
        "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        "X-Prometheus-Remote-Write-Version": "2.0.0",
    ]

    /// Sends scrapes of two nodes, one in each version of the protocol; the clock goes with them.
    static func send(_ life: LoggedLife, _ client: RawClient, steps: Range<Int>) async {
        for step in steps {
            life.set(nowMs: timeMs(step) + 100)
            #expect(await client.write(version1(node: "n1", step: step))?.status == 204)
            #expect(await client.write(version2(node: "n2", step: step), version2Headers)?.status == 204)
        }
    }

    /// Two nodes; of a counter each GPU's increase from the first scrape to the last.
    static func expect(_ remains: Remains, steps: Int) {
        let count = steps * 2 * gpus
        let sum = (0..<steps).reduce(0.0) { sum, step in
            (0..<gpus).reduce(sum) { $0 + 2 * value(temperature, step: step, gpu: $1) }
        }
        let temperatures = remains.total(temperature)
        #expect(temperatures.count == count && temperatures.sum == sum)
        let energies = remains.total(energy)
        #expect(energies.count == count)
        #expect(energies.sum == Double(2 * gpus) * 700 * Double(steps - 1))
        guard let ledger = remains.last?.ledger else {
            Issue.record("nothing was committed")
            return
        }
        #expect(ledger.received == Int64(2 * count) && ledger.aggregated == ledger.received)
    }

    @Test(
        "a killed process's successor counts what was acknowledged, once: remote write 1.0 and 2.0, gauges and counters",
        .timeLimit(.minutes(10)), arguments: [[7], [33], [61], [14, 45], [25, 26, 58]])
    func kills(at kills: [Int]) async throws {
        let remains = try Remains()
        let steps = 70
        var done = 0
        for kill in kills + [steps] {
            let life = try LoggedLife(remains, nowMs: Self.timeMs(done))
            let client = try await RawClient(port: life.server.start().port)
            // It takes data at once, while it repeats.
            await Self.send(life, client, steps: done..<kill)
            #expect(try await life.waitFor { life.server.replay?.isDone == true })
            #expect(life.server.replay?.unreadable == 0)
            done = kill
            if kill < steps { await life.kill() } else { await life.finish() }
        }
        Self.expect(remains, steps: steps)
    }

    @Test("a full log is 503 with Retry-After over HTTP; when windows are committed it takes requests again")
    func full() async throws {
        let remains = try Remains()
        remains.hold()
        let life = try LoggedLife(remains, nowMs: Self.startMs) { $0.bytesMax = 20_000 }
        let client = try await RawClient(port: life.server.start().port)
        #expect(try await life.waitFor { life.server.replay?.isDone == true })
        var step = 0
        var reply: RawClient.Reply?
        while step < 400 {
            life.set(nowMs: Self.timeMs(step) + 100)
            reply = await client.write(Self.version1(node: "n1", step: step))
            guard reply?.status == 204 else { break }
            step += 1
        }
        #expect(reply?.status == 503 && reply?.headers["retry-after"] == "5", "after \(step) scrapes")
        #expect(step > 20 && life.log.obstacle != nil)
        let again = await client.write(Self.version1(node: "n1", step: step))
        #expect(again?.status == 503, "and on the same connection")

        remains.release()
        var status: Int?
        for _ in 0..<1_000 where status != 204 {
            life.core.tick()
            status = await client.write(Self.version1(node: "n1", step: step))?.status
            if status != 204 { try await Task.sleep(for: .milliseconds(10)) }
        }
        #expect(status == 204 && life.log.obstacle == nil)
        await life.finish()
        #expect(
            remains.total(Self.temperature).count == (step + 1) * Self.gpus, "what was refused is not in it")
    }

    @Test("without durability an old log is repeated once, nothing new goes into it, and then it is gone")
    func none() async throws {
        let remains = try Remains()
        let first = try LoggedLife(remains, nowMs: Self.startMs)
        let client = try await RawClient(port: first.server.start().port)
        await Self.send(first, client, steps: 0..<8)
        await first.kill()
        #expect(try !remains.logFiles.isEmpty && IngestLog.holdsRecords(directory: remains.path))

        let second = try LoggedLife(remains, nowMs: Self.timeMs(8), keepsNew: false)
        let other = try await RawClient(port: second.server.start().port)
        #expect(try await second.waitFor { second.server.replay?.isDone == true })
        #expect(second.server.replay?.records == 16)
        let bytes = second.log.bytes
        // Less than a segment, and not a closing yet: it would have grown by every request.
        second.set(nowMs: Self.timeMs(8) + 100)
        #expect(await other.write(Self.version1(node: "n1", step: 8))?.status == 204)
        #expect(await other.write(Self.version2(node: "n2", step: 8), Self.version2Headers)?.status == 204)
        #expect(second.log.bytes == bytes)
        await Self.send(second, other, steps: 9..<70)
        await second.drain()
        #expect(try await second.waitFor { remains.logFiles.isEmpty })
        #expect(try second.log.bytes == 0 && !IngestLog.holdsRecords(directory: remains.path))
        await Self.send(second, other, steps: 70..<75)
        await second.finish()
        Self.expect(remains, steps: 75)
    }

    @Test("series beyond the limit count in the site and under __other__, and no GPU is made up for them")
    func folded() async throws {
        let core = CoreUnderTest(nowMs: Self.startMs + 60_000)
        let stream = core.core.openStream(StreamSpec(id: .measured, site: "lab", plan: LoggedLife.plan))
        var configuration = IngestConfiguration()
        configuration.port = 0
        configuration.limits.seriesInAll = 4
        let server = core.server(configuration, stream)
        let client = try await RawClient(port: server.start().port)
        for step in 0..<5 {
            #expect(await client.write(Self.version1(node: "n1", step: step))?.status == 204)
        }
        let outcome = await core.finish(stream, dropped: 40)
        await server.stop()
        let place = Place(
            startMs: Self.startMs, resolutionMs: 10_000, level: .site, entity: "lab",
            field: FieldCatalog.find(name: Self.temperature))
        let site = try #require(outcome[place])
        #expect(site.count == 40 && site.max == Self.value(Self.temperature, step: 4, gpu: 7))
        for level in [Level.node, .rack, .array, .hall] {
            var other = place
            other.level = level
            other.entity = "__other__"
            #expect(outcome[other]?.count == 20, "\(level)")
            other.field = nil
            #expect(outcome[other] == nil, "no GPU of \(level) __other__")
        }
        var gpus = place
        gpus.field = nil
        #expect(outcome[gpus]?.count == 4, "GPUs that are told apart")
        #expect(core.core.status(stream)?.ledger[.seriesLimit] == 40)
    }
}
