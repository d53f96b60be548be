/// How one stream of telemetry is divided among workers: what every member of a cluster agrees on.
///
/// Slices are whole arrays; there are more of them than workers, so that a stopped worker's share spreads. A slice
/// belongs to the partition `slice % partitions`, and a partition's windows are closed by one roll-up.
public struct FleetMap: Sendable, Equatable {
    /// Slices of a fleet.
    public static let slicesMax = 65_536
    /// Numbers of runs: a new one each second for thirty years.
    public static let runsMax: UInt64 = 1 << 30
    /// Numbers of windows are less: 2,000 years of seconds, and with the longest windows their times still fit.
    public static let windowNumberMax: Int64 = 1 << 36

    /// Of the cluster: letters, digits, `-` and `_`, for it is part of subjects.
    public let cluster: String
    /// The telemetry's stream, `measured` or `sim/RUN`.
    public let stream: String
    /// At least 1.
    public let slices: Int
    /// 1...slices.
    public let partitions: Int
    /// Milliseconds.
    public let windowMs: Int64
    /// The first window begins here (Unix milliseconds, a multiple of `windowMs`).
    public let startMs: Int64
    /// Which of the cluster's runs: 1 the first, and each that follows has subjects of its own, so that nothing of one run
    /// can be taken for another's. Always 1 of what is ingested.
    public let run: UInt64

    /// `nil` when a value is outside its range.
    public init?(
        cluster: String, stream: String, slices: Int, partitions: Int, windowMs: Int64, startMs: Int64,
        run: UInt64 = 1
    ) {
        let plain = cluster.utf8.allSatisfy { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45
                || byte == 95
        }
        guard plain, (1...32).contains(cluster.utf8.count), (1...68).contains(stream.utf8.count),
            (1...Self.slicesMax).contains(slices), (1...slices).contains(partitions),
            (1...86_400_000).contains(windowMs), startMs >= 0, startMs.isMultiple(of: windowMs),
            (1...Self.runsMax).contains(run), run == 1 || stream != "measured"
        else { return nil }
        self.cluster = cluster
        self.stream = stream
        self.slices = slices
        self.partitions = partitions
        self.windowMs = windowMs
        self.startMs = startMs
        self.run = run
    }

