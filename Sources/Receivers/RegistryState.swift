import Telemetry
import WireFormats

/// What a `SeriesRegistry` guards.
struct RegistryState {
    var inventory: Inventory
    let topology: Topology
    private(set) var seriesCount = 0

    private let stream: StreamIndex
    private let sink: any BatchSink
    private let limits: ReceiverLimits
    private var identities: IdentityTable
    /// The first series of each (GPU, field), by `gpu << 8 | field`.
    private var owners: [UInt64: Series] = [:]
    /// The slots of all other series of a (GPU, field).
    private var others: [SeriesKey: UInt32] = [:]
    private var sources: [String: UInt32] = [:]
    private var seriesOfSender: [SenderID: Int] = [:]
    private var nextSlot: [UInt32]
    /// Series that were made during this request, by shard.
    private var fresh: [[SeriesDescriptor]]
    /// By `node << 8 | ordinal`.
    private var gpus: [UInt64: Int32] = [:]
    private var ordinals: [String: UInt8] = [:]
    private var jobs: NodeJobs
    private var membership = JobMembership()
    private var nodeNames: [Int32: String] = [:]
    /// Node and GPU of each slot of each shard.
    private var placeOfSlot: [[(node: Int32, gpu: Int32)]]
    /// By GPU: the field whose series tell the GPU's job. One is enough.
    private var witnesses: [Int32: FieldIndex] = [:]

    private struct Series {
        var slot: UInt32
        var sender: SenderID
        var source: UInt32
    }

    private struct SeriesKey: Hashable {
        var target: UInt64
        var sender: SenderID
        var source: UInt32
    }

    /// A GPU of the fleet.
    private struct Place {
        var node: Int32
        var rack: Int32
        var gpu: Int32
    }

    init(
        stream: StreamIndex, topology: Topology, sink: any BatchSink, inventory: Inventory,
        limits: ReceiverLimits
    ) {
        self.stream = stream
        self.topology = topology
        self.sink = sink
        self.inventory = inventory
        self.limits = limits
        identities = IdentityTable(limit: limits.identities)
        nextSlot = Array(repeating: 0, count: sink.shardCount)
        fresh = Array(repeating: [], count: sink.shardCount)
        placeOfSlot = Array(repeating: [], count: sink.shardCount)
        jobs = NodeJobs(namesMax: limits.names)
    }

    mutating func resolve(
        _ request: WriteRequest, in bytes: RawSpan, format: SeriesFormat, sender: SenderID,
        latestMs: Int64, into routes: inout [Route]
    ) -> WireError? {
        // Also when a later run is found to be corrupt: their slots are given out.
        defer { announce() }
        do throws(WireError) {
            for run in request.runs {
                let route: Route
                if let known = identities.find(run.identity) {
                    route = known
                } else {
                    let labels = try format.readLabels(bytes, run.labels, limits: limits.labels)
                    route = admit(labels, run.identity, sender)
                }
                let timeMs = request.samples[Int(run.firstSample)].timeMs
                // A time that the sample itself will be refused for says nothing about jobs either.
                if route.job > 0, timeMs >= 0, timeMs <= latestMs { observe(route, timeMs) }
                routes.append(route)
            }
            return nil
        } catch {
            return error
        }
    }

    /// Tells the shards of the new series: before anything that uses their slots can be offered.
    private mutating func announce() {
        for shard in fresh.indices where !fresh[shard].isEmpty {
            sink.register(fresh[shard], stream: stream, shard: shard)
            fresh[shard].removeAll()
        }
    }

    // MARK: A spelling that was not known

    private mutating func admit(
        _ read: ReadLabels, _ identity: SeriesIdentity, _ sender: SenderID
    ) -> Route {
        let route: Route
        switch read {
        case .refused: route = .rejected(.badLabels)
        case .labels(let labels):
            let labels = GPULabels(labels)
            guard let field = FieldCatalog.find(name: labels.metric) else {
                return remember(identity, .rejected(.unknownField))
            }
            guard !labels.isPart, !labels.node.isEmpty else {
                return remember(identity, .rejected(.noEntity))
            }
            guard let ordinal = ordinal(labels) else {
                // Not remembered if another series may still tell which GPU has that UUID.
                return labels.uuid.isEmpty ? remember(identity, .rejected(.noEntity)) : .rejected(.noEntity)
            }
            route = self.route(labels, field, ordinal, sender)
        }
        return remember(identity, route)
    }

    private mutating func remember(_ identity: SeriesIdentity, _ route: Route) -> Route {
        identities.insert(identity, route)
        return route
    }

