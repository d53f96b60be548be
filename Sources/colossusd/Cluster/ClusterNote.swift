import Exchange
import FoundationEssentials
import Playback

/// What a member of the cluster tells of itself every two seconds; JSON, so that any tool of the brokers shows it.
struct ClusterNote: Codable, Sendable, Equatable {
    struct Partition: Codable, Sendable, Equatable {
        var partition: Int
        /// Number of the last closed window.
        var closed: Int64
        var open: Int
        var late: UInt64
    }

    var v = 1
    /// Of the fleet map, in hexadecimal: members of another fleet do not count.
    var fleet: String
    var member: String
    /// Another at each start.
    var incarnation: UInt64
    var roles: [String]
    var version: String
    var isDraining = false
    /// It has said goodbye.
    var hasLeft = false
    var slices: [Int] = []
    var epochs: [UInt64] = []
    var share = 0
    /// Number of the last window that its simulation has finished.
    var ready: Int64 = -1
    var kept = 0
    var published: UInt64 = 0
    var retried: UInt64 = 0
    var leaseLosses: UInt64 = 0
    var partitions: [Partition] = []
    var closed: UInt64 = 0
    var incomplete: UInt64 = 0
    /// Number of the last window in its store; `nil` without the role.
    var reported: Int64?
    var lagMs: Int64 = 0
    /// Slices whose partials find no room; `nil` of one that does not tell.
    var full: Int?
    /// Entries of the control log that it plays or reports by; `nil` of one that knows none.
    var control: Int?
    /// Number of the simulated run that it plays or reports; `nil` of one that knows but one, or shares what it ingests alone.
    var run: UInt64?
    var problem: String?

    static let bytesMax = 256 * 1_024

    var bytes: [UInt8] { (try? JSONEncoder().encode(self)).map(Array.init) ?? [] }

    init(fleet: FleetMap, member: String, incarnation: UInt64, roles: [String], version: String) {
        self.fleet = String(fleet.fingerprint, radix: 16)
        self.member = member
        self.incarnation = incarnation
        self.roles = roles
        self.version = version
    }

    init?(_ bytes: [UInt8]) {
        guard bytes.count <= Self.bytesMax,
            let note = try? JSONDecoder().decode(ClusterNote.self, from: Data(bytes)), note.v == 1,
            note.isInRange
        else { return nil }
        self = note
    }

    /// Others have written it: nothing of it may be more than a fleet can have.
    private var isInRange: Bool {
        let windows = -1..<FleetMap.windowNumberMax
        let slices = 0..<FleetMap.slicesMax
        return roles.count <= 16 && self.slices.count <= slices.count && epochs.count == self.slices.count
            && self.slices.allSatisfy(slices.contains) && share >= 0 && kept >= 0
            && (0...ControlLog.entriesMax).contains(control ?? 0) && windows.contains(ready)
            && windows.contains(reported ?? -1) && (1...FleetMap.runsMax).contains(run ?? 1)
            && partitions.count <= slices.count
            && partitions.allSatisfy {
                slices.contains($0.partition) && windows.contains($0.closed) && $0.open >= 0
            }
    }
}

/// What the first member has written down for all: which run, and when it began.
struct ClusterAgreement: Codable, Sendable, Equatable {
    /// 1: members may join that know nothing of the control log; those refuse any other.
    var v = Self.controlled
    static let controlled = 2
    private static let bytesMax = 4_096
    var fleet: String
    var run: String
    /// SHA-256 of the scenario and the seed.
    var scenario: String
    var speed: String
    var startedMs: Int64

    var bytes: [UInt8] { (try? JSONEncoder().encode(self)).map(Array.init) ?? [] }

    init(_ fleet: SharedFleet, startedMs: Int64) {
        self.fleet = String(fleet.map.fingerprint, radix: 16)
        run = fleet.run
        scenario = fleet.hash
        speed = fleet.pace.description
        self.startedMs = startedMs
    }

    init?(_ bytes: [UInt8]) {
        guard bytes.count <= Self.bytesMax,
            let known = try? JSONDecoder().decode(ClusterAgreement.self, from: Data(bytes)),
            (1...Self.controlled).contains(known.v), (0...ControlLog.timeMax).contains(known.startedMs)
        else { return nil }
        self = known
    }

    /// The run that it is about, and its fleet, whatever else is said of it.
    static func subject(of bytes: [UInt8]) -> (name: String, fleet: UInt64?)? {
        struct Head: Codable {
            var run: String
            var fleet: String?
        }
        guard bytes.count <= bytesMax else { return nil }
        return (try? JSONDecoder().decode(Head.self, from: Data(bytes))).map {
            ($0.run, $0.fleet.flatMap { UInt64($0, radix: 16) })
        }
    }

    /// What another member has otherwise, in words; `nil` when all is the same.
    func difference(from other: ClusterAgreement) -> String? {
        let pairs = [
            ("run", run, other.run), ("scenario or seed", scenario, other.scenario),
            ("speed", speed, other.speed), ("slices, partitions or windows", fleet, other.fleet),
        ]
        return pairs.first { $0.1 != $0.2 }.map { "its \($0.0) is \($0.2), ours \($0.1)" }
    }
}

/// What one member asks of another.
struct ClusterOrder: Codable, Sendable {
    enum Verb: String, Codable, Sendable { case drain, resume }
    var v = 1
    var verb: Verb
}

struct ClusterAnswer: Codable, Sendable {
    var v = 1
    var ok: Bool
    var text: String
}
