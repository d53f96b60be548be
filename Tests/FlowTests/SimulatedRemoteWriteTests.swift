import Aggregation
import Exchange
import Foundation
import Logging
import Receivers
import Settings
import Simulation
import Synchronization
import Telemetry
import TestSupport
import Testing
import WireFormats

/// One fleet of 512 simulated GPUs, twice: its ticks given to the core in the process, and its values sent as remote
/// write over HTTP, as a Prometheus would that scrapes its exporters. Both must say the same.
@Suite struct SimulatedRemoteWriteTests {
    static let tickMs: Int64 = 10_000
    static let tickCount = 18
    static let windows = WindowPlan(finestMs: 30_000, rollupsMs: [60_000], latenessMs: 0)

    static func plan() throws -> FleetPlan {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return try FleetPlan(loadScenario(path: root.path + "/Config/scenarios/small-512.yaml"))
    }

    /// A model that is about to lose a node: what follows has nodes that fall silent, a job that stops, and XIDs.
    static func beforeAFailure(_ plan: FleetPlan) throws -> (model: FleetModel, timeMs: Int64) {
        var model = FleetModel(plan: plan)
        var earlier: [FleetModel] = []
        for minute in 0..<1_440 {
            let timeMs = plan.scenario.startMs + Int64(minute) * 60_000
            let tick = model.tick(at: timeMs)
            if minute > 3, Self.racks(tick).contains(where: { $0.state.reporting != $0.state.expected }) {
                return (earlier[earlier.count - 2], timeMs - 60_000)
            }
            earlier.append(model)
        }
        throw Missing(what: "a failure within a day")
    }

    struct Missing: Error { var what: String }

    @Test(
        "512 GPUs by remote write and the same in the process give equal summaries", .timeLimit(.minutes(20)),
        .computing)
    func equal() async throws {
        let plan = try Self.plan()
        #expect(plan.gpuCount == 512)
        let (model, startMs) = try Self.beforeAFailure(plan)
        let ticks = Self.ticks(model, from: startMs)
        let within = try await Self.inProcess(plan, ticks)
        let sent = try await Self.byRemoteWrite(plan, ticks)

        #expect(within.keys.map(\.startMs).min() == sent.keys.map(\.startMs).min())
        #expect(Set(within.keys.map(\.level)).count == Level.allCases.count)
        let missing = Set(within.keys).symmetricDifference(sent.keys)
        #expect(missing.isEmpty, "only on one side: \(missing.prefix(5))")
        let different = within.filter { key, statistics in sent[key] != statistics }
        #expect(
            different.isEmpty,
            "\(different.count) differ: \(different.prefix(3).map { ($0, sent[$0.key] as Any) })")
        // Something happened, so that it is not one value over and over.
        let silent = ticks.flatMap(Self.racks).count { $0.state.reporting != $0.state.expected }
        #expect(silent > 0)
        #expect(within.count > 5_000)
    }

    static func ticks(_ model: FleetModel, from startMs: Int64) -> [SimulatedTick] {
        var model = model
        return (0..<tickCount).map { model.tick(at: startMs + Int64($0) * tickMs) }
    }

    static func racks(_ tick: SimulatedTick) -> [(state: RackTick, values: [Double])] {
        (0..<tick.rackCount).map { rack in
            var values = [Double](repeating: 0, count: tick.fields.count * 64)
            var span = values.mutableSpan
            let state = tick.fill(rack: rack, into: &span)
            return (state, values)
        }
    }

    // MARK: The two ways

    static func inProcess(_ plan: FleetPlan, _ ticks: [SimulatedTick]) async throws -> Outcome {
        let core = CoreUnderTest(nowMs: ticks[ticks.count - 1].timeMs)
        let id = try #require(StreamID.simulated(run: "within"))
        let stream = core.streams.open(id, site: "lab")
        plan.makeTopology(into: core.streams.topology(stream))
        core.core.openStream(StreamSpec(id: id, site: "lab", plan: windows, tickMs: tickMs))
        for tick in ticks {
            await withCheckedContinuation { done in core.core.offer(tick, stream: stream) { done.resume() } }
        }
        return await core.finish(stream)
    }

    static func byRemoteWrite(_ plan: FleetPlan, _ ticks: [SimulatedTick]) async throws -> Outcome {
        let core = CoreUnderTest(nowMs: ticks[ticks.count - 1].timeMs)
        let stream = core.core.openStream(StreamSpec(id: .measured, site: "lab", plan: windows))
        var configuration = IngestConfiguration()
        configuration.port = 0
        let server = core.server(configuration, stream)
        let client = try await RawClient(port: server.start().port, patience: 120)
        var members: [String] = []
        for tick in ticks {
            let now = nodesOfTheJob(plan, tick)
            if now != members {
                let reply = await client.post("/api/v1/events", jobEvent(tick, now))
                #expect(reply?.status == 200, "\(String(describing: reply))")
                members = now
            }
            for body in bodies(plan, tick) {
                let reply = await client.write(body)
                #expect(reply?.status == 204, "\(String(describing: reply))")
            }
        }
        let outcome = await core.finish(stream)
        await server.stop()
        return outcome
    }

    static func nodesOfTheJob(_ plan: FleetPlan, _ tick: SimulatedTick) -> [String] {
        racks(tick).enumerated().flatMap { rack, one in
            (0..<8).filter { one.state.jobOfNode[$0] >= 0 }.map { plan.nodeName(rack * 8 + $0) }
        }
    }

    /// As a scheduler would say it: a job starts again with the nodes that it has now.
    static func jobEvent(_ tick: SimulatedTick, _ nodes: [String]) -> [UInt8] {
        let kind = nodes.isEmpty ? "job_end" : "job_start"
        let names = nodes.map { "\"\($0)\"" }.joined(separator: ",")
        let time = UTC.timestamp(tick.timeMs)
        return Array(
            #"{"time": "\#(time)", "kind": "\#(kind)", "job": "\#(tick.jobs[0])", "nodes": [\#(names)]}"#.utf8
        )
    }

    /// A request for each rack.
    static func bodies(_ plan: FleetPlan, _ tick: SimulatedTick) -> [[UInt8]] {
        racks(tick).enumerated().compactMap { rack, one in
            var encoder = RemoteWriteEncoder()
            for gpu in 0..<64 where one.state.reporting & (1 << UInt64(gpu)) != 0 {
                let labels = plan.labels(gpu: rack * 64 + gpu).map { Label($0.0, $0.1) }
                for (position, field) in tick.fields.enumerated() {
                    encoder.add(
                        labels: [Label("__name__", field.field.name)] + labels,
                        samples: [TimedValue(timeMs: tick.timeMs, value: one.values[position * 64 + gpu])])
                }
            }
            return encoder.sampleCount == 0 ? nil : encoder.finish()
        }
    }
}

