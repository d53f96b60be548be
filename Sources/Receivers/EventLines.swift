import FoundationEssentials
import Telemetry
import WireFormats

/// Reads events, one JSON object a line:
///
///     {"time": "2026-11-22T10:00:00Z", "kind": "job_start", "job": "run-417", "nodes": ["r07-n21", "r07-n22"]}
///
/// | key | |
/// |---|---|
/// | `time` | RFC 3339 in UTC, or Unix milliseconds; without it, the time of arrival |
/// | `kind` | one of `EventKind` that can come from outside: see `kinds` |
/// | `entity` | name of the node (or rack, array, hall) it happened to |
/// | `gpu` | ordinal within the node |
/// | `job`, `nodes` | of jobs; `job_start` names all nodes of the job |
/// | `value` | XID number, seconds lost …: depends on the kind |
/// | `message` | a sentence for people |
///
/// Other keys are errors: a misspelt key must not be read over. A bad line costs only itself.
struct EventLineParser {
    let stream: StreamID
    let arrivalMs: Int64
    let limits: ReceiverLimits

    /// What others may tell us. The rest is said by the simulation alone.
    static let kinds: [EventKind] = [
        .xid, .nodeDown, .nodeUp, .jobStart, .jobEnd, .jobInterrupted, .jobRestarted, .checkpoint,
        .maintenanceStart, .maintenanceEnd,
    ]

    struct Result {
        var events: [Event] = []
        var report = LineReport()
        /// Says that there are more events than one request may bring; then none counts.
        var tooMany: String?
    }

    func parse(_ body: some Collection<UInt8>) -> Result {
        var result = Result()
        var number = 0
        for line in body.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            if line.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
            guard result.events.count < limits.eventsPerRequest else {
                result.tooMany = "There are more than \(limits.eventsPerRequest) events; send them in parts."
                return result
            }
            do {
                result.events.append(try event(line))
                result.report.accepted += 1
            } catch {
                result.report.reject((error as? Problem)?.reason ?? Self.badLine)
                result.report.fail(LineError(line: number, what: Self.sentence(error)))
            }
        }
        if number > 0, result.report.accepted == 0, result.report.errors.isEmpty {
            result.report.fail(LineError(line: 1, what: "there is no event, only blanks"))
        }
        return result
    }

    private func event(_ line: some Collection<UInt8>) throws -> Event {
        guard line.count <= limits.eventLineBytes else {
            throw Problem("the line is longer than \(limits.eventLineBytes) bytes")
        }
        // The decoder bounds the depth itself (512); nothing here nests deeper than 2.
        let told = try JSONDecoder().decode(EventLine.self, from: Data(line))
        guard let kind = EventKind(rawValue: told.kind), Self.kinds.contains(kind) else {
            let names = Self.kinds.map(\.rawValue).joined(separator: ", ")
            throw Problem("`kind` is `\(told.kind.prefix(40))`, and must be one of \(names)")
        }
        try check(told, kind)
        return Event(
            stream: stream, timeMs: told.timeMs ?? arrivalMs, kind: kind, entity: told.entity ?? "",
            gpu: told.gpu, job: told.job ?? "", nodes: told.nodes ?? [], value: told.value,
            message: told.message ?? "", source: .ingest)
    }

    private func check(_ told: EventLine, _ kind: EventKind) throws(Problem) {
        let nodes = told.nodes ?? []
        let texts = [told.entity ?? "", told.job ?? "", told.message ?? ""] + nodes
        guard texts.allSatisfy({ $0.utf8.count <= limits.labels.valueBytes }) else {
            throw Problem("a text is longer than \(limits.labels.valueBytes) bytes")
        }
        guard nodes.count <= limits.nodesPerEvent else {
            throw Problem("`nodes` has more than \(limits.nodesPerEvent) names")
        }
        guard !nodes.contains(""), told.entity != "", told.job != "" else {
            throw Problem("a name is empty")
        }
        if let gpu = told.gpu, !(0...255).contains(gpu) { throw Problem("`gpu` must be from 0 to 255") }
        if let timeMs = told.timeMs, timeMs > arrivalMs + limits.aheadMs {
            throw Problem("`time` is in the future", reason: DropReason.future.label)
        }
        if let timeMs = told.timeMs, timeMs < arrivalMs - limits.eventsKeepMs {
            throw Problem(
                "`time` lies further back than events are kept (store.events)",
                reason: DropReason.tooOld.label)
        }
        switch kind {
        case .jobStart:
            if told.job == nil || nodes.isEmpty { throw Problem("a job that starts needs `job` and `nodes`") }
        case .jobEnd, .jobInterrupted, .jobRestarted, .checkpoint:
            if told.job == nil { throw Problem("`\(kind.rawValue)` needs `job`") }
        case .xid:
            if told.entity == nil || told.value == nil {
                throw Problem("`xid` needs `entity` (the node) and `value` (the XID number)")
            }
            guard let value = told.value, (1...65_535).contains(value), value.rounded() == value else {
                throw Problem("`value` of an `xid` is its number: a whole one from 1 to 65535")
            }
        default:
            if told.entity == nil, nodes.isEmpty {
                throw Problem("`\(kind.rawValue)` needs `entity` or `nodes`")
            }
        }
    }

    static let badLine = "bad_line"

    struct Problem: Error {
        var sentence: String
        /// Under what it is counted.
        var reason: String

        init(_ sentence: String, reason: String = EventLineParser.badLine) {
            self.sentence = sentence
            self.reason = reason
        }
    }

    private static func sentence(_ error: any Error) -> String {
        switch error {
        case let problem as Problem: problem.sentence
        case DecodingError.keyNotFound(let key, _): "`\(key.stringValue)` is missing"
        case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
            context.codingPath.isEmpty
                ? "a JSON object was expected" : "`\(path(context.codingPath))` is of the wrong type"
        case DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty:
            "`\(path(context.codingPath))`: \(context.debugDescription)"
        default: "this is no JSON object"
        }
    }

    private static func path(_ keys: [any CodingKey]) -> String {
        keys.map { $0.intValue.map { "[\($0)]" } ?? String($0.stringValue.prefix(40)) }.joined()
    }
}

