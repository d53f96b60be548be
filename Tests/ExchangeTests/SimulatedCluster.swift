import Exchange
import Telemetry
import TestSupport

/// A bus as one process sees it: while the process is stopped nothing reaches it, and it sends nothing.
final class ProcessBus: Bus {
    private struct State {
        var isStopped = false
        var waiting: [@Sendable () -> Void] = []
    }
    private let state = Locked(State())
    private let inner: any Bus

    init(_ inner: any Bus) { self.inner = inner }

    func stop() { state.withLock { $0.isStopped = true } }
    var isStopped: Bool { state.withLock { $0.isStopped } }

    func go() {
        state.withLock { $0.isStopped = false }
        while let next = state.withLock({ $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }) { next() }
    }

    private func arrive(_ body: @escaping @Sendable () -> Void) {
        let isStopped = state.withLock { state in
            if state.isStopped { state.waiting.append(body) }
            return state.isStopped
        }
        if !isStopped { body() }
    }

    func publish(
        _ message: BusMessage, expecting: Expectation,
        done: @escaping @Sendable (Result<UInt64, BusError>) -> Void
    ) {
        inner.publish(message, expecting: expecting) { [self] result in arrive { done(result) } }
    }

    func last(
        _ stream: BusStream, _ subject: Subject,
        done: @escaping @Sendable (Result<StoredMessage?, BusError>) -> Void
    ) {
        inner.last(stream, subject) { [self] result in arrive { done(result) } }
    }

    func trim(
        _ stream: BusStream, _ filter: Subject, before sequence: UInt64,
        done: @escaping @Sendable (Result<UInt64, BusError>) -> Void
    ) {
        inner.trim(stream, filter, before: sequence) { [self] result in arrive { done(result) } }
    }

    func open(
        _ stream: BusStream, _ filter: Subject, from start: BusStart,
        deliver: @escaping @Sendable (BusDelivery) -> Void
    ) -> any BusCursor {
        inner.open(stream, filter, from: start) { [self] delivery in arrive { deliver(delivery) } }
    }

    func request(
        _ subject: Subject, _ bytes: [UInt8], timeoutMs: Int64,
        done: @escaping @Sendable (Result<[UInt8], BusError>) -> Void
    ) { inner.request(subject, bytes, timeoutMs: timeoutMs, done: done) }

    func respond(
        _ subject: Subject, group: String?, answer: @escaping @Sendable ([UInt8]) -> [UInt8]
    ) -> any BusCursor { inner.respond(subject, group: group, answer: answer) }
}

/// Workers and roll-ups on a virtual clock and a bus of faults, all from one seed.
final class SimulatedCluster {
    final class Node<Machine: NodeMachine> {
        let bus: ProcessBus
        let shell: NodeShell<Machine>
        init(_ machine: Machine, _ inner: any Bus, _ time: VirtualTime) {
            bus = ProcessBus(inner)
            shell = NodeShell(machine, bus: bus, clock: { time.nowMs })
        }
        func tick() { if !bus.isStopped { shell.tick() } }
    }

    static let tickMs: Int64 = 150
    let fleet: FleetMap
    let source: SampleFleet
    let time: VirtualTime
    let memory: MemoryBus
    let chaos: ChaosBus
    var random: SeededRandom
    let leaseMs: Int64
    let graceMs: Int64
    let limits: ExchangeLimits
    var workers: [Node<WorkerMachine>] = []
    var rollups: [Node<RollupMachine>] = []
    private var told: [(atMs: Int64, waits: Bool)] = []
    /// Of nodes that are gone.
    var past = (
        late: UInt64(0), duplicate: UInt64(0), stale: UInt64(0), recovered: UInt64(0), adopted: UInt64(0)
    )

    init(
        seed: UInt64, fleet: FleetMap, windows: Int64, leaseMs: Int64 = 1_500, graceMs: Int64 = 30_000,
        workers workerCount: Int = 3, rollups rollupCount: Int = 2, faults: ChaosBus.Faults = .init(),
        limits: ExchangeLimits = ExchangeLimits(), kept: @escaping @Sendable () -> Int64 = { 0 },
        most: @escaping @Sendable () -> Int64 = { .max }, behind earlier: SimulatedCluster? = nil
    ) {
        self.limits = limits
        self.fleet = fleet
        self.leaseMs = leaseMs
        self.graceMs = graceMs
        let time = earlier?.time ?? VirtualTime()
        self.time = time
        source = SampleFleet(
            seed: seed, ready: { min(windows - 1, most(), fleet.lastWindow(endedMs: time.nowMs)) }, kept: kept
        )
        random = SeededRandom(seed: seed)
        memory = earlier?.memory ?? MemoryBus(clock: time.wallClock)
        chaos = ChaosBus(
            memory, scheduler: time, random: SeededRandom(seed: random.next()), faults: faults)
        for index in 0..<workerCount { workers.append(worker(index)) }
        for index in 0..<rollupCount { rollups.append(rollup(index)) }
    }

