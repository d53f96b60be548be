/// What a worker tells of the telemetry that it shares.
public struct OriginStatus: Sendable {
    /// Windows that are on the brokers.
    public var published: UInt64 = 0
    /// Windows that wait.
    public var waiting = 0
    /// Number of the last window that is on the brokers; -1 before.
    public var window: Int64 = -1
    public var retried: UInt64 = 0
    /// 0 before it has one.
    public var epoch: UInt64 = 0
    /// The stream has no room for what waits.
    public var isFull = false
    public var problem: String?
    public init() {}
}

/// A worker's share of the ingested telemetry on its way to the brokers: one window after the other, and of each all
/// shares before the word that there are no more. So a mark says that everything before it is stored.
///
/// Nobody else has what it has heard: there is no lease to hold. A number that the brokers give at each start is the
/// epoch; what an earlier process of the same worker still sends is recognised by it.
public struct OriginMachine: NodeMachine {
    public let fleet: FleetMap
    public let origin: UInt64
    private let name: String
    private let incarnation: UInt64
    private let limits: ExchangeLimits
    private let fingerprint: UInt64
    private var tokens = TokenSource()
    private var epoch: UInt64?
    private var registering: UInt64?
    private var queue: [OriginWindow] = []
    private var isMarking = false
    /// Messages that were not sent yet, and those on their way.
    private var outgoing: [BusMessage] = []
    private var inFlight: [UInt64: BusMessage] = [:]
    /// Nothing is sent before: a broker that refuses is not asked without end.
    private var waitsUntilMs: Int64 = 0
    private var failures = 0
    /// Of our own registration: another one after it is another worker's of our name.
    private var watch: UInt64?
    private var isSuperseded = false
    private var counters = OriginStatus()

    static let retryMs: Int64 = 500

    /// - Parameters:
    ///   - name: of the worker, and the same after a restart.
    ///   - incarnation: another at each start.
    public init(
        name: String, fleet: FleetMap, incarnation: UInt64 = 0, limits: ExchangeLimits = ExchangeLimits()
    ) {
        self.name = name
        self.fleet = fleet
        self.incarnation = incarnation
        self.limits = limits
        origin = FleetMap.origin(name)
        fingerprint = fleet.fingerprint
    }

    /// To be published after those before.
    public mutating func add(_ window: OriginWindow) { queue.append(window) }

    public var status: OriginStatus {
        var status = counters
        status.waiting = queue.count
        status.epoch = epoch ?? 0
        if isSuperseded {
            status.problem =
                "another member that ingests is named \(name), too: give each a cluster.worker of its own, "
                + "and restart this one"
        }
        return status
    }

    public mutating func handle(_ input: NodeInput, nowMs: Int64) -> [NodeAction] {
        var actions: [NodeAction] = []
        switch input {
        case .published(let token, let result): published(token, result, nowMs)
        case .delivered(let cursor, let delivery): delivered(cursor, delivery)
        case .tick: actions = watchName()
        case .read: break
        }
        guard !isSuperseded, !queue.isEmpty, nowMs >= waitsUntilMs else { return actions }
        actions += epoch == nil ? register() : proceed()
        return actions
    }

    /// Two workers of one name would each take the place of what the other said.
    private mutating func watchName() -> [NodeAction] {
        guard epoch != nil, watch == nil, !isSuperseded else { return [] }
        let cursor = tokens.next()
        watch = cursor
        return [.open(.leases, fleet.originSubject(name), .lastOfEachSubject, cursor: cursor)]
    }

    private mutating func delivered(_ cursor: UInt64, _ delivery: BusDelivery) {
        guard cursor == watch, let epoch else { return }
        switch delivery {
        case .messages(let messages):
            // One of our own may have been stored twice.
            isSuperseded =
                isSuperseded || messages.contains { $0.sequence > epoch && $0.bytes != registration }
        case .ended: watch = nil
        }
    }

    private var registration: [UInt8] {
        Array("clsd1 \(String(origin, radix: 16)) \(String(incarnation, radix: 16))".utf8)
    }

    private mutating func register() -> [NodeAction] {
        guard registering == nil else { return [] }
        let token = tokens.next()
        registering = token
        let message = BusMessage(
            stream: .leases, subject: fleet.originSubject(name), bytes: registration)
        return [.publish(message, .none, token: token)]
    }

    private mutating func proceed() -> [NodeAction] {
        if outgoing.isEmpty, inFlight.isEmpty { begin() }
        var actions: [NodeAction] = []
        while !outgoing.isEmpty, inFlight.count < limits.inFlightMax {
            let message = outgoing.removeLast()
            let token = tokens.next()
            inFlight[token] = message
            actions.append(.publish(message, .none, token: token))
        }
        return actions
    }

    private mutating func begin() {
        guard let first = queue.first, let epoch else { return }
        let own = epoch << 16 | min(first.revision, 0xFFFF)
        if !isMarking {
            outgoing = first.shares.sorted { $0.key > $1.key }.flatMap {
                messages($0.key, $0.value, first, own)
            }
            guard outgoing.isEmpty else { return }
            isMarking = true
        }
        outgoing = (0..<fleet.partitions).map { partition in
            let mark = OriginMark(
                fleet: fingerprint, partition: partition, window: first.window, origin: origin, epoch: own,
                weight: first.nodes, coverage: first.coverage)
            return BusMessage(
                stream: .partials, subject: fleet.partialSubject(partition), bytes: mark.encoded(),
                id: "m.\(partition).\(first.window).\(origin).\(own)")
        }
    }

    private func messages(
        _ slice: Int, _ groups: [PartialGroup], _ window: OriginWindow, _ epoch: UInt64
    ) -> [BusMessage] {
        let envelope = PartialEnvelope(
            fleet: fingerprint, slice: slice, windowStartMs: fleet.windowStartMs(window.window),
            windowLengthMs: fleet.windowMs, origin: origin, epoch: epoch, groups: groups)
        return envelope.chunked(limits).enumerated().map { number, bytes in
            BusMessage(
                stream: .partials, subject: fleet.partialSubject(slice), bytes: bytes,
                id: "\(slice).\(window.window).\(origin).\(epoch).\(number)")
        }
    }

    private mutating func published(_ token: UInt64, _ result: Result<UInt64, BusError>, _ nowMs: Int64) {
        let isRegistration = token == registering
        var message = inFlight.removeValue(forKey: token)
        guard isRegistration || message != nil else { return }
        if isRegistration { registering = nil }
        switch result {
        case .success(let sequence):
            counters.problem = nil
            counters.isFull = false
            failures = 0
            if isRegistration { epoch = sequence } else { stored() }
        case .failure(let error):
            waitsUntilMs = nowMs + Self.retryMs
            failures += 1
            note(error)
            guard !isRegistration else { return }
            counters.retried += 1
            // A broker may take the id of a message that it never stored for a copy; without one it cannot.
            message?.id = nil
            if let message { outgoing.append(message) }
        }
    }

    private mutating func note(_ error: BusError) {
        counters.isFull = error == .full
        switch error {
        case .denied(let text), .failed(let text): counters.problem = text
        case .full: counters.problem = BusStream.partials.fullWords
        case .conflict, .ambiguous, .unavailable:
            if failures > 4 { counters.problem = "the brokers do not store what was ingested" }
        }
    }

    private mutating func stored() {
        guard outgoing.isEmpty, inFlight.isEmpty, let first = queue.first else { return }
        guard isMarking else {
            isMarking = true
            return
        }
        isMarking = false
        queue.removeFirst()
        counters.published += 1
        counters.window = max(counters.window, first.window)
    }
}
