import Exchange
import Playback
import Settings
import Simulation
import Telemetry
import WireFormats

/// The fleet that the members of a cluster simulate together, as each works it out of the same configuration.
struct SharedFleet: Sendable {
    let run: String
    let stream: StreamID
    let plan: FleetPlan
    let pace: Pace
    /// Simulated seconds a second, as it begins.
    let speed: Double
    let resolution: Resolution
    let topology: TopologySnapshot
    let slices: FleetSlices
    let map: FleetMap
    let hash: String
    /// The scenario's text, and where it came from; for people.
    let text: String
    let path: String

    /// The run of the configuration.
    init(_ cluster: DaemonSettings.Cluster, _ wanted: DaemonSettings.SimulationRun) throws {
        let text = try ScenarioText.read(wanted.scenario)
        let scenario = try loadScenario(path: wanted.scenario, seed: wanted.seed)
        let pace = try Pace(text: wanted.speed.description)
        try self.init(cluster, run: wanted.run, 1, scenario, text, wanted.scenario, pace)
    }

    /// A run that somebody has started for all members.
    init(_ cluster: DaemonSettings.Cluster, _ start: SharedStart) throws {
        let scenario = try parseScenario(start.scenario, file: start.path, seed: start.seed)
        try self.init(
            cluster, run: start.run, start.number ?? 1, scenario, start.scenario, start.path,
            .times(start.speed))
    }

    private init(
        _ cluster: DaemonSettings.Cluster, run: String, _ number: UInt64, _ scenario: Scenario,
        _ text: String, _ path: String, _ pace: Pace
    ) throws {
        guard let stream = StreamID.simulated(run: run) else {
            throw StartError("\(run) is no name for a run.")
        }
        plan = try FleetPlan(scenario)
        self.run = run
        self.stream = stream
        self.pace = pace
        self.text = text
        self.path = path
        guard case .times(let factor) = pace else {
            throw StartError("A cluster cannot play the run \(run) at \(pace).")
        }
        speed = factor
        resolution = Resolution(pace: pace)
        let streams = Streams()
        let index = streams.open(stream, site: scenario.site)
        plan.makeTopology(into: streams.topology(index))
        topology = streams.topology(index).snapshot()
        slices = FleetSlices(topology, slicesMax: cluster.slices)
        let windowMs = resolution.finestWindowMs
        // Never fewer than are needed: their finals would not fit into messages.
        let partitions = min(slices.count, max(slices.partitions, cluster.partitions))
        guard
            let map = FleetMap(
                cluster: cluster.name, stream: stream.name, slices: slices.count, partitions: partitions,
                windowMs: windowMs, startMs: scenario.startMs / windowMs * windowMs,
                run: number)
        else {
            throw StartError("The cluster \(cluster.name) cannot divide the run \(run).")
        }
        self.map = map
        let digest = SHA256.hash(Array(text.utf8) + Array("\n\(scenario.seed)".utf8))
        hash = digest.prefix(16).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
}
