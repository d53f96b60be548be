public import Telemetry

/// What a member tells of the control of a shared run.
public struct ControlStatus: Sendable {
    public var log: ControlLog?
    /// Logs that could not be read, are of another fleet, or do not follow from what was known.
    public var refused: UInt64 = 0
    public var problem: String?
    public init() {}
}

/// The control log of a shared run, seen from one member: reads it, adds what its operators ask for, and, where the
/// member plays the run, moves the horizon on in time.
public struct ControlMachine: NodeMachine {
    private struct Ask {
        var deed: ControlEntry.Deed
        var id: UInt64
        var untilMs: Int64
    }

    /// How far ahead of what is due the horizon goes, milliseconds of the wall clock. What is asked counts after so long.
    public static let leadMs: Int64 = 4_000
    private static let readEveryMs: Int64 = 1_000
    /// The pace that is reached is measured over this time.
    private static let paceMs: Int64 = 2_000
    /// After so long whoever asks is told that nobody knows.
    public static let patienceMs: Int64 = 12_000

    public let fleet: FleetMap
    private let name: String
    private let base: ControlCourse.Base
    private let clock: WallClock
    /// The last tick that this member has played; `nil` where it plays nothing.
    private let position: (@Sendable () -> Int64?)?
    private let fingerprint: UInt64
    /// Number of the last window that is final already where the log begins; -1 before.
    private let closed: Int64
    private var tokens = TokenSource()
    private var watch: UInt64?
    private var known: (log: ControlLog, revision: UInt64)?
    /// The brokers say that there is none.
    private var isAbsent = false
    private var mustRead = true
    private var readMs: Int64 = .min / 2
    private var reading: UInt64?
    private var writing: (token: UInt64, log: ControlLog)?
    private var asks: [Ask] = []
    private var answers: [UInt64: Result<ControlEntry, ControlRefusal>] = [:]
    private var random: any RandomNumberGenerator & Sendable
    /// Where this member's run stood, of the last seconds.
    private var places: [(nowMs: Int64, position: Int64)] = []
    /// The revision that there was when this member came.
    private var firstRevision: UInt64?
    /// The clock of the brokers, by a revision that was written since, and when it came.
    private var brokers: (ms: Int64, nowMs: Int64)?
    private var touchedMs: Int64 = .min / 2
    private var refused: UInt64 = 0
    private var problem: String?

    /// - Parameters:
    ///   - name: of the member.
    ///   - closed: number of the last window that was final when the member came: a log begins behind it. -1 before.
    ///   - position: where the member plays the run: the last tick that it has played, `nil` before the first.
    ///   - random: names what is asked for.
    public init(
        name: String, fleet: FleetMap, base: ControlCourse.Base, clock: WallClock,
        closed: Int64 = -1, position: (@Sendable () -> Int64?)?,
        random: any RandomNumberGenerator & Sendable = SystemRandomNumberGenerator()
    ) {
        self.name = name
        self.fleet = fleet
        self.base = base
        self.clock = clock
        self.closed = closed
        self.position = position
        self.random = random
        fingerprint = fleet.fingerprint
    }

    public var status: ControlStatus {
        var status = ControlStatus()
        status.log = known?.log
        status.refused = refused
        status.problem = problem
        return status
    }

    /// Asks for something; the next ticks do it.
    ///
    /// - Returns: what `takeAnswer` is asked by.
    public mutating func ask(_ deed: ControlEntry.Deed, nowMs: Int64) -> UInt64 {
        let id = random.next()
        asks.append(Ask(deed: deed, id: id, untilMs: nowMs + Self.patienceMs))
        return id
    }

    /// What became of it; once.
    public mutating func takeAnswer(_ id: UInt64) -> Result<ControlEntry, ControlRefusal>? {
        answers.removeValue(forKey: id)
    }

    public mutating func handle(_ input: NodeInput, nowMs: Int64) -> [NodeAction] {
        switch input {
        case .tick:
            return tick(nowMs)
        case .published(let token, let result):
            guard let writing, writing.token == token else { return [] }
            self.writing = nil
            switch result {
            case .success(let revision):
                adopt(writing.log, revision)
                problem = nil
            case .failure(let error):
                mustRead = true
                note(error)
            }
        case .read(let token, let result):
            guard reading == token else { return [] }
            reading = nil
            switch result {
            case .success(let message?):
                (mustRead, problem) = (false, nil)
                observe(message)
            case .success(nil):
                (mustRead, problem) = (false, nil)
                isAbsent = true
            case .failure(let error): note(error)
            }
        case .delivered(let cursor, let delivery):
            guard cursor == watch else { return [] }
            switch delivery {
            case .messages(let messages):
                for message in messages {
                    compareClocks(message, nowMs)
                    observe(message)
                }
            case .ended: watch = nil
            }
        }
        settle(nowMs)
        return []
    }

    private mutating func note(_ error: BusError) {
        switch error {
        case .denied(let text), .failed(let text): problem = text
        case .full: problem = BusStream.leases.fullWords
        case .conflict, .ambiguous, .unavailable: break
        }
    }

    private mutating func tick(_ nowMs: Int64) -> [NodeAction] {
        var actions: [NodeAction] = []
        settle(nowMs)
        measure(nowMs)
        if watch == nil {
            let cursor = tokens.next()
            watch = cursor
            actions.append(.open(.leases, fleet.controlSubject, .lastOfEachSubject, cursor: cursor))
        }
        guard writing == nil, reading == nil else { return actions }
        if mustRead {
            guard nowMs - readMs >= (known == nil && asks.isEmpty ? Self.readEveryMs : 0) else {
                return actions
            }
            readMs = nowMs
            let token = tokens.next()
            reading = token
            return actions + [.read(.leases, fleet.controlSubject, token: token)]
        }
        guard let (log, revision) = wanted(nowMs) else { return actions }
        let token = tokens.next()
        writing = (token, log)
        let message = BusMessage(stream: .leases, subject: fleet.controlSubject, bytes: log.bytes)
        actions.append(.publish(message, .lastSequence(revision), token: token))
        return actions
    }

