/// Body of `POST /v1/simulations/RUN/inject`: a fault, at the run's next millisecond.
public struct InjectionRequest: Codable, Sendable, Hashable {
    /// `gpu_lost`, `memory`, `nvlink`, `node_down`, `software`, `hot`, `silent`, `stall`, or a cause of the scenario.
    public var kind: String
    /// A node (`r0001-n1`), a GPU (`r0001-n1/3`), a rack, array, hall or the site.
    public var at: String
    /// Simulated time until it is repaired, found or over: `10m`, `2h`. Absent: as the kind has it.
    public var `for`: String?

    public init(kind: String, at: String, for length: String? = nil) {
        self.kind = kind
        self.at = at
        self.for = length
    }
}

/// What was injected.
public struct InjectionReply: Reply, Hashable {
    public static let schemaName = "colossus.injection/v1"

    public var schema: String = Self.schemaName
    public var run: String
    public var kind: String
    public var at: String
    /// Simulated time at which it strikes.
    public var time: UTCTime
    public var forSeconds: Double?

    public init(run: String, kind: String, at: String, time: UTCTime, forSeconds: Double? = nil) {
        self.run = run
        self.kind = kind
        self.at = at
        self.time = time
        self.forSeconds = forSeconds
    }
}

/// Which faults of a run to show.
public struct TruthRequest: Sendable, Hashable {
    /// Only those that somebody asked for.
    public var injected = false
    /// The newest ones.
    public var limit = 100

    public init() {}

    public init(query: QueryString) throws(ControlError) {
        try query.allow(["injected", "limit"])
        switch query["injected"] {
        case nil, "false": break
        case "true": injected = true
        case .some(let text):
            throw ControlError(
                .badRequest, "injected=\(text) is neither true nor false.", hint: "Write injected=true.")
        }
        limit = try query.limit(default: limit)
    }

    public var query: QueryString {
        var query = QueryString()
        if injected { query.add("injected", "true") }
        query.add("limit", String(limit))
        return query
    }
}

/// What really failed in a run, beside what the core saw of it.
public struct TruthReply: Reply, Hashable {
    public static let schemaName = "colossus.truth/v1"

    public var schema: String = Self.schemaName
    public var run: String
    /// Until this simulated time.
    public var until: UTCTime
    /// Of all faults until then, the ones that are meant; `faults` may be the newest of them.
    public var total: Int
    public var faults: [FaultRow]

    public init(run: String, until: UTCTime, total: Int, faults: [FaultRow]) {
        self.run = run
        self.until = until
        self.total = total
        self.faults = faults
    }
}

/// One fault.
public struct FaultRow: Codable, Sendable, Hashable {
    public var time: UTCTime
    /// The cause.
    public var kind: String
    /// Empty for a fault of the whole job.
    public var entity: String
    public var gpu: Int?
    public var injected: Bool
    /// It struck nothing: what it was to strike was not up.
    public var missed: Bool
    public var detection: Detection
    /// End of the first window that shows it.
    public var detected: UTCTime?
    /// What showed it: `xid`, `silence`, `temperature`.
    public var sign: String?
    public var delaySeconds: Double?

    public enum Detection: String, Codable, Sendable, Hashable {
        case detected
        /// A sign was looked for in the stored windows after it, and none was there.
        case undetected
        /// It leaves no sign in telemetry.
        case hidden
        /// The windows are not closed yet, or not kept any more.
        case unknown
    }

    public init(
        time: UTCTime, kind: String, entity: String, gpu: Int? = nil, injected: Bool, missed: Bool = false,
        detection: Detection
    ) {
        self.time = time
        self.kind = kind
        self.entity = entity
        self.gpu = gpu
        self.injected = injected
        self.missed = missed
        self.detection = detection
    }
}