    /// Tells one map from another (64 bits of FNV-1a): partials of another map are refused, never merged.
    public var fingerprint: UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        // The first run has what versions have that know but one.
        let number = run > 1 ? "|\(run)" : ""
        for byte in "\(cluster)|\(stream)|\(slices)|\(partitions)|\(windowMs)|\(startMs)\(number)".utf8 {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3
        }
        return hash
    }

    /// Of telemetry that workers ingest, instead of a fleet that they simulate: its subjects are others, so that one
    /// cluster has both, and its slices belong to nobody.
    public var isIngested: Bool { stream == "measured" }
    private var kind: String { isIngested ? "m." : number }
    /// Token of the subjects of all runs but the first.
    private var number: String { run > 1 ? "r\(run)." : "" }

    public func partition(of slice: Int) -> Int { slice % partitions }

    /// How many slices a partition has.
    public func slices(in partition: Int) -> Int {
        slices / partitions + (partition < slices % partitions ? 1 : 0)
    }

    /// When the window of this number begins and ends.
    public func windowStartMs(_ window: Int64) -> Int64 { startMs + window * windowMs }
    public func windowEndMs(_ window: Int64) -> Int64 { startMs + (window + 1) * windowMs }

    /// The number of the window that begins at a time; `nil` when none does.
    public func window(startingMs: Int64) -> Int64? {
        guard startingMs >= startMs, (startingMs - startMs).isMultiple(of: windowMs) else { return nil }
        return (startingMs - startMs) / windowMs
    }

    /// The last window that has ended by a time, -1 before the first.
    public func lastWindow(endedMs: Int64) -> Int64 {
        endedMs < startMs + windowMs ? -1 : (endedMs - startMs) / windowMs - 1
    }

    public func partialSubject(_ slice: Int) -> Subject {
        Subject("clsd.v1.\(cluster).part.\(kind)\(partition(of: slice)).\(slice)")
    }
    /// All partials of a partition.
    public func partialSubjects(in partition: Int) -> Subject {
        Subject("clsd.v1.\(cluster).part.\(kind)\(partition).*")
    }
    public func finalSubject(_ partition: Int) -> Subject {
        Subject("clsd.v1.\(cluster).fin.\(kind)\(partition)")
    }
    /// The finals of all partitions.
    public var finalSubjects: Subject { Subject("clsd.v1.\(cluster).fin.\(kind)*") }
    public func sliceLease(_ slice: Int) -> Subject {
        Subject("clsd.v1.\(cluster).lease.slice.\(number)\(slice)")
    }
    var partitionWord: String { isIngested ? "mroll" : "roll" }
    var rollupRole: String { isIngested ? "mrollup" : "rollup" }
    public func partitionLease(_ partition: Int) -> Subject {
        Subject("clsd.v1.\(cluster).lease.\(partitionWord).\(number)\(partition)")
    }
    /// Where a member of a role (`worker`, `rollup`) says that it lives.
    public func memberSubject(_ role: String, _ name: String) -> Subject {
        Subject("clsd.v1.\(cluster).lease.\(role).\(number)\(name)")
    }
    /// Where members tell of themselves, all of them together, and one.
    public var noteSubjects: Subject { Subject("clsd.v1.\(cluster).lease.note.*") }
    public func noteSubject(_ member: String) -> Subject {
        Subject("clsd.v1.\(cluster).lease.note.\(member)")
    }
    /// What the members agreed upon when the first of them came.
    public var agreementSubject: Subject { Self.agreementSubject(cluster, run: run) }
    /// The same, where nobody knows what fleet the run has.
    public static func agreementSubject(_ cluster: String, run: UInt64) -> Subject {
        ofRun("agreement", cluster, run)
    }
    /// The run that somebody has started for all of them: the newest.
    public static func startSubject(_ cluster: String) -> Subject { Subject("clsd.v1.\(cluster).lease.run") }
    /// What is asked of the run that they play, and how far they may play it.
    public var controlSubject: Subject { Self.controlSubject(cluster, run: run) }
    /// The same, where nobody knows what fleet the run has.
    public static func controlSubject(_ cluster: String, run: UInt64) -> Subject {
        ofRun("control", cluster, run)
    }
    private static func ofRun(_ word: String, _ cluster: String, _ run: UInt64) -> Subject {
        Subject("clsd.v1.\(cluster).lease.\(word)" + (run > 1 ? ".r\(run)" : ""))
    }
    /// Where a worker that ingests gets the number of its epoch.
    public func originSubject(_ name: String) -> Subject {
        Subject("clsd.v1.\(cluster).lease.origin.\(name)")
    }
    /// Where a member takes requests.
    public func requestSubject(_ member: String) -> Subject { Subject("clsd.v1.\(cluster).rpc.\(member)") }
    public var leaseSubjects: Subject {
        Subject("clsd.v1.\(cluster).lease." + (run > 1 ? "*.r\(run).*" : ">"))
    }

    /// Leases and signs of life of a run that is over: what was asked of it, and agreed upon, stays.
    static func leaseSubjects(_ cluster: String, ofEnded run: UInt64) -> [Subject] {
        let prefix = "clsd.v1.\(cluster).lease."
        guard run == 1 else { return [Subject(prefix + "*.r\(run).*")] }
        // Those of what is ingested have other words, and stay.
        return ["slice", "roll", "worker", "rollup"].map { Subject(prefix + "\($0).*") }
    }

    /// What stands in a subject of a lease or of a member of this run: its word and the number or name behind it.
    func leaseWords(_ subject: Subject) -> (word: Substring, name: Substring)? {
        let tokens = subject.tokens
        guard tokens.count == (run > 1 ? 7 : 6), let name = tokens.last else { return nil }
        guard run == 1 || tokens[5] == "r\(run)" else { return nil }
        return (tokens[4], name)
    }

    /// Partials of the run before, which nobody needs any more; `nil` for the first.
    public var earlierPartialSubjects: Subject? {
        guard run > 1 else { return nil }
        return Subject("clsd.v1.\(cluster).part." + (run == 2 ? "*.*" : "r\(run - 1).>"))
    }
}
