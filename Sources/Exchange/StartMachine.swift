import Telemetry

/// A run that was started for all members, as whoever starts the next one must know it.
public struct StartedRun: Sendable, Equatable {
    public var name: String
    public var number: UInt64
    /// With the run's number; `nil` where this member cannot work out what fleet the run has.
    public var map: FleetMap?
    /// Simulated, Unix milliseconds.
    public var endMs: Int64
    /// Names of the runs before it.
    public var earlier: [String]

    public init(name: String, map: FleetMap, endMs: Int64, earlier: [String] = []) {
        self.name = name
        number = map.run
        self.map = map
        self.endMs = endMs
        self.earlier = earlier
    }

    /// One that this member cannot play.
    public init(name: String, number: UInt64, earlier: [String]) {
        self.name = name
        self.number = number
        self.earlier = earlier
        endMs = .max
    }
}

/// Why a run is not started.
public enum StartRefusal: Error, Equatable, Sendable {
    /// Another one is being played.
    case goesOn(String)
    /// Another one was started, and nobody has begun to play it.
    case isNotPlayed(String)
    /// Another one is over, and its last windows are on their way.
    case isClosing(String)
    /// A run of this cluster had the name.
    case wasThere(String)
    /// Members have agreed on a run of their configuration, which the one that is asked does not know.
    case isConfigured
    /// What the brokers have cannot be read; says what.
    case unreadable(String)
    /// The brokers do not answer, or refuse; it may be started yet.
    case isUnknown(BusError)
}

/// Since when a member has known that a run is over, by its own clock that nobody sets: the time of day of a member that is
/// asked, and that of the broker, may be apart.
public final class OverSince: Sendable {
    private let known = Locked<(fleet: UInt64, sinceMs: Int64)?>(nil)

    public init() {}

    /// Says that it is over, and how long ago that was said first.
    ///
    /// - Parameter fleet: fingerprint of its map.
    public func forMs(_ fleet: UInt64, nowMs: Int64) -> Int64 {
        known.withLock { known in
            if let known, known.fleet == fleet { return nowMs - known.sinceMs }
            known = (fleet, nowMs)
            return 0
        }
    }
}

/// Starts a run for all members, behind the one before: only where that one is over, and by compare-and-set, so that of
/// several that are asked for at a time one is started.
public struct StartMachine: NodeMachine {
    /// A run that is over may be followed after so long, however many of its windows are closed: who plays none of them
    /// plays none of the next one either.
    public static let closingMs: Int64 = 60_000
    /// After so long whoever asks is told that nobody knows.
    public static let patienceMs: Int64 = 12_000
    /// Names that are remembered; reporters still refuse what they have of others.
    public static let earlierMax = 1_000
    private static let againMs: Int64 = 200

    /// What is asked for.
    public struct Wanted: Sendable {
        public var cluster: String
        public var name: String
        /// The run of this member's configuration.
        public var configured: StartedRun?
        /// A run as it is written down; throws what is wrong with it.
        public var decode: @Sendable ([UInt8]) throws(StartRefusal) -> StartedRun
        /// Whether that is what is asked for, whoever asked.
        public var isSame: @Sendable ([UInt8]) -> Bool
        /// What is written down, by its number and the names before it.
        public var encode: @Sendable (UInt64, [String]) -> [UInt8]

        public init(
            cluster: String, name: String, configured: StartedRun?,
            decode: @escaping @Sendable ([UInt8]) throws(StartRefusal) -> StartedRun,
            isSame: @escaping @Sendable ([UInt8]) -> Bool,
            encode: @escaping @Sendable (UInt64, [String]) -> [UInt8]
        ) {
            self.cluster = cluster
            self.name = name
            self.configured = configured
            self.decode = decode
            self.isSame = isSame
            self.encode = encode
        }
    }

    private enum Step { case start, agreement, control, final(Int), write(UInt64) }

    private let wanted: Wanted
    private let over: OverSince
    private let nowMs: @Sendable () -> Int64
    private var tokens = TokenSource()
    private var underWay: (token: UInt64, step: Step)?
    private var next: Step? = .start
    private var againMs: Int64 = .min / 2
    private var beganMs: Int64?
    private var lastError = BusError.ambiguous
    /// The newest run, and the sequence of what is written of it.
    private var before: StartedRun?
    private var sequence: UInt64 = 0
    private var written: [UInt8]?
    private var control: (log: ControlLog, timestampMs: Int64)?
    /// The last window that the run before must have closed.
    private var lastWindow: Int64 = -1
    /// What became of it: the number of the run that was started.
    public private(set) var answer: Result<UInt64, StartRefusal>?

    /// - Parameters:
    ///   - over: for how long this member has known that the run before is over.
    ///   - nowMs: the time of day, to know how long ago that was written down.
    public init(_ wanted: Wanted, over: OverSince, nowMs: @escaping @Sendable () -> Int64) {
        self.wanted = wanted
        self.over = over
        self.nowMs = nowMs
    }

    private var startSubject: Subject { FleetMap.startSubject(wanted.cluster) }

