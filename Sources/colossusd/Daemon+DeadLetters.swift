import ControlAPI
import FoundationEssentials
import Logging
import Reporting
import Store
import Telemetry

// What the control interface asks of the dead letters.
extension Daemon {
    /// A request to replay ends after this many milliseconds, and says that there is more.
    private static let replayMsMax: Int64 = 20_000
    private static let replayLettersMax = 1_000
    private static let problemsMax = 10

    func deadLetters(_ request: DeadLettersRequest) async throws -> DeadLettersReply {
        let query = DeadLetterQuery(
            endpoint: request.endpoint, afterNumber: request.after ?? 0, limit: request.limit + 1)
        let found = try await running().store.deadLetters(query)
        return DeadLettersReply(
            found.prefix(request.limit).map { DeadLetterRow($0) }, truncated: found.count > request.limit)
    }

    func deadLetter(number: Int64) async throws -> DeadLetterReply {
        let query = DeadLetterQuery(numbers: [number])
        guard let found = try await running().store.deadLetters(query, bodies: true).first else {
            throw ControlError(
                .notFound, "There is no dead letter \(number).",
                hint: "`colossusctl deadletter list` shows what there is.")
        }
        return DeadLetterReply(found)
    }

    func dropDeadLetters(_ selection: DeadLetterSelection) async throws -> DeadLettersDoneReply {
        var reply = DeadLettersDoneReply()
        reply.dropped = try await running().store.dropDeadLetters(DeadLetterQuery(selection))
        logger.notice(
            "dead letters were dropped",
            metadata: ["count": "\(reply.dropped)", "endpoint": "\(selection.endpoint ?? "")"])
        return reply
    }

    func replayDeadLetters(_ selection: DeadLetterSelection) async throws -> DeadLettersDoneReply {
        let parts = try running()
        var query = DeadLetterQuery(selection)
        query.limit = 1
        var reply = DeadLettersDoneReply()
        let began = clock.nowMs()
        // One at a time: a body may have megabytes, and a receiver that was broken need not get all at once.
        while let letter = try await parts.store.deadLetters(query, bodies: true).first {
            guard reply.delivered + reply.refused + reply.skipped < Self.replayLettersMax,
                clock.nowMs() - began < Self.replayMsMax
            else {
                // Those that stay are not tried again by whoever goes on.
                reply.truncated = true
                reply.next = query.afterNumber
                break
            }
            query.afterNumber = letter.number
            guard try await replay(letter, parts, &reply) else {
                reply.truncated = true
                break
            }
        }
        return reply
    }

    /// - Returns: `false` when there is no sense in going on: the endpoint is not there. The letter stays as it is.
    private func replay(
        _ letter: StoredDeadLetter, _ parts: DaemonParts, _ reply: inout DeadLettersDoneReply
    ) async throws -> Bool {
        func problem(_ text: String) {
            if reply.problems.count < Self.problemsMax { reply.problems.append("\(letter.number): \(text)") }
        }
        guard letter.letter.isReplayable else {
            reply.skipped += 1
            problem("it was taken in part, or is too large to have been kept")
            return true
        }
        guard let result = await parts.reporter.resend(letter.letter) else {
            reply.skipped += 1
            problem("endpoint \(letter.letter.endpoint) takes no requests or is not configured any more")
            return true
        }
        if result.succeeded {
            reply.delivered += 1
            try await parts.store.delivered(deadLetter: letter.number)
            return true
        }
        if result.isTemporary {
            reply.skipped += 1
            problem(result.message)
            return false
        }
        reply.refused += 1
        problem(result.message)
        try await parts.store.refusedAgain(
            deadLetter: letter.number, status: result.status, reason: result.message,
            response: result.response, timeMs: clock.nowMs())
        return true
    }
}

extension DeadLetterQuery {
    init(_ selection: DeadLetterSelection) {
        self.init(
            endpoint: selection.endpoint, numbers: Set(selection.numbers ?? []),
            afterNumber: selection.after ?? 0)
    }
}

extension DeadLetterRow {
    init(_ stored: StoredDeadLetter) {
        let letter = stored.letter
        self.init(
            number: stored.number, endpoint: letter.endpoint, id: letter.id, time: UTCTime(ms: letter.timeMs),
            status: letter.status, reason: letter.reason)
        samples = letter.samples
        bytes = stored.bodyBytes
        attempts = stored.attempts
        replayable = letter.isReplayable
    }
}

extension DeadLetterReply {
    init(_ stored: StoredDeadLetter) {
        let letter = stored.letter
        self.init(
            DeadLetterRow(stored),
            headers: letter.headers.map { DeadLetterHeader(name: $0.name, value: $0.value) })
        if !letter.response.isEmpty { response = String(decoding: letter.response, as: UTF8.self) }
        if let text = String(validating: letter.body, as: UTF8.self) {
            body = text
        } else {
            bodyBase64 = Data(letter.body).base64EncodedString()
        }
    }
}