/// An event as it is told.
private struct EventLine: Decodable {
    var timeMs: Int64?
    var kind: String
    var entity: String?
    var gpu: Int?
    var job: String?
    var nodes: [String]?
    var value: Double?
    var message: String?

    private enum Key: String, CodingKey, CaseIterable {
        case time, kind, entity, gpu, job, nodes, value, message
    }

    private struct AnyKey: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Decoder) throws {
        for key in try decoder.container(keyedBy: AnyKey.self).allKeys
        where Key(rawValue: key.stringValue) == nil {
            let known = Key.allCases.map(\.rawValue).joined(separator: ", ")
            throw EventLineParser.Problem("unknown key `\(key.stringValue.prefix(40))`; known are \(known)")
        }
        let told = try decoder.container(keyedBy: Key.self)
        timeMs = try Self.time(told)
        kind = try told.decode(String.self, forKey: .kind)
        entity = try told.decodeIfPresent(String.self, forKey: .entity)
        gpu = try told.decodeIfPresent(Int.self, forKey: .gpu)
        job = try told.decodeIfPresent(String.self, forKey: .job)
        nodes = try told.decodeIfPresent([String].self, forKey: .nodes)
        value = try told.decodeIfPresent(Double.self, forKey: .value)
        message = try told.decodeIfPresent(String.self, forKey: .message)
    }

    /// 2000-01-01: earlier numbers are seconds that were taken for milliseconds.
    private static let earliestMs: Int64 = 946_684_800_000

    private static func time(_ told: KeyedDecodingContainer<Key>) throws -> Int64? {
        guard told.contains(.time) else { return nil }
        let time: Int64?
        if let text = try? told.decode(String.self, forKey: .time) {
            time = UTC.parse(text)
        } else {
            time = try? told.decode(Int64.self, forKey: .time)
        }
        guard let time, time >= earliestMs else {
            throw EventLineParser.Problem(
                "`time` must be like 2026-11-22T10:00:00Z, or Unix milliseconds since 2000")
        }
        return time
    }
}
