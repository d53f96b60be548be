/// Something that was asked of a shared run, and the simulated time from which it counts.
public struct ControlEntry: Sendable, Equatable {
    public enum Deed: Sendable, Equatable {
        /// Simulated seconds a second.
        case speed(Double)
        case pause
        case resume
        case stop
        /// A fault on purpose.
        case inject(kind: String, entity: String, forMs: Int64?)

        /// Whether another piece of the course begins with it.
        var hasPace: Bool { if case .inject = self { false } else { true } }
    }

    /// 1, 2, 3...
    public var sequence: Int
    public var deed: Deed
    /// Simulated time, Unix milliseconds: ticks up to this one are played as if nobody had asked, and a fault strikes in
    /// the first millisecond after it.
    public var atMs: Int64
    /// When `atMs` is due, Unix milliseconds: where the new pace begins. A fault changes no pace, and has that of the
    /// entry before it.
    public var dueMs: Int64
    /// When somebody asked, by that member's clock.
    public var askedMs: Int64
    /// The member that was asked.
    public var member: String
    /// Random: tells whether an attempt of which nobody knows is stored.
    public var id: UInt64

    public init(
        sequence: Int, deed: Deed, atMs: Int64, dueMs: Int64, askedMs: Int64, member: String, id: UInt64
    ) {
        self.sequence = sequence
        self.deed = deed
        self.atMs = atMs
        self.dueMs = dueMs
        self.askedMs = askedMs
        self.member = member
        self.id = id
    }

    /// When its fault strikes.
    public var strikesMs: Int64 { atMs + 1 }

    /// `speed 120.0`, `inject node_down r0001-n1 3600000`; one that a line has.
    public var words: String {
        switch deed {
        case .speed(let factor): "speed \(factor)"
        case .pause: "pause"
        case .resume: "resume"
        case .stop: "stop"
        case .inject(let kind, let entity, let forMs):
            "inject \(PercentText.encoded(kind)) \(PercentText.encoded(entity)) \(forMs.map { "\($0)" } ?? "-")"
        }
    }
}

/// Why bytes are no control log.
public enum ControlLogError: Error, Equatable, Sendable, CustomStringConvertible {
    case tooLong
    case notOurs
    /// A later version: never guessed at.
    case unknownVersion
    /// This line (from 1) is not what a line may be.
    case badLine(Int)
    /// This line does not follow from those before it.
    case outOfOrder(Int)

    public var description: String {
        switch self {
        case .tooLong: "it is too long"
        case .notOurs: "it is no control log"
        case .unknownVersion: "it is of a later version"
        case .badLine(let line): "its line \(line) cannot be read"
        case .outOfOrder(let line): "its line \(line) does not follow from those before"
        }
    }
}

/// Why something that was asked of a shared run is not done.
public enum ControlRefusal: Error, Equatable, Sendable {
    case isOver
    case isPaused
    case isNotPaused
    case isFull
    /// A name that no line can have, or a number beyond its range.
    case isUnwritable
    /// The brokers do not answer; it may count yet.
    case isUnknown
    /// Nobody plays the run yet.
    case isNotPlayed
}

/// What was asked of a shared run, in order, and how far it may be played.
///
/// It is one value of the brokers that changes by compare-and-set alone. Nobody plays a tick beyond `horizonMs`, and
/// whatever is asked counts from `horizonMs` or later: so nobody can have played what it changes, whatever the clocks say,
/// and whoever cannot read the log stands still. A worker that comes late plays from the beginning by the same log.
///
/// In lines that any tool of the brokers shows:
/// ```
/// clsd1 control FLEET HORIZON
/// 1 AT DUE ASKED MEMBER ID speed 120.0
/// 2 AT DUE ASKED MEMBER ID inject node_down r0001-n1 -
/// ```
public struct ControlLog: Sendable, Equatable {
    public static let entriesMax = 256
    public static let bytesMax = 64 * 1_024
    /// Bytes of a kind of fault, of an entity or of a member's name.
    public static let nameMax = 96
    public static let speeds = 0.001...1e9
    /// Milliseconds, of which there still are nanoseconds: the year 2255.
    public static let timeMax: Int64 = 9_000_000_000_000
    /// A stop is shorter: so much is kept back for one.
    private static let stopBytesMax = 512

