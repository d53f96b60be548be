import Telemetry

/// Why a run is not stopped.
public enum StopRefusal: Error, Equatable, Sendable {
    /// The run that was started last has another name, or none was started, or its members agreed on another one.
    case isNotThere
    case isOver
    /// What the brokers have cannot be read; says what.
    case unreadable(String)
    /// The brokers do not answer, or refuse; it may be stopped yet.
    case isUnknown(BusError)
}

/// Ends the run that was started last, at a member that does not take part in it: no version that is there can play it, say, or
/// no worker is there. By compare-and-set, so that whoever begins to play it meanwhile stops, too. A run that was written
/// down while others began with that of their configuration is not the one that is played under its number: that one goes on.
public struct StopMachine: NodeMachine {
    /// After so long whoever asks is told that nobody knows.
    public static let patienceMs: Int64 = 12_000
    private static let againMs: Int64 = 200

    /// What is said of a run; the fingerprint of its fleet's map where that is known.
    public typealias Said = (name: String, number: UInt64, fleet: UInt64?)
    /// What the members that play it have agreed upon.
    public typealias Agreed = (name: String, fleet: UInt64?)

    private enum Step { case start, control, agreement, write(ControlLog, behind: UInt64) }

    private let cluster: String
    private let name: String
    private let member: String
    private let id: UInt64
    private let decode: @Sendable ([UInt8]) -> Said?
    private let decodeAgreed: @Sendable ([UInt8]) -> Agreed?
    private let nowMs: @Sendable () -> Int64
    private var tokens = TokenSource()
    private var underWay: (token: UInt64, step: Step)?
    private var next: Step? = .start
    private var againMs: Int64 = .min / 2
    private var beganMs: Int64?
    private var lastError = BusError.ambiguous
    private var number: UInt64 = 0
    private var fleet: UInt64?
    private var started: [UInt8] = []
    private var control: StoredMessage?
    /// What became of it: what is written down of the start.
    public private(set) var answer: Result<[UInt8], StopRefusal>?

    /// - Parameters:
    ///   - name: of the run.
    ///   - member: who is asked.
    ///   - decode: what is said of a start, whether or not its fleet can be worked out.
    ///   - decodeAgreed: what an agreement is about.
    ///   - nowMs: the time of day.
    public init(
        cluster: String, name: String, member: String, id: UInt64 = .random(in: 1...UInt64.max),
        decode: @escaping @Sendable ([UInt8]) -> Said?,
        decodeAgreed: @escaping @Sendable ([UInt8]) -> Agreed?,
        nowMs: @escaping @Sendable () -> Int64
    ) {
        self.cluster = cluster
        self.name = name
        self.member = member
        self.id = id
        self.decode = decode
        self.decodeAgreed = decodeAgreed
        self.nowMs = nowMs
    }

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
            switch result {
            case .success(let message):
                do throws(StopRefusal) {
                    next = try look(step, message)
                } catch {
                    answer = .failure(error)
                }
            case .failure(let error): tryAgain(error, nowMs)
            }
        case .published(let token, let result):
            guard case .write? = underWay?.step, underWay?.token == token else { return [] }
            underWay = nil
            switch result {
            case .success: answer = .success(started)
            // It may be there now, or what somebody else has written: only reading tells.
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
        let control = FleetMap.controlSubject(cluster, run: number)
        switch step {
        case .start: return [.read(.leases, FleetMap.startSubject(cluster), token: token)]
        case .control: return [.read(.leases, control, token: token)]
        case .agreement:
            return [.read(.leases, FleetMap.agreementSubject(cluster, run: number), token: token)]
        case .write(let log, let sequence):
            let message = BusMessage(stream: .leases, subject: control, bytes: log.bytes)
            return [.publish(message, .lastSequence(sequence), token: token)]
        }
    }

    private mutating func look(_ step: Step, _ message: StoredMessage?) throws(StopRefusal) -> Step? {
        switch step {
        case .start:
            guard let message, let start = decode(message.bytes), start.name == name else {
                throw .isNotThere
            }
            (started, number, fleet) = (message.bytes, start.number, start.fleet)
            return .control
        case .control:
            // Members agree before they play: whoever has written this is seen in what is read next.
            control = message
            return .agreement
        case .agreement:
            if let control { return try stop(control, message) }
            _ = try agreed(message)
            do throws(ControlRefusal) {
                return .write(try .neverPlayed(stoppedBy: member, id: id, nowMs: nowMs()), behind: 0)
            } catch {
                throw .unreadable("no stop can be written: \(error)")
            }
        case .write: return nil
        }
    }

    /// What the members have agreed upon, if they have: it must be this run.
    private func agreed(_ message: StoredMessage?) throws(StopRefusal) -> Agreed? {
        guard let message else { return nil }
        guard let agreed = decodeAgreed(message.bytes) else {
            throw .unreadable("what the cluster has agreed upon cannot be read")
        }
        guard agreed.name == name else { throw .isNotThere }
        return agreed
    }

    /// Somebody has played it, or plays it.
    private mutating func stop(
        _ message: StoredMessage, _ agreement: StoredMessage?
    ) throws(StopRefusal) -> Step? {
        var log: ControlLog
        do throws(ControlLogError) {
            log = try ControlLog(decoding: message.bytes)
        } catch {
            throw .unreadable("the control log of \(name): \(error)")
        }
        guard !log.isStopped else {
            guard log.entries.last?.id == id else { throw .isOver }
            answer = .success(started)
            return nil
        }
        // Members with other limits than ours have another fleet in the same run: what they agreed upon counts first.
        let played = try agreed(agreement)?.fleet ?? fleet
        guard played ?? log.fleet == log.fleet else { throw .isNotThere }
        let now = nowMs()
        do throws(ControlRefusal) {
            _ = try log.append(.stop, from: log.behindHorizon(now), by: member, id: id, nowMs: now)
        } catch {
            throw .unreadable("no stop can be written behind the control log of \(name): \(error)")
        }
        return .write(log, behind: message.sequence)
    }
}