    /// Of this run.
    var finals: [StoredMessage] {
        memory.messages(.finals).filter { fleet.finalSubjects.matches($0.subject) }
    }

    /// What members tell each other of full streams, two seconds old.
    func tellOfRoom() {
        let waits = workers.contains { node in
            !node.bus.isStopped && node.shell.withMachine { $0.status(nowMs: time.nowMs).full } > 0
        }
        told.append((time.nowMs, waits))
        while let next = told.dropFirst().first, next.atMs <= time.nowMs - 2_000 { told.removeFirst() }
        guard let known = told.first, known.atMs <= time.nowMs - 2_000 else { return }
        for node in rollups where !node.bus.isStopped { node.shell.withMachine { $0.hold(known.waits) } }
    }

    private func worker(_ index: Int) -> Node<WorkerMachine> {
        let machine = WorkerMachine(
            name: "w\(index)", incarnation: random.next() | 1, fleet: fleet, leaseMs: leaseMs, source: source,
            limits: limits)
        return Node(machine, chaos, time)
    }

    func rollup(_ index: Int) -> Node<RollupMachine> {
        let machine = RollupMachine(
            name: "u\(index)", incarnation: random.next() | 1, fleet: fleet, leaseMs: leaseMs,
            graceMs: graceMs, limits: limits)
        let node = Node(machine, chaos, time)
        // Until it has heard of the others.
        node.shell.withMachine { $0.hold(true) }
        return node
    }

    /// One of the misfortunes: a process is killed and started anew, or stands still for a while, or the broker does.
    func misfortune() {
        switch Int.random(in: 0..<12, using: &random) {
        case 0: killWorker(Int.random(in: 0..<workers.count, using: &random))
        case 1: killRollup(Int.random(in: 0..<rollups.count, using: &random))
        case 2: stop(workers[Int.random(in: 0..<workers.count, using: &random)].bus)
        case 3: stop(rollups[Int.random(in: 0..<rollups.count, using: &random)].bus)
        case 4: chaos.pause(forMs: Int64.random(in: 100...2_000, using: &random))
        case 5: fill(.partials)
        case 6: fill(.finals)
        default: break
        }
    }

    private func stop(_ bus: ProcessBus) {
        bus.stop()
        time.after(Int64.random(in: 200...4_000, using: &random)) { bus.go() }
    }

    /// A stream has hardly any room for a while.
    private func fill(_ stream: BusStream) {
        memory.limit(stream, toBytes: Int.random(in: 0...2_000, using: &random))
        time.after(Int64.random(in: 200...6_000, using: &random)) { [memory] in
            memory.limit(stream, toBytes: nil)
        }
    }

    func killWorker(_ index: Int) {
        workers[index].shell.stop()
        workers[index] = worker(index)
    }

    func killRollup(_ index: Int) {
        remember(rollups[index])
        rollups[index].shell.stop()
        rollups[index] = rollup(index)
    }

    private func remember(_ node: Node<RollupMachine>) {
        let status = node.shell.withMachine { $0.status(nowMs: time.nowMs) }
        past.recovered += status.recovered
        past.adopted += status.adopted
        for partition in status.partitions {
            past.late += partition.merged.late
            past.duplicate += partition.merged.duplicate + partition.merged.settled
            past.stale += partition.merged.stale
        }
    }

    /// Until each partition has closed so many windows; `false` when it takes longer than `limitMs`.
    func run(windows: Int64, limitMs: Int64, misfortunes: Bool = true) -> Bool {
        var nextMs: Int64 = 0
        while nextMs <= limitMs {
            time.run(untilMs: nextMs)
            for node in workers { node.tick() }
            for node in rollups { node.tick() }
            tellOfRoom()
            // Only while there is something to close: a cluster that is never left in peace proves nothing.
            if misfortunes, nextMs < windows * fleet.windowMs + 2_000 { misfortune() }
            nextMs += Self.tickMs
            if finals.count >= Int(windows) * fleet.partitions { break }
        }
        for node in rollups { remember(node) }
        return finals.count >= Int(windows) * fleet.partitions
    }

    /// What is wrong with the finals; empty when each window is closed once, in order, and equals the oracle.
    func faults(windows: Int64) throws -> [String] {
        var faults: [String] = []
        var next = [Int64](repeating: 0, count: fleet.partitions)
        for message in finals {
            let final = try FinalRecord(decoding: message.bytes)
            let partition = Int(final.partition)
            let place = "window \(final.window) of partition \(partition)"
            if final.window != next[partition] { faults.append("\(place) where \(next[partition]) was due") }
            next[partition] = final.window + 1
            if final.slicesPresent != final.slicesExpected {
                faults.append("\(place) has \(final.slicesPresent) of \(final.slicesExpected) slices")
            } else if final.groups != source.oracle(fleet, partition: partition, window: final.window) {
                faults.append("\(place) differs from the oracle")
            }
        }
        for (partition, count) in next.enumerated() where count != windows {
            faults.append("partition \(partition) closed \(count) windows")
        }
        return faults
    }
}