    private mutating func route(
        _ labels: GPULabels, _ field: FieldIndex, _ ordinal: UInt8, _ sender: SenderID
    ) -> Route {
        let isFull =
            seriesCount >= limits.seriesInAll || seriesOfSender[sender, default: 0] >= limits.seriesPerSender
        guard let source = source(labels.source), let place = place(labels, ordinal, mayGrow: !isFull) else {
            return .rejected(.seriesLimit)
        }
        let shard = sink.shard(stream: stream, rack: place.rack, node: place.node)
        let target = UInt64(place.gpu) << 8 | UInt64(field.rawValue)
        let key = SeriesKey(target: target, sender: sender, source: source)
        let owner = owners[target]
        let slot: UInt32
        if let owner, owner.sender == sender, owner.source == source {
            slot = owner.slot
        } else if let known = others[key] {
            slot = known
        } else {
            guard !isFull else { return .rejected(.seriesLimit) }
            slot = add(place, field, shard, sender, redundantTo: owner?.slot)
            if owner == nil {
                owners[target] = Series(slot: slot, sender: sender, source: source)
            } else {
                others[key] = slot
            }
        }
        return Route(slot: slot, job: job(labels, field, place), shard: Int16(shard))
    }

    private mutating func add(
        _ place: Place, _ field: FieldIndex, _ shard: Int, _ sender: SenderID, redundantTo owner: UInt32?
    ) -> UInt32 {
        let slot = nextSlot[shard]
        nextSlot[shard] += 1
        seriesCount += 1
        seriesOfSender[sender, default: 0] += 1
        placeOfSlot[shard].append((place.node, place.gpu))
        fresh[shard].append(
            SeriesDescriptor(
                slot: slot, gpu: place.gpu, node: place.node, rack: place.rack, field: field, sender: sender,
                redundantTo: owner))
        return slot
    }

    private mutating func source(_ text: String) -> UInt32? {
        if let known = sources[text] { return known }
        guard sources.count < limits.names else { return nil }
        let number = UInt32(sources.count)
        sources[text] = number
        return number
    }

    private mutating func ordinal(_ labels: GPULabels) -> UInt8? {
        guard !labels.uuid.isEmpty else { return labels.ordinal }
        let key = labels.node + "\n" + labels.uuid
        guard let ordinal = labels.ordinal else { return ordinals[key] }
        if ordinals[key] != ordinal, ordinals.count < limits.seriesInAll { ordinals[key] = ordinal }
        return ordinal
    }

    /// - Parameter mayGrow: whether a GPU that is not known may be added to the fleet.
    private mutating func place(_ labels: GPULabels, _ ordinal: UInt8, mayGrow: Bool) -> Place? {
        let node: Int32
        if mayGrow {
            let placement = inventory.placement(of: labels.node, labels: labels.placement)
            node = topology.node(labels.node, at: placement)
            nodeNames[node] = labels.node
        } else {
            guard let known = topology.nodeIndex(labels.node) else { return nil }
            node = known
        }
        let key = UInt64(node) << 8 | UInt64(ordinal)
        if gpus[key] == nil, mayGrow { gpus[key] = topology.gpu(node: node, ordinal: ordinal) }
        guard let gpu = gpus[key] else { return nil }
        return Place(node: node, rack: topology.rackOfNode(node), gpu: gpu)
    }

    // MARK: Jobs

    /// What goes into `Route.job`.
    private mutating func job(_ labels: GPULabels, _ field: FieldIndex, _ place: Place) -> UInt32 {
        if let witness = witnesses[place.gpu] {
            guard witness == field else { return 0 }
        } else {
            witnesses[place.gpu] = field
        }
        return jobs.number(labels.job).map { $0 + 1 } ?? 0
    }

    private mutating func observe(_ route: Route, _ timeMs: Int64) {
        let place = placeOfSlot[Int(route.shard)][Int(route.slot)]
        let change = jobs.observe(node: place.node, gpu: place.gpu, job: route.job - 1, timeMs: timeMs)
        if let change { membership.note(change) }
    }

    struct JobNews {
        var job: String
        var nodes: [String]
        var timeMs: Int64
    }

    mutating func jobNews(nowMs: Int64, all: Bool = false) -> [JobNews] {
        membership.due(nowMs: nowMs, all: all).map { news in
            JobNews(
                job: jobs.name(news.job), nodes: news.nodes.compactMap { nodeNames[$0] }, timeMs: news.timeMs)
        }
    }
}
