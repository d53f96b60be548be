import Telemetry
import WireFormats

/// A spelling of a series that a lane does not know, with the hashes of its texts: made outside of the lock.
struct UnknownSeries {
    var labels: ScannedLabels
    var metric: SeriesIdentity
    var node: SeriesIdentity
    /// Of node and UUID together.
    var uuid: SeriesIdentity
    var job: SeriesIdentity

    init(_ labels: ScannedLabels, in bytes: RawSpan, _ scanner: LabelScanner, _ hasher: IdentityHasher) {
        self.labels = labels
        metric = scanner.hash(bytes, labels.metric)
        node = scanner.hash(bytes, labels.node)
        uuid = hasher.joined(node, scanner.hash(bytes, labels.uuid))
        job = scanner.hash(bytes, labels.job)
    }
}

/// What a `SeriesRegistry` guards.
struct RegistryState {
    var inventory: Inventory
    let topology: Topology
    private(set) var seriesCount = 0

    let stream: StreamIndex
    let sink: any BatchSink
    let limits: ReceiverLimits
    let hasher: IdentityHasher
    private let fields: IdentityMap
    private(set) var owners = SeriesOwners()
    /// Who delivers: a sender and the source in its labels.
    var origins = IdentityMap()
    /// Indexed by number of the sender.
    var seriesOfSender: [Int] = []
    /// Indexed by field.
    var seriesOfField = [Int](repeating: 0, count: FieldCatalog.all.count)
    /// Indexed as in the topology.
    var seriesOfNode: [Int32] = []
    var folded = FoldedSeries()
    /// The slots of `__other__`, by field.
    var otherSlots: [FieldIndex: UInt32] = [:]
    var otherNode: Int?
    /// Series that were made during this request, by shard.
    var fresh: [[SeriesDescriptor]]
    /// By the name's hash: position in `nodes`.
    private var nodeNumbers = IdentityMap()
    var nodes: [Node] = []
    /// By node and UUID.
    var ordinals = IdentityMap()
    var jobNumbers = IdentityMap()
    private var jobs: NodeJobs
    private var membership = JobMembership()
    /// Of each GPU of the topology that was met: its node, and the field whose series tell its job. One is enough.
    private var gpus: [GPU] = []
    /// What each slot of each shard is.
    var series: [[Series]]
    /// Slots that may be given out again, by shard.
    private var freeSlots: [[UInt32]]
    /// Indexed by origin.
    private(set) var senderOfOrigin: [SenderID] = []

    struct Series {
        var gpu: Int32
        var origin: UInt32
        var field: FieldIndex
    }

    private struct GPU {
        var node: Int32 = -1
        var witness: UInt8 = 255
    }

    struct Node {
        var index: Int32
        var rack: Int32
        /// That of the rack in which it was first met.
        var shard: Int
        /// By ordinal; -1 is not met.
        var gpus: [Int32] = []
    }

    init(
        stream: StreamIndex, topology: Topology, sink: any BatchSink, inventory: Inventory,
        limits: ReceiverLimits, hasher: IdentityHasher
    ) {
        self.stream = stream
        self.topology = topology
        self.sink = sink
        self.inventory = inventory
        self.limits = limits
        self.hasher = hasher
        fields = Self.fields(hasher, limits)
        fresh = Array(repeating: [], count: sink.shardCount)
        series = Array(repeating: [], count: sink.shardCount)
        freeSlots = Array(repeating: [], count: sink.shardCount)
        jobs = NodeJobs(namesMax: limits.names)
    }

    private static func fields(_ hasher: IdentityHasher, _ limits: ReceiverLimits) -> IdentityMap {
        let scanner = LabelScanner(limits: limits.labels, hasher: hasher)
        var map = IdentityMap()
        for (position, field) in FieldCatalog.all.enumerated() {
            for name in [field.name] + field.aliases {
                map.set(scanner.hash(of: name), UInt32(position))
            }
        }
        return map
    }

    /// The routes of series, made where they are new. The shards know all series of the routes when this returns.
    mutating func admit(
        _ unknown: [UnknownSeries?], in bytes: RawSpan, sender: SenderID, stamp: UInt16,
        into routes: inout [Route]
    ) {
        folded.moveTo(stamp)
        for one in unknown {
            routes.append(one.map { admit($0, bytes, sender) } ?? .rejected(.badLabels))
        }
        for shard in fresh.indices where !fresh[shard].isEmpty {
            sink.register(fresh[shard], stream: stream, shard: shard)
            fresh[shard].removeAll(keepingCapacity: true)
        }
    }

    private mutating func admit(_ series: UnknownSeries, _ bytes: RawSpan, _ sender: SenderID) -> Route {
        guard let number = fields[series.metric] else { return .rejected(.unknownField) }
        let field = FieldIndex(rawValue: UInt8(number))
        guard !series.labels.isPart, !series.labels.node.isEmpty else { return .rejected(.noEntity) }
        guard let ordinal = ordinal(series) else {
            // Another series may still tell which GPU has that UUID.
            return .rejected(.noEntity, isPassing: !series.labels.uuid.isEmpty)
        }
        return route(series, bytes, field, ordinal, sender)
    }

