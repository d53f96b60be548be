import FoundationEssentials
import NIOHTTP1
import Telemetry
import WireFormats

/// What a request is answered with.
struct Answer: Error {
    var status: HTTPResponseStatus
    var body = ""
    var contentType = "text/plain; charset=utf-8"
    var headers: [(String, String)] = []
    /// In the metric of rejected requests; `nil` for a request that was served.
    var reason: String?

    static let done = Answer(status: .noContent)

    /// A plain sentence: what is wrong, and what was expected.
    static func refused(
        _ status: HTTPResponseStatus, _ reason: String, _ sentence: String, headers: [(String, String)] = []
    ) -> Answer {
        Answer(status: status, body: sentence + "\n", headers: headers, reason: reason)
    }
}

/// The answer to requests that consist of lines.
struct LineReport: Encodable {
    var accepted = 0
    var rejected: [String: Int] = [:]
    /// The first of what was wrong.
    var errors: [Entry] = []
    /// What to do about the reasons of `rejected`, where something can be done.
    var hints: [String: String]?

    struct Entry: Encodable {
        var line: Int
        var error: String
    }

    static let errorsMax = 10

    mutating func reject(_ reason: String, _ count: Int = 1) {
        if count > 0 { rejected[reason, default: 0] += count }
    }

    mutating func reject(_ reason: DropReason, _ count: Int) {
        guard count > 0 else { return }
        reject(reason.label, count)
        if let advice = reason.advice { hints = (hints ?? [:]).merging([reason.label: advice]) { $1 } }
    }

    mutating func fail(_ error: LineError) {
        if errors.count < Self.errorsMax { errors.append(Entry(line: error.line, error: error.what)) }
    }

    /// 200, or 400 when nothing was good.
    func answer(isGood: Bool) -> Answer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let json = (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
        return Answer(
            status: isGood ? .ok : .badRequest, body: json + "\n", contentType: "application/json",
            reason: isGood ? nil : "nothing_good")
    }
}
