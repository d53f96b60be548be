import Store
import Telemetry
import Testing

@testable import Reporting

/// Several windows in one request.
@Suite struct BatchTests {
    private static let ok = MachineDriver.status(204)

    private func windows(_ count: Int, racks: Int = 2) -> [StoredWindow] {
        Windows.stored((0..<count).map { Windows.window($0, racks: racks) }, racks: racks)
    }

    /// 26 numbers a window of two racks.
    private func configuration(
        _ kind: EndpointKind = .remoteWrite, windows: Int = 8, samplesMax: Int = 5_000
    ) -> EndpointConfiguration {
        var made = EndpointConfiguration.test(kind)
        made.batch.windowsMax = windows
        made.batch.samplesMax = samplesMax
        return made
    }

    @Test("windows that wait go out together, in order, as many as are allowed; the cursor moves past them")
    func together() {
        var driver = MachineDriver(configuration(windows: 8), windows(20)) { _, _ in Self.ok }
        driver.run()
        #expect(driver.sent.map(\.samples) == [8 * 26, 8 * 26, 4 * 26])
        #expect(driver.advances.map(\.to.sequence) == [8, 16, 20])
        #expect(driver.sent[0].id == "measured/10000/\(Windows.startMs)/0/0x8@8")
        #expect(driver.sent[0].endMs == Windows.startMs + 80_000)
        #expect(driver.machine.account.samples == 20 * 26)
    }

    @Test(
        "only what fits into one part goes together; larger windows go as ever", arguments: [26, 30, 60, 200])
    func fitting(samplesMax: Int) {
        var driver = MachineDriver(configuration(samplesMax: samplesMax), windows(20)) { _, _ in Self.ok }
        driver.run()
        #expect(driver.sent.allSatisfy { $0.samples <= samplesMax })
        #expect(driver.machine.account.samples == 20 * 26)
        #expect(driver.sent.count <= 20 && (samplesMax < 52 || driver.sent.count <= 11))
        var small = MachineDriver(configuration(samplesMax: 13), windows(5)) { _, _ in Self.ok }
        small.run()
        #expect(small.sent.count == 10)
        #expect(small.advances.map(\.to.parts).max() == 1)
    }

    @Test("a batch holds what its windows hold alone, and each series' times grow")
    func bodies() throws {
        let configuration = configuration()
        let three = windows(3)
        let grid = configuration.encoding.grid(for: .windows(three))
        let all = try RemoteWriteReader.series(
            grid.body(0..<grid.rowCount, id: "", part: 0, form: grid.form))
        let alone = try three.flatMap { window in
            let grid = configuration.encoding.grid(for: window)
            return try RemoteWriteReader.series(
                grid.body(0..<grid.rowCount, id: "", part: 0, form: grid.form))
        }
        #expect(all == alone && all.count == 78)
        var second = configuration
        second.protocolVersion = 2
        let new = second.encoding.grid(for: .windows(three))
        let written = try RemoteWriteReader.series2(
            new.body(0..<new.rowCount, id: "", part: 0, form: new.form))
        let heads = written.map { "\($0.name) \($0.labels["rack"] ?? "") \($0.timeMs) \($0.value ?? 0)" }
        let others = all.map { series in
            let sample = series.samples[0]
            return "\(series.name) \(series.label("rack") ?? "") \(sample.timeMs) \(sample.value)"
        }
        #expect(heads == others)
        for window in three.dropFirst() {
            // Later windows come behind earlier ones.
            let earlier = all.prefix { ($0.samples.first?.timeMs ?? 0) < window.summary.endMs }
            #expect(earlier.count == Int(window.sequence - 1) * 26)
        }
    }