    private mutating func route(
        _ series: UnknownSeries, _ bytes: RawSpan, _ field: FieldIndex, _ ordinal: Int, _ sender: SenderID
    ) -> Route {
        let isFull = isFull(sender)
        guard let origin = origin(series.labels.source, sender),
            let node = node(series, bytes, mayGrow: !isFull), let gpu = gpu(node, ordinal, mayGrow: !isFull)
        else { return fold(series, field, ordinal, sender) }
        let shard = nodes[node].shard
        let owner = owners.first(gpu: gpu, field: field)
        let slot: UInt32
        if let owner, owner.origin == origin {
            slot = owner.slot
        } else if let known = owners.other(gpu: gpu, field: field, origin: origin) {
            slot = known
        } else {
            guard !isFull else { return fold(series, field, ordinal, sender) }
            slot = add(Series(gpu: gpu, origin: origin, field: field), node, sender, redundantTo: owner?.slot)
            if owner == nil {
                owners.setFirst(gpu: gpu, field: field, .init(slot: slot, origin: origin))
            } else {
                owners.setOther(gpu: gpu, field: field, origin: origin, slot: slot)
            }
        }
        return Route(slot: slot, job: job(series, bytes, field, gpu), shard: shard)
    }

    /// Series of each sender that has any.
    var senders: [(sender: SenderID, series: Int)] {
        seriesOfSender.indices.filter { seriesOfSender[$0] > 0 }.map {
            (SenderID(rawValue: UInt32($0)), seriesOfSender[$0])
        }
    }

    private func isFull(_ sender: SenderID) -> Bool {
        let number = Int(sender.rawValue)
        let own = number < seriesOfSender.count ? seriesOfSender[number] : 0
        return seriesCount >= limits.seriesInAll || own >= limits.seriesPerSender
    }

    private mutating func add(
        _ one: Series, _ node: Int, _ sender: SenderID, redundantTo owner: UInt32?
    ) -> UInt32 {
        let shard = nodes[node].shard
        let slot: UInt32
        if let free = freeSlots[shard].popLast() {
            slot = free
            series[shard][Int(slot)] = one
        } else {
            slot = UInt32(series[shard].count)
            series[shard].append(one)
        }
        seriesCount += 1
        let number = Int(sender.rawValue)
        if seriesOfSender.count <= number {
            seriesOfSender.append(contentsOf: repeatElement(0, count: number + 1 - seriesOfSender.count))
        }
        seriesOfSender[number] += 1
        count(one, 1)
        fresh[shard].append(
            SeriesDescriptor(
                slot: slot, gpu: one.gpu, node: nodes[node].index, rack: nodes[node].rack, field: one.field,
                sender: sender, redundantTo: owner))
        return slot
    }

    private mutating func count(_ one: Series, _ change: Int) {
        seriesOfField[Int(one.field.rawValue)] += change
        let node = Int(gpus[Int(one.gpu)].node)
        if seriesOfNode.count <= node {
            seriesOfNode.append(contentsOf: repeatElement(0, count: node + 1 - seriesOfNode.count))
        }
        seriesOfNode[node] += Int32(change)
    }

    /// The topology's index of the node that a GPU is in; `nil` when nothing was heard of it.
    func node(ofGPU gpu: Int32) -> Int32? {
        gpus.indices.contains(Int(gpu)) && gpus[Int(gpu)].node >= 0 ? gpus[Int(gpu)].node : nil
    }

    // MARK: Series that went silent

    /// Forgets to whom slots belong: who asks for these series from now on gets other slots.
    mutating func forget(_ slots: [UInt32], shard: Int) {
        for slot in slots where Int(slot) < series[shard].count {
            let one = series[shard][Int(slot)]
            owners.remove(gpu: one.gpu, field: one.field, origin: one.origin, slot: slot)
        }
    }

    /// Gives slots back that no lane leads to any more.
    mutating func release(_ slots: [UInt32], shard: Int) {
        for slot in slots {
            let sender = senderOfOrigin[Int(series[shard][Int(slot)].origin)]
            seriesOfSender[Int(sender.rawValue)] -= 1
            seriesCount -= 1
            count(series[shard][Int(slot)], -1)
        }
        freeSlots[shard] += slots
    }

    /// Has the fleet stand as an inventory says. Nodes that have moved keep their shard and their slots.
    mutating func arrange(_ inventory: Inventory?) -> FleetChange {
        self.inventory = inventory ?? Inventory()
        let change = topology.arrange(as: inventory)
        guard !change.moved.isEmpty else { return change }
        let moved = Set(change.moved)
        var racks: [Int32: Int32] = [:]
        for position in nodes.indices where moved.contains(nodes[position].index) {
            nodes[position].rack = topology.rackOfNode(nodes[position].index)
            racks[nodes[position].index] = nodes[position].rack
        }
        sink.move(racks, stream: stream)
        return change
    }

