import Telemetry

/// Names that something is so of, each with the time of the event that said it last. They come from outside: all of the
/// fleet's are remembered, and a bounded number of others.
struct ToldNames: Sendable {
    /// It is so since.
    private(set) var on: [String: Int64] = [:]
    /// It was so until: an older event comes late, or again.
    private var off: [String: Int64] = [:]
    private var strangersOn = 0
    private var strangersOff = 0

    /// Names that the fleet does not have.
    static let strangersMax = 10_000
    /// Before the fleet is known.
    static let unplacedMax = 100_000

    /// - Returns: `false` when there are too many names.
    mutating func begin(_ name: String, atMs: Int64, _ places: FleetPlaces?) -> Bool {
        let isStranger = Self.isStranger(name, places)
        if let overMs = off[name], atMs <= overMs { return true }
        if let sinceMs = on[name] {
            on[name] = max(sinceMs, atMs)
            return true
        }
        guard !isStranger || strangersOn < Self.limit(places) else { return false }
        if off.removeValue(forKey: name) != nil, isStranger { strangersOff -= 1 }
        if isStranger { strangersOn += 1 }
        on[name] = atMs
        return true
    }

    /// - Returns: `false` when it is older than what began.
    mutating func end(_ name: String, atMs: Int64, _ places: FleetPlaces?) -> Bool {
        let isStranger = Self.isStranger(name, places)
        if let sinceMs = on[name] {
            guard atMs >= sinceMs else { return false }
            on[name] = nil
            if isStranger { strangersOn -= 1 }
        }
        if let overMs = off[name] {
            off[name] = max(overMs, atMs)
            return true
        }
        if isStranger {
            // Without them, only what comes late is taken for new.
            if strangersOff >= Self.limit(places) { forgetStrangersOff(places) }
            strangersOff += 1
        }
        off[name] = atMs
        return true
    }

    /// The fleet is another one.
    mutating func count(_ places: FleetPlaces) {
        strangersOn = on.keys.count { Self.isStranger($0, places) }
        strangersOff = off.keys.count { Self.isStranger($0, places) }
    }

    private mutating func forgetStrangersOff(_ places: FleetPlaces?) {
        off = off.filter { !Self.isStranger($0.key, places) }
        strangersOff = 0
    }

    private static func isStranger(_ name: String, _ places: FleetPlaces?) -> Bool {
        places.map { !$0.knows(name) } ?? true
    }

    private static func limit(_ places: FleetPlaces?) -> Int {
        places == nil ? unplacedMax : strangersMax
    }
}

struct XIDMark: Sendable {
    var code: Int
    var gpu: Int?
    var untilMs: Int64
}

/// What is known of a stream.
struct Watched: Sendable {
    private(set) var places: FleetPlaces?
    /// Nodes, or racks, by name.
    private(set) var maintained = ToldNames()
    private(set) var down = ToldNames()
    /// What the XID of a class was, and until when it counts, by node.
    private(set) var xids: [String: [XID.Class: XIDMark]] = [:]
    private var xidCount = 0
    /// Length of the shortest windows that came, and the end of the last of them.
    var finestMs: Int64 = .max
    var lastEndMs: Int64?
    /// The latest time of the stream's clock that was looked at.
    private(set) var lookMs: Int64?

    /// Nodes and classes of XIDs that are remembered.
    private static let xidsMax = 10_000

    /// A closing that ends then has no finest window where one should be.
    func misses(throughMs: Int64) -> Bool {
        guard let lastEndMs, finestMs < .max else { return false }
        let (nextMs, isTooFar) = lastEndMs.addingReportingOverflow(finestMs)
        return !isTooFar && throughMs >= nextMs
    }

    mutating func looked(atMs: Int64) { lookMs = max(lookMs ?? atMs, atMs) }

    mutating func see(_ topology: TopologySnapshot) {
        guard
            places?.topology.version != topology.version
                || places?.topology.nodeNames.count != topology.nodeNames.count
        else { return }
        let places = FleetPlaces(topology)
        self.places = places
        down.count(places)
        maintained.count(places)
    }

    /// Takes an event.
    ///
    /// - Parameter nowMs: wall clock. What happened to the measured fleet is not taken to be later.
    /// - Returns: how many names or XIDs there was no room for.
    mutating func note(_ event: Event, _ policy: AlertPolicy, nowMs: Int64) -> Int64 {
        let names = (event.nodes.isEmpty ? [event.entity] : event.nodes).lazy.filter { !$0.isEmpty }
        // A time from outside.
        var atMs = max(event.timeMs, 0)
        if !event.stream.isSimulated { atMs = min(atMs, max(nowMs, lookMs ?? nowMs)) }
        var refused: Int64 = 0
        switch event.kind {
        case .nodeDown:
            for name in names where !down.begin(name, atMs: atMs, places) { refused += 1 }
        // Work on one GPU is no reason not to hear of the others.
        case .maintenanceStart where event.gpu == nil:
            for name in names where !maintained.begin(name, atMs: atMs, places) { refused += 1 }
        case .maintenanceEnd where event.gpu == nil:
            for name in names { _ = maintained.end(name, atMs: atMs, places) }
        case .nodeUp:
            for name in names where down.end(name, atMs: atMs, places) {
                // Whoever comes back has been seen to.
                xidCount -= xids.removeValue(forKey: name)?.count ?? 0
            }
        case .xid: if !note(xid: event, atMs: atMs, policy, nowMs: nowMs) { refused = 1 }
        default: break
        }
        return refused
    }

    private mutating func note(xid event: Event, atMs: Int64, _ policy: AlertPolicy, nowMs: Int64) -> Bool {
        guard let code = event.value.flatMap({ Int(exactly: $0) }), !event.entity.isEmpty else { return true }
        let kind = XID.class(code)
        guard policy.xid.isOn, policy.xidClasses.contains(kind) else { return true }
        // Kept where sums cannot overflow.
        let untilMs = min(atMs, .max / 4) + policy.xidHoldMs
        let isOver = untilMs <= lookMs ?? .min || !event.stream.isSimulated && untilMs <= nowMs
        guard !isOver else { return true }
        return remember(XIDMark(code: code, gpu: event.gpu, untilMs: untilMs), kind, of: event.entity)
    }

    /// - Returns: `false` when there are too many.
    mutating func remember(_ mark: XIDMark, _ kind: XID.Class, of node: String) -> Bool {
        let known = xids[node]?[kind]
        guard known != nil || xidCount < Self.xidsMax else { return false }
        if known == nil { xidCount += 1 }
        var mark = mark
        mark.untilMs = max(mark.untilMs, known?.untilMs ?? 0)
        xids[node, default: [:]][kind] = mark
        return true
    }

    /// Forgets XIDs that do not count any more.
    mutating func expire(atMs: Int64) {
        let nodes = xids.filter { $0.value.values.contains { $0.untilMs <= atMs } }.keys
        for node in nodes {
            let left = xids[node]?.filter { $0.value.untilMs > atMs } ?? [:]
            xids[node] = left.isEmpty ? nil : left
        }
        xidCount = xids.values.reduce(0) { $0 + $1.count }
    }
}