    /// Fingerprint of the fleet's map.
    public let fleet: UInt64
    public private(set) var horizonMs: Int64
    public private(set) var entries: [ControlEntry] = []

    /// - Parameter horizonMs: simulated, Unix milliseconds.
    public init(fleet: UInt64, horizonMs: Int64) {
        self.fleet = fleet
        self.horizonMs = min(max(0, horizonMs), Self.timeMax)
    }

    public var isStopped: Bool { entries.last?.deed == .stop }

    /// The log of a run that is stopped before anybody has begun to play it. Whoever stops it may not know what fleet it has.
    public static func neverPlayed(
        stoppedBy member: String, id: UInt64, nowMs: Int64
    ) throws(ControlRefusal) -> ControlLog {
        var log = ControlLog(fleet: 0, horizonMs: 0)
        _ = try log.append(.stop, from: log.behindHorizon(nowMs), by: member, id: id, nowMs: nowMs)
        return log
    }
    public var isNeverPlayed: Bool { fleet == 0 && isStopped }

    /// For whoever stops a run and does not know how it began: a stop counts behind the horizon, whatever was before.
    func behindHorizon(_ nowMs: Int64) -> ControlCourse.Base {
        ControlCourse.Base(startMs: horizonMs, endMs: Self.timeMax, startedMs: nowMs, speed: 1)
    }
    public var isPaused: Bool {
        for entry in entries.reversed() {
            switch entry.deed {
            case .pause: return true
            case .resume, .stop: return false
            case .speed, .inject: continue
            }
        }
        return false
    }

    /// Whether the run came to its own end: one that was stopped did not, however many of its windows are closed by then, so
    /// that all members say the same of it at any time.
    public func isFinished(_ fleet: FleetMap, closed: Int64, endMs: Int64) -> Bool {
        !isStopped && closed >= 0 && fleet.windowEndMs(closed) + fleet.windowMs > endMs
    }

    /// Never back.
    public mutating func extend(to timeMs: Int64) { horizonMs = min(max(horizonMs, timeMs), Self.timeMax) }

    /// Whether this is what became of an earlier log: the same entries, and new ones that count behind its horizon.
    public func follows(_ earlier: ControlLog) -> Bool {
        fleet == earlier.fleet && horizonMs >= earlier.horizonMs && entries.starts(with: earlier.entries)
            && entries.dropFirst(earlier.entries.count).allSatisfy { $0.atMs >= earlier.horizonMs }
    }

    /// Adds an entry behind the horizon.
    ///
    /// - Parameters:
    ///   - base: how the run began.
    ///   - nowMs: Unix milliseconds, by the clock of the member that is asked.
    ///   - latestMs: what that clock can say at most, by a clock of others: one that is ahead would let all stand for so long.
    public mutating func append(
        _ deed: ControlEntry.Deed, from base: ControlCourse.Base, by member: String, id: UInt64, nowMs: Int64,
        latestMs: Int64 = .max
    ) throws(ControlRefusal) -> ControlEntry {
        // Where the horizon is at the end, workers may play on for a while: a stop is never wrong.
        guard !isStopped, deed == .stop || horizonMs < base.endMs else { throw .isOver }
        if deed == .pause, isPaused { throw .isPaused }
        if deed == .resume, !isPaused { throw .isNotPaused }
        // Its end must find room in any case.
        guard entries.count < Self.entriesMax - (deed == .stop ? 0 : 1) else { throw .isFull }
        let atMs = max(horizonMs, entries.last?.atMs ?? base.startMs, base.startMs)
        let dueMs = dueMs(of: deed, atMs, base, nowMs: min(nowMs, latestMs))
        let entry = ControlEntry(
            sequence: entries.count + 1, deed: deed, atMs: atMs, dueMs: min(dueMs, Self.timeMax),
            askedMs: min(max(0, nowMs), Self.timeMax), member: member, id: id)
        guard Self.isWritable(entry) else { throw .isUnwritable }
        var new = self
        new.entries.append(entry)
        let bytesMax = Self.bytesMax - (deed == .stop ? 0 : Self.stopBytesMax)
        guard new.bytes.count <= bytesMax else { throw .isFull }
        self = new
        return entry
    }