    /// What the log should become, and what it must be; `nil` when it is as it should be.
    private mutating func wanted(_ nowMs: Int64) -> (ControlLog, UInt64)? {
        let now = clock.nowMs()
        var mustWrite = isAbsent
        var log: ControlLog
        if let known {
            log = known.log
        } else {
            // Those who play the run begin it.
            guard isAbsent, position != nil else { return nil }
            log = begun(now)
        }
        let revision = isAbsent ? 0 : known?.revision ?? 0
        if known != nil {
            for ask in asks {
                let latestMs = brokers.map { $0.ms + nowMs - $0.nowMs + Self.leadMs }
                // The log as it is, written once more, says what the brokers' clock is.
                guard latestMs != nil || !ask.deed.hasPace else {
                    if nowMs - touchedMs >= Self.readEveryMs { (mustWrite, touchedMs) = (true, nowMs) }
                    continue
                }
                do throws(ControlRefusal) {
                    _ = try log.append(
                        ask.deed, from: base, by: name, id: ask.id, nowMs: now, latestMs: latestMs ?? now)
                } catch {
                    answer(ask.id, .failure(error))
                }
            }
        }
        if let position {
            let target = horizon(log, now, nowMs, position() ?? base.startMs)
            // Half of it is left: so a slow broker holds nobody up.
            if known == nil || target.must > log.horizonMs { log.extend(to: target.wanted) }
        }
        return log == known?.log && !mustWrite ? nil : (log, revision)
    }

    /// The first log. What is final is not changed any more, nor what members of before may have played meanwhile.
    private func begun(_ now: Int64) -> ControlLog {
        let log = ControlLog(fleet: fingerprint, horizonMs: base.startMs)
        guard closed >= 0 else { return log }
        let due = ControlCourse(base, log).dueThrough(nowMs: now + Self.leadMs)
        return ControlLog(
            fleet: fingerprint, horizonMs: max(log.horizonMs, fleet.windowEndMs(closed), due))
    }

    /// How far the log should go, and how far at least: by the wall clock, but never farther ahead of who plays it than
    /// that comes in the same time, for what is asked counts behind it.
    private func horizon(
        _ log: ControlLog, _ now: Int64, _ nowMs: Int64, _ position: Int64
    ) -> (wanted: Int64, must: Int64) {
        let course = ControlCourse(base, log)
        var gained = 0.0
        if let first = places.first {
            gained = Double(max(0, position - first.position)) / Double(max(Self.paceMs, nowMs - first.nowMs))
        }
        func through(_ leadMs: Int64) -> Int64 {
            let ahead = Int64(min(gained * Double(leadMs), 1e15))
            return min(course.dueThrough(nowMs: now + leadMs), position + ahead + 2 * fleet.windowMs)
        }
        return (through(Self.leadMs), through(Self.leadMs / 2))
    }

    /// Where the run stands here: one that is `paceMs` ago is kept, and what came since.
    private mutating func measure(_ nowMs: Int64) {
        guard let position else { return }
        places.append((nowMs, position() ?? base.startMs))
        while places.count > 1, places[1].nowMs <= nowMs - Self.paceMs { places.removeFirst() }
    }

    /// A revision that was there before may be old, and so may one that comes after an outage: never back.
    private mutating func compareClocks(_ message: StoredMessage, _ nowMs: Int64) {
        guard message.subject == fleet.controlSubject, let firstRevision, message.sequence > firstRevision
        else {
            return
        }
        if let brokers, brokers.ms + nowMs - brokers.nowMs > message.timestampMs { return }
        brokers = (message.timestampMs, nowMs)
    }

    private mutating func observe(_ message: StoredMessage) {
        guard message.subject == fleet.controlSubject else { return }
        if let known, !isAbsent, message.sequence <= known.revision { return }
        let log: ControlLog
        do throws(ControlLogError) {
            log = try ControlLog(decoding: message.bytes)
        } catch {
            return refuse("the control log cannot be read: \(error)")
        }
        guard log.fleet == fingerprint || log.isNeverPlayed else {
            return refuse("the control log is of another fleet")
        }
        if let known, isAbsent, known.log.follows(log) {
            // That there was none was an old answer, or the brokers have lost some: ours is the later one.
            self.known = (known.log, message.sequence)
            isAbsent = false
            return
        }
        guard known.map({ log.follows($0.log) }) ?? true else {
            return refuse("the control log does not follow from what it was")
        }
        adopt(log, message.sequence)
    }

    private mutating func refuse(_ text: String) {
        refused += 1
        problem = text
    }

    private mutating func adopt(_ log: ControlLog, _ revision: UInt64) {
        if let known, !isAbsent, revision <= known.revision { return }
        if let text = problem, text.hasPrefix("the control log") { problem = nil }
        known = (log, revision)
        if firstRevision == nil { firstRevision = revision }
        isAbsent = false
    }

    private mutating func answer(_ id: UInt64, _ result: Result<ControlEntry, ControlRefusal>) {
        asks.removeAll { $0.id == id }
        answers[id] = result
    }

    /// What was asked for is in the log, or it takes too long.
    private mutating func settle(_ nowMs: Int64) {
        for ask in asks {
            if let entry = known?.log.entries.first(where: { $0.id == ask.id }) {
                answer(ask.id, .success(entry))
            } else if nowMs >= ask.untilMs {
                answer(ask.id, .failure(known == nil ? .isNotPlayed : .isUnknown))
            }
        }
    }
}