typealias Outcome = [Place: Statistics]

/// A row of a summary, by names: the two fleets need not have numbered their nodes alike.
struct Place: Hashable {
    var startMs: Int64
    var resolutionMs: Int64
    var level: Level
    var entity: String
    /// `nil` for the counts of GPUs.
    var field: FieldIndex?
}

struct Statistics: Equatable {
    var count: UInt32 = 0
    var min = 0.0
    var max = 0.0
    var sum = 0.0
    var sketch: [UInt8] = []

    /// Bit-equal but for the order in which a sum was made.
    static func == (one: Statistics, other: Statistics) -> Bool {
        one.count == other.count && one.min == other.min && one.max == other.max && one.sketch == other.sketch
            && abs(one.sum - other.sum) <= 1e-12 * Swift.max(abs(one.sum), abs(other.sum))
    }
}

final class CoreUnderTest: SummarySink {
    let streams = Streams()
    let metrics = Metrics()
    let clock: WallClock
    private let closes = Mutex<[WindowClose]>([])
    private let made = Mutex<AggregationCore?>(nil)
    var core: AggregationCore {
        made.withLock { made in
            if let made { return made }
            let core = AggregationCore(
                shardCount: 2, streams: streams, bus: EmbeddedBus(), sink: self, clock: clock,
                metrics: metrics)
            made = core
            return core
        }
    }

    init(nowMs: Int64) { clock = WallClock { nowMs } }

    func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
        closes.withLock { $0.append(close) }
        done()
    }

    /// A receiver in front of it.
    func server(_ configuration: IngestConfiguration, _ stream: StreamIndex) -> IngestServer {
        var logger = Logger(label: "flow")
        logger.logLevel = .error
        let core = core
        return IngestServer(
            configuration: configuration, sink: core, events: core, streams: streams, stream: stream,
            account: { core.account($0, stream: $1) }, clock: clock, metrics: metrics, logger: logger)
    }

    func finish(_ stream: StreamIndex, dropped: Int64 = 0) async -> Outcome {
        await withCheckedContinuation { done in core.drain(stream) { done.resume() } }
        await withCheckedContinuation { done in core.finish(stream) { done.resume() } }
        let ledger = core.status(stream)?.ledger
        #expect(ledger?.inFlight == 0 && ledger?.dropped == dropped)
        var outcome: Outcome = [:]
        for close in closes.withLock({ $0 }) {
            for window in close.windows {
                for level in window.levels { Self.add(level, window, close.topology, to: &outcome) }
            }
        }
        return outcome
    }

    private static func add(
        _ level: LevelSummary, _ window: WindowSummary, _ topology: TopologySnapshot,
        to outcome: inout Outcome
    ) {
        let names = level.level == .job ? level.jobs : topology.names(level.level)
        for (entity, name) in names.enumerated() where entity < level.gpus.reporting.count {
            var place = Place(
                startMs: window.startMs, resolutionMs: window.resolutionMs, level: level.level, entity: name)
            let gpus = level.gpus
            if gpus.reporting[entity] > 0 {
                outcome[place] = Statistics(count: gpus.reporting[entity], min: Double(gpus.inJob[entity]))
            }
            for column in level.columns where column.count[entity] > 0 {
                place.field = column.field
                outcome[place] = Statistics(
                    count: column.count[entity], min: column.min[entity], max: column.max[entity],
                    sum: column.sum[entity], sketch: Array(column.sketch(entity)))
            }
        }
    }
}