    private func dueMs(
        of deed: ControlEntry.Deed, _ atMs: Int64, _ base: ControlCourse.Base, nowMs: Int64
    ) -> Int64 {
        let last = entries.last?.dueMs
        guard deed.hasPace else { return last ?? min(max(0, base.startedMs), Self.timeMax) }
        // What the workers were behind is forgiven where the pace changes.
        return max(ControlCourse(base, self).dueMs(of: atMs) ?? nowMs, nowMs, last ?? 0)
    }

    // MARK: Bytes

    public var bytes: [UInt8] {
        var text = "clsd1 control \(String(fleet, radix: 16)) \(horizonMs)\n"
        for entry in entries {
            text +=
                "\(entry.sequence) \(entry.atMs) \(entry.dueMs) \(entry.askedMs) \(entry.member)"
                + " \(String(entry.id, radix: 16)) \(entry.words)\n"
        }
        return Array(text.utf8)
    }

    /// Others have written it: each line is read strictly, and must follow from those before.
    public init(decoding bytes: [UInt8]) throws(ControlLogError) {
        guard bytes.count <= Self.bytesMax else { throw .tooLong }
        guard let text = String(validating: bytes, as: UTF8.self), text.hasSuffix("\n") else {
            throw .notOurs
        }
        let lines = text.dropLast().split(separator: "\n", omittingEmptySubsequences: false)
        let head = lines[0].split(separator: " ", omittingEmptySubsequences: false)
        guard head.count >= 2, head[0].hasPrefix("clsd"), head[1] == "control" else { throw .notOurs }
        guard head[0] == "clsd1" else { throw .unknownVersion }
        guard head.count == 4, let fleet = UInt64(head[2], radix: 16), let horizon = Self.time(head[3]) else {
            throw .badLine(1)
        }
        guard lines.count <= Self.entriesMax + 1 else { throw .tooLong }
        self.init(fleet: fleet, horizonMs: horizon)
        for (index, line) in lines.dropFirst().enumerated() {
            guard let entry = Self.entry(line) else { throw .badLine(index + 2) }
            guard isNext(entry) else { throw .outOfOrder(index + 2) }
            entries.append(entry)
        }
    }

    private func isNext(_ entry: ControlEntry) -> Bool {
        guard entry.sequence == entries.count + 1, !isStopped else { return false }
        if entry.deed == .pause, isPaused { return false }
        if entry.deed == .resume, !isPaused { return false }
        guard let last = entries.last else { return true }
        return entry.atMs >= last.atMs && entry.dueMs >= last.dueMs
    }

    private static func entry(_ line: Substring) -> ControlEntry? {
        let words = line.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count >= 7, let sequence = Int(words[0]), let at = time(words[1]),
            let due = time(words[2]), let asked = time(words[3]), let id = UInt64(words[5], radix: 16),
            let deed = deed(words[6...])
        else { return nil }
        let entry = ControlEntry(
            sequence: sequence, deed: deed, atMs: at, dueMs: due, askedMs: asked, member: String(words[4]),
            id: id)
        return isWritable(entry) ? entry : nil
    }

    private static func deed(_ words: ArraySlice<Substring>) -> ControlEntry.Deed? {
        let rest = Array(words.dropFirst())
        switch (words.first, rest.count) {
        case ("speed", 1): return Double(rest[0]).map { .speed($0) }
        case ("pause", 0): return .pause
        case ("resume", 0): return .resume
        case ("stop", 0): return .stop
        case ("inject", 3):
            let forMs = Int64(rest[2])
            guard forMs != nil || rest[2] == "-" else { return nil }
            guard let kind = PercentText.decoded(rest[0]), let entity = PercentText.decoded(rest[1]) else {
                return nil
            }
            return .inject(kind: kind, entity: entity, forMs: forMs)
        default: return nil
        }
    }

    /// Plain digits.
    private static func time(_ word: Substring) -> Int64? {
        guard let first = word.utf8.first, (48...57).contains(first), let value = Int64(word) else {
            return nil
        }
        return value <= timeMax ? value : nil
    }

