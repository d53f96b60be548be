public import Telemetry

/// A fault that somebody asks for: it strikes like one that the model draws, at a time and place that are given.
public struct FaultInjection: Sendable, Equatable {
    /// Simulated time, Unix milliseconds.
    public var timeMs: Int64
    /// Position in `FleetPlan.causes`.
    var cause: Int
    var node: Int
    /// Ordinal; drawn when `nil`.
    var gpu: Int?
    /// What goes down with the node, where a rack or more is meant.
    var blast: Scenario.Cause.Blast?
    /// Until it is repaired, found or over; as the cause has it when `nil`.
    public var forMs: Int64?
}

/// What really failed: known to the model, whatever anybody has seen of it.
public struct TrueFault: Sendable, Equatable {
    public var timeMs: Int64
    var cause: Int
    /// -1 for a fault of the whole job.
    var node: Int32
    /// -1 for a fault of no GPU in particular.
    var gpu: Int8
    public var isInjected: Bool
    /// Nothing was up where it was to strike.
    public var hasMissed = false
}

extension Scenario.Cause {
    /// Kinds that can be injected into any scenario, besides its own causes. XIDs: NVIDIA, "XID Errors".
    static let injectable: [Scenario.Cause] = [
        Scenario.Cause(name: "gpu_lost", weight: 0, effect: .gpu, xid: 79, detectionSeconds: 10),
        Scenario.Cause(name: "memory", weight: 0, effect: .gpu, xid: 94),
        Scenario.Cause(name: "nvlink", weight: 0, effect: .gpu, xid: 74),
        Scenario.Cause(name: "node_down", weight: 0, effect: .node, xid: 0),
        Scenario.Cause(name: "software", weight: 0, effect: .software, xid: 31),
        Scenario.Cause(name: "hot", weight: 0, effect: .slow, xid: 0, hiddenHours: 1, slowdown: 0.2),
        Scenario.Cause(name: "silent", weight: 0, effect: .silent, xid: 0, hiddenHours: 6),
        Scenario.Cause(name: "stall", weight: 0, effect: .stall, xid: 0, stallSeconds: 120),
    ]
}

extension FleetPlan {
    /// What can be injected: the kinds that every scenario has, and the scenario's own causes.
    public var injectableKinds: [String] {
        Scenario.Cause.injectable.map(\.name) + scenario.failures.causes.map(\.name)
    }

    /// - Parameters:
    ///   - kind: one of `injectableKinds`; case does not matter.
    ///   - entity: a node (`r0001-n1`), one of its GPUs (`r0001-n1/3`), or a rack, array, hall or the site, all of which goes
    ///     down together.
    /// - Throws: what is wrong with the kind or the entity.
    public func injection(
        _ kind: String, at entity: String, timeMs: Int64, forMs: Int64?
    ) throws(ScenarioProblem) -> FaultInjection {
        let wanted = kind.lowercased()
        guard let cause = causes.lastIndex(where: { $0.name.lowercased() == wanted }) else {
            throw ScenarioProblem(
                key: "kind", found: "\(kind) is unknown", expected: injectableKinds.joined(separator: ", "))
        }
        var injection = FaultInjection(timeMs: timeMs, cause: cause, node: 0, forMs: forMs)
        let parts = entity.split(separator: "/", omittingEmptySubsequences: false)
        if parts.count <= 2, let node = node(named: String(parts[0])) {
            injection.node = node
            guard parts.count == 2 else { return injection }
            if let gpu = Int(parts[1]), (0..<8).contains(gpu) {
                injection.gpu = gpu
                return injection
            }
        } else if let (node, blast) = area(named: entity) {
            guard causes[cause].effect == .node || causes[cause].effect == .gpu else {
                throw ScenarioProblem(
                    key: "at", found: "\(kind) does not strike a whole \(blast.rawValue)",
                    expected: "a node, or a kind such as node_down")
            }
            (injection.node, injection.blast) = (node, blast)
            return injection
        }
        throw ScenarioProblem(
            key: "at", found: "there is no \(entity)",
            expected:
                "a node (r0001-n1), a GPU (r0001-n1/3), a rack (r0001), array (a001), hall (h1) or \(scenario.site)"
        )
    }

    /// The number of a node.
    public func node(named name: String) -> Int? {
        guard let dash = name.firstIndex(of: "-"),
            let rack = racks.indices.first(where: { rackName($0) == name[..<dash] })
        else { return nil }
        return nodes(ofRack: rack).first { nodeName($0) == name }
    }

    /// The first node of a rack, array, hall or the site.
    private func area(named name: String) -> (Int, Scenario.Cause.Blast)? {
        if name == scenario.site { return (0, .site) }
        for rack in racks.indices {
            let first = nodes(ofRack: rack).lowerBound
            let array = Int(racks[rack].array)
            if rackName(rack) == name { return (first, .rack) }
            if arrayName(array) == name { return (first, .array) }
            if hallName(hall(ofArray: array)) == name { return (first, .hall) }
        }
        return nil
    }

    // MARK: What is said of a true fault

    public func cause(of fault: TrueFault) -> Scenario.Cause { causes[fault.cause] }
    /// Name of the node; empty for a fault of the job.
    public func entity(of fault: TrueFault) -> String { fault.node < 0 ? "" : nodeName(Int(fault.node)) }
    /// The rack, array, hall or site that holds it; `nil` for a job, or for a fault of no node.
    public func area(of fault: TrueFault, level: Level) -> String? {
        guard fault.node >= 0 else { return nil }
        let node = Int(fault.node)
        let rack = Int(rackOfNode[node])
        let array = Int(racks[rack].array)
        switch level {
        case .node: return nodeName(node)
        case .rack: return rackName(rack)
        case .array: return arrayName(array)
        case .hall: return hallName(hall(ofArray: array))
        case .site: return scenario.site
        default: return nil
        }
    }

    public func gpu(of fault: TrueFault) -> Int? { fault.gpu < 0 ? nil : Int(fault.gpu) }
}

extension FleetCore {
    mutating func add(_ injection: FaultInjection) {
        let place = injections.firstIndex { $0.timeMs > injection.timeMs } ?? injections.count
        injections.insert(injection, at: max(place, nextInjection))
        nextInjectionMs = injections[nextInjection].timeMs
    }
}
