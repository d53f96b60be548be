import Telemetry

/// Why a run is not stopped.
public enum StopRefusal: Error, Equatable, Sendable {
    /// The run that was started last has another name, or none was started.
    case isNotThere
    case isOver
    /// What the brokers have cannot be read; says what.
    case unreadable(String)
    /// The brokers do not answer, or refuse; it may be stopped yet.
    case isUnknown(BusError)
}

/// Ends the run that was started last, at a member that does not take part in it: no version that is there can play it, say, or
/// no worker is there. By compare-and-set, so that whoever begins to play it meanwhile stops, too.
public struct StopMachine: NodeMachine {
    /// After so long whoever asks is told that nobody knows.
    public static let patienceMs: Int64 = 12_000
    private static let againMs: Int64 = 200

    private enum Step { case start, control, write(ControlLog, behind: UInt64) }

    private let cluster: String
    private let name: String
    private let member: String
    private let id: UInt64
    private let decode: @Sendable ([UInt8]) -> (name: String, number: UInt64)?
    private let nowMs: @Sendable () -> Int64
    private var tokens = TokenSource()
    private var underWay: (token: UInt64, step: Step)?
    private var next: Step? = .start
    private var againMs: Int64 = .min / 2
    private var beganMs: Int64?
    private var lastError = BusError.ambiguous
    private var number: UInt64 = 0
    private var started: [UInt8] = []
    /// What became of it: what is written down of the start.
    public private(set) var answer: Result<[UInt8], StopRefusal>?

    /// - Parameters:
    ///   - name: of the run.
    ///   - member: who is asked.
    ///   - decode: what is said of a start, whether or not its fleet can be worked out.
    ///   - nowMs: the time of day.
    public init(
        cluster: String, name: String, member: String, id: UInt64 = .random(in: 1...UInt64.max),
        decode: @escaping @Sendable ([UInt8]) -> (name: String, number: UInt64)?,
        nowMs: @escaping @Sendable () -> Int64
    ) {
        self.cluster = cluster
        self.name = name
        self.member = member
        self.id = id
        self.decode = decode
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
            (started, number) = (message.bytes, start.number)
            return .control
        case .control:
            guard let message else {
                do throws(ControlRefusal) {
                    return .write(try .neverPlayed(stoppedBy: member, id: id, nowMs: nowMs()), behind: 0)
                } catch {
                    throw .unreadable("no stop can be written: \(error)")
                }
            }
            return try stop(message)
        case .write: return nil
        }
    }

    /// Somebody has played it, or plays it.
    private mutating func stop(_ message: StoredMessage) throws(StopRefusal) -> Step? {
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
        let now = nowMs()
        do throws(ControlRefusal) {
            _ = try log.append(.stop, from: log.behindHorizon(now), by: member, id: id, nowMs: now)
        } catch {
            throw .unreadable("no stop can be written behind the control log of \(name): \(error)")
        }
        return .write(log, behind: message.sequence)
    }
}