    public mutating func handle(_ input: NodeInput, nowMs: Int64) -> [NodeAction] {
        guard answer == nil else { return [] }
        switch input {
        case .tick:
            let began = beganMs ?? nowMs
            beganMs = began
            guard nowMs - began < Self.patienceMs else {
                answer = .failure(.isUnknown(lastError))
                return []
            }
        case .read(let token, let result):
            guard let step = underWay?.step, underWay?.token == token else { return [] }
            underWay = nil
            do throws(StartRefusal) {
                switch result {
                case .success(let message): next = try look(step, message, nowMs)
                case .failure(let error): tryAgain(error, nowMs)
                }
            } catch {
                answer = .failure(error)
            }
        case .published(let token, let result):
            guard case .write(let number)? = underWay?.step, underWay?.token == token else { return [] }
            underWay = nil
            switch result {
            case .success: answer = .success(number)
            // Somebody else's may be there now, or ours: only reading tells.
            case .failure(let error): tryAgain(error, nowMs)
            }
        case .delivered: return []
        }
        return proceed(nowMs)
    }

    private mutating func tryAgain(_ error: BusError, _ nowMs: Int64) {
        lastError = error
        switch error {
        case .denied, .failed, .full: answer = .failure(.isUnknown(error))
        case .conflict, .ambiguous, .unavailable: (next, againMs) = (.start, nowMs + Self.againMs)
        }
    }

    private mutating func proceed(_ nowMs: Int64) -> [NodeAction] {
        guard answer == nil, underWay == nil, let step = next, nowMs >= againMs else { return [] }
        next = nil
        let token = tokens.next()
        underWay = (token, step)
        switch step {
        case .start: return [.read(.leases, startSubject, token: token)]
        case .agreement:
            return [.read(.leases, FleetMap.agreementSubject(wanted.cluster, run: 1), token: token)]
        case .control:
            guard let before else { return [] }
            let subject = FleetMap.controlSubject(wanted.cluster, run: before.number)
            return [.read(.leases, subject, token: token)]
        case .final(let partition):
            guard let map = before?.map else { return [] }
            return [.read(.finals, map.finalSubject(partition), token: token)]
        case .write(let number):
            let names = (before?.earlier ?? []) + (before.map { [$0.name] } ?? [])
            let bytes = wanted.encode(number, names.suffix(Self.earlierMax))
            let message = BusMessage(stream: .leases, subject: startSubject, bytes: bytes)
            return [.publish(message, .lastSequence(sequence), token: token)]
        }
    }

    private mutating func look(
        _ step: Step, _ message: StoredMessage?, _ nowMs: Int64
    ) throws(StartRefusal) -> Step? {
        switch step {
        case .start:
            (sequence, written) = (message?.sequence ?? 0, message?.bytes)
            guard let message else { return .agreement }
            before = try wanted.decode(message.bytes)
            // Where the configuration has a run, its members play that one first.
            if before?.number == 1, let configured = wanted.configured { before = configured }
            return .control
        case .agreement:
            before = wanted.configured
            guard message != nil else {
                guard let before else { return .write(1) }
                throw .isNotPlayed(before.name)
            }
            guard before != nil else { throw .isConfigured }
            return .control
        case .control: return try lookAtControl(message, nowMs)
        case .final(let partition): return try lookAtFinal(partition, message, nowMs)
        case .write: return nil
        }
    }

    private mutating func lookAtControl(
        _ message: StoredMessage?, _ nowMs: Int64
    ) throws(StartRefusal) -> Step? {
        guard let before else { return nil }
        control = nil
        guard let message else { return try refuseUnlessSame(.isNotPlayed(before.name)) }
        do throws(ControlLogError) {
            control = (try ControlLog(decoding: message.bytes), message.timestampMs)
        } catch {
            throw .unreadable("the control log of \(before.name): \(error)")
        }
        guard let log = control?.log else { return nil }
        guard log.isNeverPlayed || log.fleet == before.map?.fingerprint ?? log.fleet else {
            throw .unreadable("the control log is of another run than \(before.name)")
        }
        guard log.isStopped || log.horizonMs >= before.endMs else {
            return try refuseUnlessSame(.goesOn(before.name))
        }
        guard !before.earlier.contains(wanted.name), before.name != wanted.name else {
            throw .wasThere(wanted.name)
        }
        if log.isNeverPlayed { return .write(before.number + 1) }
        guard let map = before.map else {
            // Which windows it must have is not known here.
            try waitForClosing(before.name, log.fleet, nowMs)
            return .write(before.number + 1)
        }
        let stop = log.isStopped ? log.entries.last?.atMs : nil
        lastWindow = map.lastWindow(endedMs: min(before.endMs, stop ?? .max))
        return .final(0)
    }

    /// Refuses until it has been over for long enough.
    private func waitForClosing(
        _ name: String, _ fleet: UInt64, _ atMs: Int64
    ) throws(StartRefusal) {
        guard let control else { return }
        let forMs = min(over.forMs(fleet, nowMs: atMs), nowMs() - control.timestampMs)
        guard forMs >= Self.closingMs else { throw .isClosing(name) }
    }

    /// Who asks for the run that is being played has it.
    private mutating func refuseUnlessSame(_ refusal: StartRefusal) throws(StartRefusal) -> Step? {
        guard let before, let written, wanted.isSame(written) else { throw refusal }
        answer = .success(before.number)
        return nil
    }

    private func lookAtFinal(
        _ partition: Int, _ message: StoredMessage?, _ atMs: Int64
    ) throws(StartRefusal) -> Step? {
        guard let before, let map = before.map else { return nil }
        let final = message.flatMap { try? FinalRecord(decoding: $0.bytes) }
        let closed = final.map { $0.fleet == map.fingerprint ? $0.window : -1 } ?? -1
        if closed < lastWindow {
            // What is gone, or was never closed, comes no more.
            try waitForClosing(before.name, map.fingerprint, atMs)
            return .write(before.number + 1)
        }
        return partition + 1 < map.partitions ? .final(partition + 1) : .write(before.number + 1)
    }
}