    private mutating func origin(_ source: SeriesIdentity, _ sender: SenderID) -> UInt32? {
        let number = UInt64(sender.rawValue)
        let key = hasher.joined(source, SeriesIdentity(high: number, low: number))
        if let known = origins[key] { return known }
        guard origins.count < limits.names else { return nil }
        let origin = UInt32(origins.count)
        origins.set(key, origin)
        senderOfOrigin.append(sender)
        return origin
    }

    private mutating func ordinal(_ series: UnknownSeries) -> Int? {
        let ordinal = series.labels.ordinal >= 0 ? Int(series.labels.ordinal) : nil
        guard !series.labels.uuid.isEmpty else { return ordinal }
        let known = ordinals[series.uuid]
        guard let ordinal else { return known.map { Int($0) } }
        if known != UInt32(ordinal), known != nil || ordinals.count < limits.seriesInAll {
            ordinals.set(series.uuid, UInt32(ordinal))
        }
        return ordinal
    }

    // MARK: Places

    /// The position in `nodes`.
    ///
    /// - Parameter mayGrow: whether a node that is not known may be added to the fleet.
    private mutating func node(_ series: UnknownSeries, _ bytes: RawSpan, mayGrow: Bool) -> Int? {
        if let known = nodeNumbers[series.node] { return Int(known) }
        let labels = series.labels
        let name = bytes.string(labels.node)
        let index: Int32
        if mayGrow {
            let told = Placement(
                rack: bytes.string(labels.rack), array: bytes.string(labels.array),
                hall: bytes.string(labels.hall), model: bytes.string(labels.model))
            index = topology.node(
                name, at: inventory.placement(of: name, labels: told),
                standing: inventory.placements[name] == nil ? .heard : .listed)
        } else {
            guard let known = topology.nodeIndex(name) else { return nil }
            index = known
        }
        let rack = topology.rackOfNode(index)
        nodeNumbers.set(series.node, UInt32(nodes.count))
        nodes.append(
            Node(index: index, rack: rack, shard: sink.shard(stream: stream, rack: rack, node: index)))
        return nodes.count - 1
    }

    private mutating func gpu(_ node: Int, _ ordinal: Int, mayGrow: Bool) -> Int32? {
        if ordinal < nodes[node].gpus.count, nodes[node].gpus[ordinal] >= 0 {
            return nodes[node].gpus[ordinal]
        }
        guard mayGrow else { return nil }
        let gpu = topology.gpu(node: nodes[node].index, ordinal: UInt8(ordinal))
        while nodes[node].gpus.count <= ordinal { nodes[node].gpus.append(-1) }
        nodes[node].gpus[ordinal] = gpu
        while gpus.count <= Int(gpu) { gpus.append(GPU()) }
        gpus[Int(gpu)].node = nodes[node].index
        return gpu
    }

    // MARK: Jobs

    /// Whether any series ever named a job: before, there is nothing to observe.
    private(set) var knowsJobs = false

    /// What goes into `Route.job`.
    private mutating func job(
        _ series: UnknownSeries, _ bytes: RawSpan, _ field: FieldIndex, _ gpu: Int32
    ) -> UInt32 {
        let witness = gpus[Int(gpu)].witness
        if witness == 255 {
            gpus[Int(gpu)].witness = field.rawValue
        } else if witness != field.rawValue {
            return 0
        }
        if series.labels.job.isEmpty { return 1 }
        knowsJobs = true
        if let known = jobNumbers[series.job] { return known + 1 }
        guard let number = jobs.number(bytes.string(series.labels.job)) else { return 0 }
        jobNumbers.set(series.job, number)
        return number + 1
    }

    /// Takes in what series said about the jobs of their nodes.
    mutating func observe(_ sightings: [JobSighting]) {
        for sighting in sightings {
            let gpu = series[sighting.shard][Int(sighting.slot)].gpu
            let change = jobs.observe(
                node: gpus[Int(gpu)].node, gpu: gpu, job: sighting.job, timeMs: sighting.timeMs)
            if let change { membership.note(change) }
        }
    }

    struct JobNews {
        var job: String
        var nodes: [String]
        var timeMs: Int64
    }

    mutating func jobNews(nowMs: Int64, all: Bool = false) -> [JobNews] {
        membership.due(nowMs: nowMs, all: all).map { news in
            JobNews(
                job: jobs.name(news.job), nodes: news.nodes.map { topology.nodeName($0) }, timeMs: news.timeMs
            )
        }
    }
}

/// A sample of a GPU's witness.
struct JobSighting {
    var slot: UInt32
    var shard: Int
    /// A number of `NodeJobs`.
    var job: UInt32
    var timeMs: Int64
}
