/// What is under maintenance, made of events: `maintenance_start` and `maintenance_end` of a node, of one of its GPUs, or
/// of a rack, an array, a hall or the site.
public struct PlannedWork: Sendable, Equatable {
    public struct Entry: Sendable, Hashable {
        public var entity: String
        /// Ordinal within the node; `nil` for the whole entity.
        public var gpu: Int?
        /// Unix milliseconds.
        public var sinceMs: Int64
        /// When it shall end by itself; `nil` until somebody says so.
        public var untilMs: Int64?
        /// Empty where nobody gave one.
        public var reason: String

        /// `n1`, or `n1/3`.
        public var name: String { gpu.map { "\(entity)/\($0)" } ?? entity }
    }

    private struct Key: Hashable, Sendable {
        var entity: String
        var gpu: Int?
    }

    /// More are not kept: a list so long was not planned.
    public static let entriesMax = 10_000

    private var open: [Key: Entry] = [:]

    public init() {}

    public var isEmpty: Bool { open.isEmpty }
    public var count: Int { open.count }
    /// By time, then by name.
    public var entries: [Entry] { open.values.sorted { ($0.sinceMs, $0.name) < ($1.sinceMs, $1.name) } }

    public func find(entity: String, gpu: Int?) -> Entry? { open[Key(entity: entity, gpu: gpu)] }

    /// Takes an event, in the order in which events were told; others than maintenance change nothing. What is told
    /// again has a new reason and a new end, and began when it was told first.
    public mutating func take(_ event: Event) {
        let key = Key(entity: event.entity, gpu: event.gpu)
        switch event.kind {
        case .maintenanceStart:
            guard !event.entity.isEmpty, open[key] != nil || open.count < Self.entriesMax else { return }
            let until = event.value.flatMap { Int64(exactly: ($0 * 1_000).rounded()) }
            open[key] = Entry(
                entity: event.entity, gpu: event.gpu, sinceMs: open[key]?.sinceMs ?? event.timeMs,
                untilMs: until.flatMap { $0 > event.timeMs ? $0 : nil }, reason: event.message)
        case .maintenanceEnd:
            open[key] = nil
            // The end of a node's is the end of its GPUs', too.
            if event.gpu == nil { open = open.filter { $0.key.entity != event.entity } }
        default: break
        }
    }

    /// The ends of what was planned to be over by now.
    public func due(nowMs: Int64) -> [Event] {
        entries.filter { ($0.untilMs ?? .max) <= nowMs }.map { entry in
            Self.end(entry, timeMs: entry.untilMs ?? nowMs, reason: "its planned end")
        }
    }

    /// - Parameter untilMs: when it shall end by itself; goes into the event's value, in seconds.
    public static func start(
        entity: String, gpu: Int?, timeMs: Int64, untilMs: Int64?, reason: String
    ) -> Event {
        Event(
            stream: .measured, timeMs: timeMs, kind: .maintenanceStart, entity: entity, gpu: gpu,
            value: untilMs.map { Double($0) / 1_000 }, message: reason, source: .ingest)
    }

    public static func end(_ entry: Entry, timeMs: Int64, reason: String) -> Event {
        Event(
            stream: .measured, timeMs: timeMs, kind: .maintenanceEnd, entity: entry.entity, gpu: entry.gpu,
            message: reason, source: .ingest)
    }

    /// GPUs of a fleet that are worked on; one that two entries name counts once.
    public func gpuCount(_ topology: TopologySnapshot) -> Int {
        guard !open.isEmpty else { return 0 }
        let whole = Set(open.keys.filter { $0.gpu == nil }.map(\.entity))
        if whole.contains(topology.site) { return topology.gpuNode.count }
        let hallIn = topology.hallNames.map { whole.contains($0) }
        let arrayIn = topology.arrayNames.indices.map {
            whole.contains(topology.arrayNames[$0]) || hallIn[Int(topology.arrayHall[$0])]
        }
        let rackIn = topology.rackNames.indices.map {
            whole.contains(topology.rackNames[$0]) || arrayIn[Int(topology.rackArray[$0])]
        }
        let nodeIn = topology.nodeNames.indices.map {
            whole.contains(topology.nodeNames[$0]) || rackIn[Int(topology.nodeRack[$0])]
        }
        return topology.gpuNode.indices.count { index in
            let node = Int(topology.gpuNode[index])
            let own = Key(entity: topology.nodeNames[node], gpu: Int(topology.gpuOrdinal[index]))
            return nodeIn[node] || open[own] != nil
        }
    }
}