    @Test("windows with different fields share what has the same name, and nothing else")
    func otherFields() throws {
        var configuration = configuration(.influx)
        configuration.compression = Compression.none
        let summaries = [
            Windows.window(0, racks: 1, fields: [.powerUsage]),
            Windows.window(1, racks: 1, fields: [.gpuTemp, .powerUsage]),
        ]
        let stored = Windows.stored(summaries, racks: 1)
        for kind in [EndpointKind.influx, .otlp] {
            configuration.kind = kind
            configuration.payload = .json
            let grid = configuration.encoding.grid(for: .windows(stored))
            let text = String(
                decoding: grid.body(0..<grid.rowCount, id: "", part: 0, form: .plain), as: UTF8.self)
            if kind == .influx {
                let alone = stored.map { window in
                    let grid = configuration.encoding.grid(for: window)
                    return String(
                        decoding: grid.body(0..<grid.rowCount, id: "", part: 0, form: .plain), as: UTF8.self)
                }
                #expect(text == alone.joined())
            } else {
                // Each metric once, with the points of both windows.
                #expect(text.components(of: "\"rack:DCGM_FI_DEV_POWER_USAGE:avg\"") == 1)
                #expect(text.components(of: "\"rack:DCGM_FI_DEV_GPU_TEMP:avg\"") == 1)
            }
        }
    }

    @Test("one poisoned series of a batch costs none of the others, of any window", arguments: [0, 30, 77])
    func bisect(poison: Int) {
        var taken: Set<Int> = []
        var driver = MachineDriver(configuration(), windows(3)) { part, _ in
            if part.rows.contains(poison) { return MachineDriver.status(400) }
            taken.formUnion(part.rows)
            return Self.ok
        }
        driver.run()
        #expect(taken == Set(0..<78).subtracting([poison]))
        #expect(driver.dead.map(\.part.rows) == [poison..<(poison + 1)])
        #expect(driver.cursor == DeliveryPosition(sequence: 3, parts: 0))
    }

    @Test("a hundred poisoned series, scattered over five thousand, cost none of the others")
    func scattered() {
        let window = StoredWindow(
            sequence: 1, summary: Windows.window(0, racks: 384), topology: Windows.topology(racks: 384))
        var endpoint = configuration()
        endpoint.batch.samplesMax = 5_000
        endpoint.batch.bytesMax = 16 << 20
        var taken: Set<Int> = []
        var attempts = 0
        var driver = MachineDriver(endpoint, [window]) { part, _ in
            attempts += 1
            if part.rows.contains(where: { $0 % 50 == 7 }) { return MachineDriver.status(400) }
            taken.formUnion(part.rows)
            return Self.ok
        }
        driver.run()
        let poisoned = Set((0..<4_992).filter { $0 % 50 == 7 })
        #expect(taken == Set(0..<4_992).subtracting(poisoned))
        #expect(Set(driver.dead.flatMap { Array($0.part.rows) }) == poisoned)
        #expect(attempts < 1_500, "\(attempts)")
    }

    @Test(
        "an endpoint that goes on refusing some of everything costs less and less; one that heals is trusted again"
    )
    func patience() {
        let windows = (0..<8).map {
            StoredWindow(
                sequence: Int64($0) + 1, summary: Windows.window($0, racks: 384),
                topology: Windows.topology(racks: 384))
        }
        var endpoint = configuration()
        endpoint.batch.samplesMax = 5_000
        endpoint.batch.bytesMax = 16 << 20
        var attempts: [Int64: Int] = [:]
        var driver = MachineDriver(endpoint, windows) { part, _ in
            attempts[part.sequence, default: 0] += 1
            let isBad = part.sequence != 5 && part.rows.contains { $0 % 20 == 3 }
            return isBad ? MachineDriver.status(400) : Self.ok
        }
        driver.run()
        #expect(driver.cursor == DeliveryPosition(sequence: 8, parts: 0))
        #expect(attempts[1, default: 0] > 1_000 && attempts[4, default: 0] < 200 && attempts[5] == 1)
        #expect(attempts[6, default: 0] < 400)
    }

