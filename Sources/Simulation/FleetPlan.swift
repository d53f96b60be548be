public import Telemetry

/// The entities of a scenario and the times at which they are built, worked out once and never changed.
///
/// Racks are numbered in the order in which they are installed, and nodes and GPUs in the order of their racks:
/// node n has the GPUs 8n ..< 8n + 8, and rack r the nodes `nodes(ofRack: r)`.
public final class FleetPlan: Sendable {
    struct Rack: Sendable {
        var firstNode: Int32
        var nodeCount: Int32
        var array: Int32
        var phase: Int32
        /// Unix milliseconds; `Int64.max` for never.
        var installMs: Int64
        var powerMs: Int64
        var burnInMs: Int64
        var readyMs: Int64
    }

    private static let siliconNodesMax = 131_072

    public let scenario: Scenario
    let racks: [Rack]
    let rackOfNode: [Int32]
    /// Position in `scenario.gpuModels` for each node.
    let modelOfNode: [UInt8]
    let arrayCount: Int
    let hallCount: Int
    let arraysPerHall: Int
    let philox: Philox
    let kernel: TelemetryKernel
    /// By node; 128 bytes each. Empty in very large fleets, where it is drawn at each tick.
    let silicon: [NodeSilicon]
    /// Start of each phase and the end of the last one, Unix milliseconds.
    let phaseBounds: [Int64]
    let marks: [Mark]
    let rackSteps: [RackStep]
    let law: FleetLaw
    /// Until when a trajectory is in plain time at most; before the start if it never is.
    let plainUntilMs: Int64
    /// Those of the scenario, and behind them those that only an injection has.
    let causes: [Scenario.Cause]
    public var nodeCount: Int { rackOfNode.count }
    public var rackCount: Int { racks.count }
    public var gpuCount: Int { rackOfNode.count * Scenario.Layout.gpusPerNode }

    /// - Throws: the first thing that does not fit together.
    public init(_ scenario: Scenario) throws(ScenarioProblem) {
        try scenario.check()
        self.scenario = scenario
        var bounds = [scenario.startMs]
        for phase in scenario.phases {
            bounds.append(bounds[bounds.count - 1] + Int64(phase.days) * UTC.dayMs)
        }
        phaseBounds = bounds
        let build = BuildSchedule(scenario: scenario, phaseBounds: bounds)
        racks = build.racks
        rackOfNode = build.rackOfNode
        modelOfNode = build.modelOfNode
        arrayCount = build.arrayCount
        let gpusPerArray =
            Scenario.Layout.gpusPerNode * scenario.layout.nodesPerRack * scenario.layout.racksPerArray
        arraysPerHall = max(1, (scenario.layout.gpusPerHall + gpusPerArray / 2) / gpusPerArray)
        hallCount = (arrayCount + arraysPerHall - 1) / arraysPerHall
        philox = Philox(seed: scenario.seed)
        let (kernel, philox) = (TelemetryKernel(scenario), philox)
        self.kernel = kernel
        let isSmall = build.rackOfNode.count <= Self.siliconNodesMax
        silicon =
            isSmall
            ? build.rackOfNode.indices.map { kernel.silicon(gpu: UInt32(8 * $0), philox: philox) } : []
        marks = Mark.all(scenario, phaseBounds: bounds)
        rackSteps = build.steps
        law = FleetLaw(scenario)
        plainUntilMs = Self.plainUntilMs(scenario, build.steps, law)
        causes = scenario.failures.causes + Scenario.Cause.injectable
    }

    func nodes(ofRack rack: Int) -> Range<Int> {
        let first = Int(racks[rack].firstNode)
        return first..<(first + Int(racks[rack].nodeCount))
    }

    // MARK: Names

    /// `h1`, `h2` …
    public func hallName(_ hall: Int) -> String { "h\(hall + 1)" }
    /// `a001`, `a002` …
    public func arrayName(_ array: Int) -> String { "a" + Self.padded(array + 1, 3) }
    /// `r0001`, `r0002` …
    public func rackName(_ rack: Int) -> String { "r" + Self.padded(rack + 1, 4) }
    /// `r0001-n1`, `r0001-n2` …
    public func nodeName(_ node: Int) -> String {
        let rack = Int(rackOfNode[node])
        return rackName(rack) + "-n\(node - Int(racks[rack].firstNode) + 1)"
    }

    /// The rack of a node, and its position in it.
    public func place(ofNode node: Int) -> (rack: Int, position: Int) {
        let rack = Int(rackOfNode[node])
        return (rack, node - Int(racks[rack].firstNode))
    }

    func hall(ofArray array: Int) -> Int { array / arraysPerHall }
    func model(ofNode node: Int) -> Scenario.GPUModel { scenario.gpuModels[Int(modelOfNode[node])] }

    /// Registers the whole fleet in order: what stands in the field as well as what is only planned.
    /// `topology` must be empty or have been filled by the same plan.
    public func makeTopology(into topology: Topology) {
        for node in 0..<nodeCount {
            let rack = Int(rackOfNode[node])
            let array = Int(racks[rack].array)
            topology.node(
                nodeName(node),
                at: Placement(
                    rack: rackName(rack), array: arrayName(array), hall: hallName(hall(ofArray: array)),
                    model: model(ofNode: node).name),
                gpuCount: Scenario.Layout.gpusPerNode)
        }
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}
