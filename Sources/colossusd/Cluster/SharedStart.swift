import Aggregation
import ControlAPI
import Exchange
import FoundationEssentials
import Playback
import Settings
import Simulation
import Store
import Telemetry

/// A run that somebody has started for all members, where their configuration has none: written once, by whoever is first.
struct SharedStart: Codable, Sendable, Equatable {
    static let bytesMax = 256 * 1_024

    var v = 1
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

    /// Whether both are the same run, whoever was asked for it.
    func isSame(as other: SharedStart) -> Bool {
        run == other.run && scenario == other.scenario && seed == other.seed && speed == other.speed
    }

    var bytes: [UInt8] { (try? JSONEncoder().encode(self)).map(Array.init) ?? [] }

    init(
        run: String, scenario: String, path: String, seed: UInt64, speed: Double, member: String,
        askedMs: Int64
    ) {
        self.run = run
        self.scenario = scenario
        self.path = path
        self.seed = seed
        self.speed = speed
        self.member = member
        self.askedMs = askedMs
    }

    /// Others have written it; the scenario is checked where it is used.
    init(decoding bytes: [UInt8]) throws(BusError) {
        guard bytes.count <= Self.bytesMax else { throw .failed("the run that was started is too long") }
        guard let known = try? JSONDecoder().decode(SharedStart.self, from: Data(bytes)) else {
            throw .failed("the run that was started cannot be read")
        }
        guard known.v == 1 else { throw .failed("the run that was started is of a later version") }
        guard ControlLog.speeds.contains(known.speed), StreamID.simulated(run: known.run) != nil else {
            throw .failed("the run that was started has no valid name or speed")
        }
        self = known
    }
}

// A run that is started for all members.
extension ClusterNode {
    /// Starts a run for all members, none of which has one in its configuration.
    func start(_ wanted: SimulationStart) async throws {
        guard settings.simulation == nil else {
            throw ControlError(
                .conflict, "The cluster's run is in the configuration: \(settings.simulation?.run ?? "").",
                hint: "Leave --shared out for a run of this daemon alone.")
        }
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
        guard start.bytes.count <= SharedStart.bytesMax else {
            throw ControlError(
                .tooLarge, "The scenario is too long to be shared.", hint: "256 KiB are the most.")
        }
        let fleet = try SharedFleet(settings, start)
        guard !around.names.isOwn(start.run) else {
            throw ControlError(
                .conflict, "A run named \(start.run) plays on this member already.",
                hint: "Choose another name with --run.")
        }
        let hasHistory = try await around.store.closedThrough(fleet.stream) != nil
        do {
            let bus = try await broker()
            try await write(start, fleet, hasHistory: hasHistory, bus)
        } catch let error as BusError {
            throw ControlError(.tryAgain, "The run is not started: \(Self.words(error)).", hint: "Try again.")
        }
    }

    private func write(
        _ start: SharedStart, _ fleet: SharedFleet, hasHistory: Bool, _ bus: any Bus
    ) async throws {
        let subject = FleetMap.startSubject(settings.name)
        try await onQueue {
            // Members whose configuration has a run have agreed on that, and nobody could take this one back.
            try Self.checkAgreement(fleet, bus)
            if hasHistory, try bus.lastNow(.leases, subject) == nil {
                throw ControlError(
                    .conflict, "The history of this member has a run named \(start.run) already.",
                    hint: "Choose another name with --run.")
            }
            let stored = bus.waiting { bus.compareAndSet(subject, start.bytes, expecting: 0, done: $0) }
            // One that was agreed upon meanwhile came first.
            if case .success = stored { return try Self.checkAgreement(fleet, bus) }
            guard let known = try bus.lastNow(.leases, subject) else { return _ = try stored.get() }
            let other = try SharedStart(decoding: known.bytes)
            guard other.isSame(as: start) else {
                throw ControlError(
                    .conflict, "The cluster has a run already: \(other.run).",
                    hint: "A cluster's name belongs to one run; another needs a cluster of another name.")
            }
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
                hint: "A cluster's name belongs to one run; another needs a cluster of another name.")
        }
    }
}