    private static func isWritable(_ entry: ControlEntry) -> Bool {
        let member = entry.member
        guard isName(member), PercentText.encoded(member) == member else { return false }
        switch entry.deed {
        case .pause, .resume, .stop: return true
        case .speed(let factor): return speeds.contains(factor)
        case .inject(let kind, let entity, let forMs):
            return isName(kind) && isName(entity) && (1...timeMax).contains(forMs ?? 1)
        }
    }

    private static func isName(_ name: String) -> Bool {
        (1...nameMax).contains(name.utf8.count) && name.utf8.allSatisfy { $0 >= 32 && $0 != 127 }
    }
}

/// Names as one word of a line: what is no printable ASCII, a space or `%` is written `%XX`.
enum PercentText {
    static func encoded(_ name: String) -> String {
        var word = ""
        for byte in name.utf8 {
            if (33...126).contains(byte), byte != 37 {
                word.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                word += byte < 16 ? "%0" : "%"
                word += String(byte, radix: 16, uppercase: true)
            }
        }
        return word
    }

    /// `nil` for a word that `encoded` would not have written.
    static func decoded(_ word: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = Substring(word).utf8[...]
        while let byte = rest.popFirst() {
            guard byte == 37 else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let code = UInt8(Substring(rest.prefix(2)), radix: 16) else { return nil }
            bytes.append(code)
            rest = rest.dropFirst(2)
        }
        guard let name = String(validating: bytes, as: UTF8.self), encoded(name) == word else { return nil }
        return name
    }
}

/// Which simulated time is due when: straight pieces, the same for whoever has the same log.
public struct ControlCourse: Sendable, Equatable {
    /// How a run begins: what all members have agreed on before anybody asks for anything.
    public struct Base: Sendable, Equatable {
        /// Simulated times of the scenario, Unix milliseconds.
        public var startMs: Int64
        public var endMs: Int64
        /// When it began, Unix milliseconds.
        public var startedMs: Int64
        /// Simulated seconds a second.
        public var speed: Double

        public init(startMs: Int64, endMs: Int64, startedMs: Int64, speed: Double) {
            self.startMs = startMs
            self.endMs = endMs
            self.startedMs = startedMs
            self.speed = speed
        }
    }

    private struct Piece: Sendable, Equatable {
        var atMs: Int64
        var dueMs: Int64
        /// 0 while it stands.
        var speed: Double
    }

    private var pieces: [Piece]
    private let endMs: Int64
    /// Of the last piece that moves.
    public private(set) var speed: Double

    public init(_ base: Base, _ log: ControlLog) {
        speed = base.speed
        pieces = [Piece(atMs: base.startMs, dueMs: base.startedMs, speed: base.speed)]
        var endMs = base.endMs
        var stands = false
        for entry in log.entries {
            switch entry.deed {
            case .inject: continue
            case .stop: endMs = min(endMs, entry.atMs)
            case .pause: stands = true
            case .resume: stands = false
            case .speed(let factor): speed = factor
            }
            pieces.append(Piece(atMs: entry.atMs, dueMs: entry.dueMs, speed: stands ? 0 : speed))
        }
        self.endMs = endMs
    }

    /// The simulated time that is due at a moment of the wall clock, as far as the run goes.
    public func dueThrough(nowMs: Int64) -> Int64 {
        let place = pieces.lastIndex { $0.dueMs <= nowMs } ?? 0
        let piece = pieces[place]
        let gone = Double(max(0, nowMs - piece.dueMs)) * piece.speed
        let next = place + 1 < pieces.count ? pieces[place + 1].atMs : endMs
        return min(gone < Double(next - piece.atMs) ? piece.atMs + Int64(gone) : next, endMs)
    }

    /// When a simulated time is due, behind the last change; `nil` while the run stands.
    func dueMs(of timeMs: Int64) -> Int64? {
        guard let piece = pieces.last, piece.speed > 0 else { return nil }
        let wait = (Double(timeMs - piece.atMs) / piece.speed).rounded(.up)
        return wait < Double(ControlLog.timeMax) ? piece.dueMs + Int64(max(0, wait)) : ControlLog.timeMax
    }
}
