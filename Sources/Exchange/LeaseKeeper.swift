/// The leases of one role, seen from one member: it says that it lives, takes its share, renews, and gives away what is
/// too much.
struct LeaseKeeper: Sendable {
    private enum Purpose {
        case heartbeat
        case write(Int)
        case read(Int)
    }

    let role: String
    let name: String
    let incarnation: UInt64
    let fleet: FleetMap
    let leaseMs: Int64
    /// Position of the word in a lease's subject after `…lease.`, whose next token is the lease's number.
    private let leaseWord: String
    private let leaseSubject: @Sendable (Int) -> Subject
    private(set) var leases: [LeaseStateMachine]
    private(set) var membership: Membership
    private var purposes: [UInt64: Purpose] = [:]
    private var heartbeatMs: Int64?
    private var watch: UInt64?
    var isDraining = false
    /// The last refusal that trying again will not heal.
    private(set) var problem: String?
    /// Consecutive requests that failed; the broker is out of reach.
    private(set) var failures = 0

    init(
        role: String, name: String, incarnation: UInt64, fleet: FleetMap, leaseMs: Int64, count: Int,
        leaseWord: String, leaseSubject: @escaping @Sendable (Int) -> Subject
    ) {
        precondition(incarnation != 0, "incarnation 0 is nobody's")
        self.role = role
        self.name = name
        self.incarnation = incarnation
        self.fleet = fleet
        self.leaseMs = leaseMs
        self.leaseWord = leaseWord
        self.leaseSubject = leaseSubject
        leases = (0..<count).map { _ in LeaseStateMachine(owner: incarnation, leaseMs: leaseMs) }
        membership = Membership(leaseMs: leaseMs)
    }

    var held: Int { leases.count { $0.epoch != nil } }

    func share(nowMs: Int64) -> Int {
        isDraining ? 0 : membership.share(of: name, total: leases.count, nowMs: nowMs)
    }

    mutating func tick(nowMs: Int64, _ tokens: inout TokenSource) -> [NodeAction] {
        var actions: [NodeAction] = []
        if watch == nil {
            let cursor = tokens.next()
            watch = cursor
            actions.append(.open(.leases, fleet.leaseSubjects, .lastOfEachSubject, cursor: cursor))
        }
        if nowMs - (heartbeatMs ?? .min / 2) >= leaseMs / 3 {
            heartbeatMs = nowMs
            actions.append(heartbeat(&tokens))
        }
        let wanted = wanted(nowMs)
        for index in leases.indices {
            guard let action = leases[index].next(nowMs: nowMs, wanted: wanted.contains(index)) else {
                continue
            }
            let token = tokens.next()
            switch action {
            case .read:
                purposes[token] = .read(index)
                actions.append(.read(.leases, leaseSubject(index), token: token))
            case .write(let value, let expected):
                purposes[token] = .write(index)
                let message = BusMessage(stream: .leases, subject: leaseSubject(index), bytes: value.bytes)
                actions.append(.publish(message, .lastSequence(expected), token: token))
            }
        }
        return actions
    }

    private mutating func heartbeat(_ tokens: inout TokenSource) -> NodeAction {
        let note = Membership.Note(incarnation: incarnation, isDraining: isDraining, held: held)
        let token = tokens.next()
        purposes[token] = .heartbeat
        let subject = fleet.memberSubject(role, name)
        return .publish(
            BusMessage(stream: .leases, subject: subject, bytes: note.bytes), .none, token: token)
    }

    /// Which leases to hold or to take: those held, up to the share, and then others that look free, from a place that
    /// differs from member to member, so that they seldom want the same one.
    private func wanted(_ nowMs: Int64) -> Set<Int> {
        let share = share(nowMs: nowMs)
        var wanted = Set(leases.indices.filter { leases[$0].epoch != nil }.prefix(share))
        let missing = share - wanted.count
        guard missing > 0, held <= share else { return wanted }
        // A few at a time: so a dead member's leases spread over all who live.
        let most = min(missing, max(1, leases.count / 16))
        let first = Int(incarnation % UInt64(leases.count))
        let order = leases.indices.map { ($0 + first) % leases.count }
        wanted.formUnion(order.filter { leases[$0].looksFree(nowMs: nowMs) }.prefix(most))
        return wanted
    }

    /// `true` when the input was for the leases.
    mutating func handle(_ input: NodeInput, nowMs: Int64) -> Bool {
        switch input {
        case .tick:
            return false
        case .published(let token, let result):
            guard let purpose = purposes.removeValue(forKey: token) else { return false }
            note(result)
            if case .write(let index) = purpose { leases[index].wrote(result, nowMs: nowMs) }
            return true
        case .read(let token, let result):
            guard case .read(let index)? = purposes.removeValue(forKey: token) else { return false }
            note(result)
            leases[index].wasRead(result, nowMs: nowMs)
            return true
        case .delivered(let cursor, let delivery):
            guard cursor == watch else { return false }
            switch delivery {
            case .messages(let messages): for message in messages { observe(message, nowMs) }
            case .ended: watch = nil
            }
            return true
        }
    }

    /// Remembers whether the broker answers.
    mutating func note<Value>(_ result: Result<Value, BusError>) {
        switch result {
        case .success, .failure(.conflict):
            failures = 0
            if case .success = result { problem = nil }
        case .failure(let error):
            failures += 1
            switch error {
            case .denied(let text), .failed(let text): problem = text
            case .full: problem = BusStream.leases.fullWords
            case .conflict, .ambiguous, .unavailable: break
            }
        }
    }

    private mutating func observe(_ message: StoredMessage, _ nowMs: Int64) {
        guard let (word, name) = fleet.leaseWords(message.subject) else { return }
        if word == role {
            membership.observe(String(name), message.bytes, revision: message.sequence, nowMs: nowMs)
        } else if word == leaseWord, let index = Int(name), leases.indices.contains(index) {
            leases[index].observe(
                LeaseValue(message.bytes), revision: message.sequence, nowMs: nowMs,
                storedMs: message.timestampMs)
        }
    }
}
