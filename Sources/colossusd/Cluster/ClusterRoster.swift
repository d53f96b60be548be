import Exchange
import Telemetry

/// Who is in the cluster, as its members tell. One that has not told for a while is gone.
struct ClusterRoster: Sendable {
    struct Entry: Sendable {
        var note: ClusterNote
        var sequence: UInt64
        /// When it was heard, on our own clock.
        var heardMs: Int64
    }

    static let membersMax = 4_096
    let fleet: String
    private let silentMs: Int64
    private(set) var entries: [String: Entry] = [:]
    /// Members that are in another run, before this one or behind it.
    private(set) var elsewhere: [String: Entry] = [:]
    private let run: UInt64
    /// Of what is ingested: who shares that alone is in no run.
    private let ingested: String?
    private var beganMs: Int64?
    private var lastHeardMs: Int64?

    /// - Parameter former: what this process has heard in the run before, so that it knows the others from the start.
    init(fleet: FleetMap, ingested: FleetMap?, leaseMs: Int64, former: ClusterRoster? = nil) {
        run = fleet.run
        self.ingested = ingested.map { String($0.fingerprint, radix: 16) }
        self.fleet = String(fleet.fingerprint, radix: 16)
        silentMs = max(leaseMs, 6_000)
        guard let former else { return }
        for entry in former.entries.values { place(entry) }
        for entry in former.elsewhere.values { place(entry) }
    }

    mutating func observe(_ message: StoredMessage, nowMs: Int64) {
        // After a while in which nobody could be heard, nothing is known of those who are not heard yet.
        if !hasHeard(nowMs: nowMs) { beganMs = nowMs }
        lastHeardMs = nowMs
        guard let note = ClusterNote(message.bytes),
            message.subject.tokens.last.map(String.init) == note.member
        else { return }
        place(Entry(note: note, sequence: message.sequence, heardMs: nowMs))
    }

    private mutating func place(_ entry: Entry) {
        let note = entry.note
        guard note.fleet == fleet else {
            // An earlier version tells no number: it is in the first run.
            guard note.run != nil || (run > 1 && note.fleet != ingested),
                elsewhere[note.member] != nil || elsewhere.count < Self.membersMax
            else { return }
            elsewhere[note.member] = entry
            return
        }
        elsewhere[note.member] = nil
        if let known = entries[note.member], known.sequence >= entry.sequence { return }
        guard entries[note.member] != nil || entries.count < Self.membersMax else { return }
        entries[note.member] = entry
    }

    func isLive(_ name: String, nowMs: Int64) -> Bool {
        entries[name].map { nowMs - $0.heardMs < silentMs && !$0.note.hasLeft } ?? false
    }

    /// Members that were heard in another run of late, and not here since.
    func areElsewhere(nowMs: Int64) -> [Entry] {
        elsewhere.values.filter { nowMs - $0.heardMs < silentMs && !$0.note.hasLeft }
    }

    /// Whether nobody that lives is in a run before this one; not before there was time to hear of them.
    func areAllHere(nowMs: Int64) -> Bool {
        guard let beganMs, nowMs - beganMs >= silentMs, hasHeard(nowMs: nowMs) else { return false }
        return !areElsewhere(nowMs: nowMs).contains { $0.note.run ?? 1 < run }
    }

    /// Members tell of themselves every two seconds, we too: longer silence is ours, or the brokers'.
    private func hasHeard(nowMs: Int64) -> Bool {
        lastHeardMs.map { nowMs - $0 < silentMs / 2 } ?? false
    }

    /// The last window that is in the finals of all partitions, by what roll-ups have told; `nil` before they have
    /// told of all.
    func closedThrough(partitions: Int) -> Int64? {
        var closed: [Int: Int64] = [:]
        for entry in entries.values {
            for one in entry.note.partitions where one.partition < partitions {
                closed[one.partition] = max(closed[one.partition] ?? one.closed, one.closed)
            }
        }
        return closed.count == partitions ? closed.values.min() : nil
    }

    /// Whether a member that lives has partials for which the stream has no room.
    func waitForRoom(nowMs: Int64) -> Bool {
        entries.contains { isLive($0.key, nowMs: nowMs) && $0.value.note.full ?? 0 > 0 }
    }

    /// Slices that a member which lives says it has.
    func held(nowMs: Int64) -> [Int: (member: String, epoch: UInt64)] {
        var held: [Int: (member: String, epoch: UInt64)] = [:]
        for (name, entry) in entries where isLive(name, nowMs: nowMs) {
            for (slice, epoch) in zip(entry.note.slices, entry.note.epochs)
            where epoch >= held[slice]?.epoch ?? 0 {
                held[slice] = (name, epoch)
            }
        }
        return held
    }
}