    @Test("a window that comes alone waits for others, up to a time or a number")
    func waiting() {
        var endpoint = configuration(windows: 3)
        endpoint.batch.waitMs = 2_000
        endpoint.allowFuture = true
        var machine = EndpointStateMachine(endpoint, seed: 1)
        let all = windows(6)
        func fetched(_ from: Int, _ to: Int) -> EndpointStateMachine.Event {
            .windows(Array(all[from..<to]), scannedThrough: Int64(to))
        }
        _ = machine.handle(.start, nowMs: 0)
        _ = machine.handle(.cursor(.start), nowMs: 0)
        _ = machine.handle(.windows([], scannedThrough: 0), nowMs: 0)
        #expect(machine.state == .idle)
        let first = machine.handle(.committed(1), nowMs: 1_000)
        guard case .wake(2_000, let token)? = first.first, first.count == 1 else {
            Issue.record("it does not wait: \(first)")
            return
        }
        #expect(machine.handle(.committed(2), nowMs: 1_500).isEmpty && machine.state == .idle)
        #expect(machine.handle(.timer(token), nowMs: 3_000).count == 1 && machine.state == .fetching)
        guard case .send(let part)? = machine.handle(fetched(0, 2), nowMs: 3_000).first else {
            Issue.record("nothing is sent")
            return
        }
        #expect(part.samples == 2 * 26)
        _ = machine.handle(.attempted(Self.ok), nowMs: 3_010)
        _ = machine.handle(.advanced(true), nowMs: 3_020)
        _ = machine.handle(.windows([], scannedThrough: 2), nowMs: 3_020)
        #expect(machine.state == .idle)
        // Three are enough.
        #expect(machine.handle(.committed(3), nowMs: 4_000).count == 1)
        #expect(machine.handle(.committed(5), nowMs: 4_100).map(\.isFetch) == [true])
        // Nobody waits at the end.
        var ending = EndpointStateMachine(endpoint, seed: 1)
        _ = ending.handle(.start, nowMs: 0)
        _ = ending.handle(.cursor(.start), nowMs: 0)
        _ = ending.handle(.windows([], scannedThrough: 0), nowMs: 0)
        _ = ending.handle(.committed(1), nowMs: 1_000)
        #expect(ending.handle(.drain(.pending), nowMs: 1_100).map(\.isFetch) == [true])
    }

    @Test("revisions and windows of the future do not go with others")
    func alone() {
        var summaries = (0..<4).map { Windows.window($0, racks: 2) }
        summaries[2].revision = 1
        var endpoint = configuration()
        endpoint.sendsRevisions = true
        var driver = MachineDriver(endpoint, Windows.stored(summaries, racks: 2)) { _, _ in Self.ok }
        driver.run()
        #expect(driver.sent.map(\.samples) == [52, 26, 26])
        var future = MachineDriver(configuration(), windows(4)) { _, _ in Self.ok }
        future.nowMs = Windows.startMs + 15_000 - EndpointStateMachine.Limits.futureMs
        future.run()
        #expect(future.sent.map(\.samples) == [26])
        #expect(future.machine.account.dropped[.future] == 3 * 26)
    }

    @Test("what cannot be is said")
    func problems() {
        var endpoint = configuration()
        #expect(endpoint.problems == [])
        endpoint.batch.windowsMax = 1
        endpoint.batch.waitMs = 1
        #expect(endpoint.problems == ["a batch of one window has nothing to wait for"])
        endpoint = configuration(.webhook)
        #expect(endpoint.problems == ["webhook gets one window in a request"])
        endpoint = configuration(windows: 65)
        #expect(endpoint.problems.count == 1)
        endpoint = configuration()
        endpoint.takesAnyOrder = true
        endpoint.maxInFlight = 0
        #expect(endpoint.problems == ["1 to 64 requests may be on their way at once"])
        var file = EndpointConfiguration.test(.file)
        file.takesAnyOrder = true
        #expect(file.problems == ["out of order go only summaries, and only to receivers with a URL"])
    }
}

extension EndpointStateMachine.Action {
    fileprivate var isFetch: Bool { if case .fetch = self { true } else { false } }
}

extension String {
    fileprivate func components(of text: String) -> Int {
        var rest = self[...]
        var count = 0
        while let range = rest.firstRange(of: text) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}
