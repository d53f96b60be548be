import Aggregation
import ControlAPI
import Exchange
import FoundationEssentials
import NATSExchange
import Playback
import Settings
import Simulation
import Store
import Telemetry

/// A run that somebody has started for all members: the newest one of the cluster.
struct SharedStart: Codable, Sendable, Equatable {
    static let bytesMax = 256 * 1_024

    /// 1: the first of its cluster, as versions have it that know but one. Those refuse any other.
    var v: Int
    var run: String
    /// The text of the scenario.
    var scenario: String
    /// What it is called in messages.
    var path: String
    var seed: UInt64
    /// Simulated seconds a second.
    var speed: Double
    /// Who was asked, and when (Unix milliseconds).
    var member: String
    var askedMs: Int64
    /// Which of the cluster's runs, from 2 on, and the names of those before.
    var number: UInt64?
    var earlier: [String]?

    /// Whether both are the same run, whoever was asked for it.
    func isSame(as other: SharedStart) -> Bool {
        run == other.run && scenario == other.scenario && seed == other.seed && speed == other.speed
    }

    var bytes: [UInt8] { (try? JSONEncoder().encode(self)).map(Array.init) ?? [] }

    init(
        run: String, scenario: String, path: String, seed: UInt64, speed: Double, member: String,
        askedMs: Int64
    ) {
        v = 1
        self.run = run
        self.scenario = scenario
        self.path = path
        self.seed = seed
        self.speed = speed
        self.member = member
        self.askedMs = askedMs
    }

    /// The same behind others.
    func numbered(_ number: UInt64, after earlier: [String]) -> SharedStart {
        guard number > 1 else { return self }
        var start = self
        (start.v, start.number, start.earlier) = (2, number, earlier)
        return start
    }

    /// Others have written it; the scenario is checked where it is used.
    init(decoding bytes: [UInt8]) throws(BusError) {
        guard bytes.count <= Self.bytesMax else { throw .failed("the run that was started is too long") }
        guard let known = try? JSONDecoder().decode(SharedStart.self, from: Data(bytes)) else {
            throw .failed("the run that was started cannot be read")
        }
        guard known.v == 1 || known.v == 2 else {
            throw .failed("the run that was started is of a later version")
        }
        guard ControlLog.speeds.contains(known.speed), StreamID.simulated(run: known.run) != nil else {
            throw .failed("the run that was started has no valid name or speed")
        }
        let number = known.number ?? 1
        guard known.v == 1 ? number == 1 : (2...FleetMap.runsMax).contains(number) else {
            throw .failed("the run that was started has no valid number")
        }
        self = known
    }

    /// Which of the cluster's runs that is, whatever else is said of it.
    static func number(of bytes: [UInt8]) -> UInt64? {
        struct Head: Codable { var number: UInt64? }
        guard bytes.count <= bytesMax else { return nil }
        return (try? JSONDecoder().decode(Head.self, from: Data(bytes))).map { $0.number ?? 1 }
    }
}

// A run that is started for all members.
extension ClusterNode {
    /// Starts a run for all members, where none is played.
    ///
    /// - Returns: its name and number.
    func start(_ wanted: SimulationStart) async throws -> (run: String, number: UInt64) {
        guard wanted.tick == nil else {
            throw ControlError(
                .badRequest, "The ticks of a cluster's run follow its speed.", hint: "Leave --tick out.")
        }
        let (scenario, text, path) = try SimulationRuns.scenario(wanted)
        let pace = try wanted.speed.map { try Pace(text: $0) } ?? .times(scenario.speed)
        guard case .times(let speed) = pace else {
            throw ControlError(
                .badRequest, "A cluster's run cannot go at \(pace).",
                hint: "Its workers go by the clock: write simulated seconds a second, or a length a second.")
        }
        let start = SharedStart(
            run: wanted.run ?? scenario.name, scenario: text, path: path, seed: scenario.seed, speed: speed,
            member: name, askedMs: around.clock.nowMs())
        guard StreamID.simulated(run: start.run) != nil else {
            throw ControlError(
                .badRequest, "\(start.run) is no name for a run.",
                hint: "Write 1 to 64 characters out of a-z A-Z 0-9 . _ -")
        }
        // The names of those before find room beside it.
        guard start.bytes.count <= SharedStart.bytesMax - 80 * StartMachine.earlierMax else {
            throw ControlError(
                .tooLarge, "The scenario is too long to be shared.", hint: "170 KiB are the most.")
        }
        let fleet = try SharedFleet(settings, start)
        guard !around.names.isOwn(start.run) else {
            throw ControlError(
                .conflict, "A run named \(start.run) plays on this member already.",
                hint: "Choose another name with --run.")
        }
        do {
            let bus = try await broker()
            // Kept from here on: what is written down is read where it may take its time.
            let known = try await startedName(bus)
            if try await around.store.closedThrough(fleet.stream) != nil, known != start.run {
                throw ControlError(
                    .conflict, "The history of this member has a run named \(start.run) already.",
                    hint: "Choose another name with --run.")
            }
            try await checkMembers(bus)
            let number = try await write(start, bus)
            if number == 1 { try await onQueue { try Self.checkAgreement(fleet, bus) } }
            return (start.run, number)
        } catch let error as BusError {
            throw ControlError(.tryAgain, "The run is not started: \(Self.words(error)).", hint: "Try again.")
        }
    }

    private func write(_ start: SharedStart, _ bus: any Bus) async throws -> UInt64 {
        let clock = around.clock
        let wanted = StartMachine.Wanted(
            cluster: settings.name, name: start.run,
            configured: configured.map {
                StartedRun(name: $0.run, map: $0.map, endMs: $0.plan.scenario.endMs)
            },
            decode: { [self] bytes throws(StartRefusal) in try decode(bytes) },
            isSame: { bytes in (try? SharedStart(decoding: bytes))?.isSame(as: start) ?? false },
            encode: { number, earlier in start.numbered(number, after: earlier).bytes })
        let shell = NodeShell(
            StartMachine(wanted, over: over, nowMs: { clock.nowMs() }), bus: bus, clock: ClusterMember.nowMs)
        defer { shell.stop() }
        while true {
            shell.tick()
            if let answer = shell.withMachine({ $0.answer }) {
                do throws(StartRefusal) {
                    return try answer.get()
                } catch {
                    throw Self.error(error)
                }
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Also of a run that this member cannot play.
    private func startedName(_ bus: NATSBus) async throws -> String? {
        do {
            return try await started(bus)?.run
        } catch let error as BusError {
            throw error
        } catch {
            return try await onQueue { [settings] in
                try bus.lastNow(.leases, FleetMap.startSubject(settings.name)).map {
                    try SharedStart(decoding: $0.bytes).run
                }
            }
        }
    }

    nonisolated func decode(_ bytes: [UInt8]) throws(StartRefusal) -> StartedRun {
        do {
            let start = try SharedStart(decoding: bytes)
            guard let fleet = try? knownFleet(of: bytes) ?? SharedFleet(settings, start) else {
                // Somebody had other limits, or another version; it can be ended and followed yet.
                return StartedRun(
                    name: start.run, number: start.number ?? 1, earlier: start.earlier ?? [])
            }
            return StartedRun(
                name: start.run, map: fleet.map, endMs: fleet.plan.scenario.endMs,
                earlier: start.earlier ?? [])
        } catch {
            throw .unreadable(Self.words(error))
        }
    }

    /// One of an earlier version would stay in the run that is over. Also asked of one that takes no part in it.
    private func checkMembers(_ bus: NATSBus) async throws {
        if let member = shown, member.fleet != nil {
            let (roster, nowMs) = (member.roster, ClusterMember.nowMs())
            for (name, entry) in roster.entries.sorted(by: { $0.key < $1.key })
            where roster.isLive(name, nowMs: nowMs) && entry.note.run == nil {
                throw Self.knowsOneRun(entry.note)
            }
        }
        // From the second run on those that stayed in the first one are in no roster.
        try await checkTold(bus)
    }

    /// Members tell of themselves every two seconds: listens to those that might be of an earlier version, if any are known.
    private func checkTold(_ bus: NATSBus) async throws {
        let subject = Subject("clsd.v1.\(settings.name).lease.note.*")
        let ingested = shareableMap.map { String($0.fingerprint, radix: 16) }
        let told = Locked<[String: (note: ClusterNote, count: Int)]>([:])
        let cursor = bus.watch(subject) { delivery in
            guard case .messages(let messages) = delivery else { return }
            for note in messages.compactMap({ ClusterNote($0.bytes) }) {
                told.withLock { $0[note.member] = (note, ($0[note.member]?.count ?? 0) + 1) }
            }
        }
        defer { cursor.close() }
        // The last words of each come at once, and may be old; what comes then is said by somebody who lives.
        for round in 1...30 {
            try await Task.sleep(for: .milliseconds(100))
            let count = told.withLock { $0.count }
            let doubtful = told.withLock { $0.values.sorted { $0.note.member < $1.note.member } }.filter {
                $0.note.run == nil && $0.note.fleet != ingested && !$0.note.hasLeft
            }
            if let one = doubtful.first(where: { $0.count > 1 }) { throw Self.knowsOneRun(one.note) }
            if doubtful.isEmpty, count > 0 || round >= 15 { return }
        }
    }

    private static func knowsOneRun(_ note: ClusterNote) -> ControlError {
        ControlError(
            .conflict,
            "Member \(note.member) has version \(note.version), which knows one run of a cluster only.",
            hint: "Bring all members to one version first.")
    }

    private static func error(_ refusal: StartRefusal) -> ControlError {
        switch refusal {
        case .goesOn(let run):
            ControlError(
                .conflict, "The cluster plays run \(run).",
                hint: "Stop it first: colossusctl simulate stop \(run)")
        case .isNotPlayed(let run):
            ControlError(
                .conflict, "The cluster has run \(run), which no worker plays yet.",
                hint: "Start a worker, or end it: colossusctl simulate stop \(run)")
        case .isClosing(let run):
            ControlError(
                .tryAgain, "Run \(run) is over, and its last windows are not closed yet.",
                hint: "Try again in some seconds; after a minute the next run starts without them.")
        case .wasThere(let run):
            ControlError(
                .conflict, "The cluster has had a run named \(run).", hint: "Choose another name with --run.")
        case .isConfigured:
            ControlError(
                .conflict, "The cluster has a run in the configuration of other members.",
                hint: "Ask one of those.")
        case .unreadable(let text):
            ControlError(.failed, "The run is not started: \(text).")
        case .isUnknown(.denied(let text)):
            ControlError(.failed, "The run is not started: the brokers refuse: \(text).")
        case .isUnknown(let error):
            ControlError(
                .tryAgain, "The run may not be started: \(words(error)).",
                hint: "`colossusctl cluster status` shows which run there is.")
        }
    }

    private static func checkAgreement(_ fleet: SharedFleet, _ bus: any Bus) throws {
        guard let known = try bus.lastNow(.leases, fleet.map.agreementSubject) else { return }
        guard let agreed = ClusterAgreement(known.bytes) else {
            throw BusError.failed("what the cluster has agreed upon cannot be read")
        }
        if let difference = ClusterAgreement(fleet, startedMs: 0).difference(from: agreed) {
            throw ControlError(
                .conflict, "The cluster has agreed upon another run: \(difference).",
                hint: "It is in the configuration of other members: bring all to one.")
        }
    }
}
