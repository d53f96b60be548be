import FoundationEssentials
import GRDB
import Logging
import Telemetry

// Dead letters, read and worked off by an operator.
extension HistoryStore {
    /// What endpoints refused for good, oldest first.
    ///
    /// - Parameter bodies: requests and responses, too; without them only their sizes are read.
    public func deadLetters(
        _ query: DeadLetterQuery, bodies: Bool = false
    ) async throws -> [StoredDeadLetter] {
        try await read { reader in
            let condition = DeadLetterCondition(query)
            let columns =
                bodies
                ? "*"
                : """
                number, endpoint, id, sequence, status, reason, time_ms, headers, samples, body_bytes, is_whole,
                attempts
                """
            return try Row.fetchAll(
                reader.db,
                sql: "SELECT \(columns) FROM dead_letters WHERE \(condition.sql) ORDER BY number LIMIT ?",
                arguments: condition.arguments + [max(0, query.limit)]
            ).map { row in
                try StoredDeadLetter(
                    number: row.value("number"),
                    letter: DeadLetter(
                        endpoint: row.value("endpoint"), id: row.value("id"), sequence: row.value("sequence"),
                        status: row.value("status"), reason: row.value("reason"),
                        body: bodies ? reader.blob(row, "body") : [], timeMs: row.value("time_ms"),
                        response: bodies ? Array((row.value("response") as Data?) ?? Data()) : [],
                        headers: DeadLetterHeaders.decode(row.value("headers")),
                        samples: row.value("samples"),
                        isReplayable: row.value("is_whole")),
                    bodyBytes: row.value("body_bytes"), attempts: row.value("attempts"))
            }
        }
    }

    /// How many dead letters an endpoint has, by endpoint.
    public func deadLetterCounts() async throws -> [String: Int] {
        try await read { reader in
            let rows = try Row.fetchAll(
                reader.db, sql: "SELECT endpoint, count(*) FROM dead_letters GROUP BY endpoint")
            return Dictionary(
                try rows.map { (try $0.value(0) as String, try $0.value(1) as Int) }, uniquingKeysWith: +)
        }
    }

    /// Deletes dead letters, the query's limit aside; returns how many.
    public func dropDeadLetters(_ query: DeadLetterQuery) async throws -> Int {
        let condition = DeadLetterCondition(query)
        return try await writeCounted { writer in
            writer.attempt(.cursor) { db in
                try db.execute(
                    sql: "DELETE FROM dead_letters WHERE \(condition.sql)", arguments: condition.arguments)
                return db.changesCount
            }
        }
    }

    /// Notes that a dead letter was sent again, and refused again.
    public func refusedAgain(
        deadLetter number: Int64, status: Int, reason: String, response: [UInt8], timeMs: Int64
    ) async throws {
        try await write(.cursor) { db in
            try db.execute(
                sql: """
                    UPDATE dead_letters SET status = ?, reason = ?, response = ?, time_ms = ?,
                    attempts = attempts + 1 WHERE number = ?
                    """,
                arguments: [status, reason, Data(response), timeMs, number])
        }
    }

    /// A dead letter was taken after all: it goes, and counts as delivered.
    public func delivered(deadLetter number: Int64) async throws {
        try await write(.cursor) { db in
            guard
                let row = try Row.fetchOne(
                    db, sql: "SELECT endpoint, id, samples FROM dead_letters WHERE number = ?",
                    arguments: [number])
            else { return }
            let endpoint: String = try row.value("endpoint")
            let id: String = try row.value("id")
            let samples: Int64 = try row.value("samples")
            if id.hasPrefix(DeadLetter.eventPrefix) {
                // Events have an account of their own, under the endpoint's name where it gets nothing else.
                try db.execute(
                    sql: """
                        UPDATE event_cursors SET delivered = delivered + ?2, dead = max(0, dead - 1)
                        WHERE name = (SELECT max(name) FROM event_cursors WHERE name IN (?1, ?1 || '#events'))
                        """,
                    arguments: [endpoint, samples])
            } else {
                try db.execute(
                    sql: """
                        UPDATE endpoints SET delivered_parts = delivered_parts + 1, dead = max(0, dead - 1),
                        delivered_samples = delivered_samples + ? WHERE name = ?
                        """,
                    arguments: [samples, endpoint])
            }
            try db.execute(sql: "DELETE FROM dead_letters WHERE number = ?", arguments: [number])
        }
    }
}

extension StoreWriter {
    /// Dead letters that had to go because there are too many are counted each time, and said once a minute.
    func tell(ofCut cut: [String: Int]) {
        guard !cut.isEmpty else { return }
        metrics.error(.deadLettersFull, count: Int64(cut.values.reduce(0, +)))
        for (endpoint, count) in cut { cutLetters[endpoint, default: 0] += Int64(count) }
        let (new, say) = letterLosses.note(
            cutLetters.mapValues { RetentionLosses.Count(coarsened: 0, dropped: $0) }, before: [:],
            nowMs: clock.nowMs())
        for (endpoint, count) in new { metrics.lost(letters: count.dropped, endpoint) }
        for (endpoint, count) in say.sorted(by: { $0.key < $1.key }) {
            logger.warning(
                "an endpoint has too many dead letters; the oldest had to go, and are lost",
                metadata: [
                    "endpoint": "\(endpoint)", "count": "\(count.dropped)",
                    "kept_at_most": "\(limits.deadLettersMax)",
                    "bytes_at_most": "\(limits.deadLettersBytesMax)",
                ])
        }
    }
}

/// A query's condition; the values of other people never become SQL.
private struct DeadLetterCondition: Sendable {
    let sql: String
    let arguments: StatementArguments

    init(_ query: DeadLetterQuery) {
        var sql = "number > ?"
        var arguments: StatementArguments = [query.afterNumber]
        if let endpoint = query.endpoint {
            sql += " AND endpoint = ?"
            arguments += [endpoint]
        }
        if !query.numbers.isEmpty {
            sql += " AND number IN (\(query.numbers.sorted().map(String.init).joined(separator: ",")))"
        }
        self.sql = sql
        self.arguments = arguments
    }
}

/// Headers as they are kept: a line each.
enum DeadLetterHeaders {
    static func encode(_ headers: [DeadLetter.Header]) -> String {
        headers.map { "\($0.name): \($0.value)" }.joined(separator: "\n")
    }

    static func decode(_ text: String) -> [DeadLetter.Header] {
        text.split(separator: "\n").compactMap { line in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            return DeadLetter.Header(String(line[..<colon]), String(value))
        }
    }
}

/// Dead letters, packed before the transaction.
struct DeadLetterRows: Sendable {
    private struct Packed: Sendable {
        var letter: DeadLetter
        var body: Data
        var isWhole: Bool
    }

    private let rows: [Packed]
    private let limits: StoreLimits

    init(letters: [DeadLetter], limits: StoreLimits, zstd: borrowing Zstd) {
        self.limits = limits
        var rows: [Packed] = []
        for letter in letters {
            // Without memory for zstd the letter is kept without its body.
            let body = (try? zstd.compress(Array(letter.body.prefix(limits.deadLetterBytesMax)))) ?? []
            let isWhole =
                letter.isReplayable && !body.isEmpty && letter.body.count <= limits.deadLetterBytesMax
            rows.append(Packed(letter: letter, body: Data(body), isWhole: isWhole))
        }
        self.rows = rows
    }

    /// How many letters are new, and how many old ones had to go, by the endpoint that they belong to.
    struct Outcome: Sendable {
        var new: [String: Int] = [:]
        var cut: [String: Int] = [:]

        var newCount: Int { new.values.reduce(0, +) }
    }

    func insert(_ db: Database) throws -> Outcome {
        var outcome = Outcome()
        for row in rows {
            if try keep(row, db) { outcome.new[row.letter.endpoint, default: 0] += 1 }
        }
        for endpoint in Set(rows.map(\.letter.endpoint)) {
            let cut = try bound(endpoint, db)
            if cut > 0 { outcome.cut[endpoint] = cut }
        }
        return outcome
    }

    /// - Returns: `false` when that body is there already: then it has been refused once more.
    private func keep(_ row: Packed, _ db: Database) throws -> Bool {
        let letter = row.letter
        let known = """
            SELECT number, body_bytes = ? AND body IS ? AS same FROM dead_letters WHERE endpoint = ? AND id = ?
            """
        var id = letter.id
        var count = 1
        // A run that is played again has the ids of the one before, and so has what is cut in another way: both are kept.
        while let found = try Row.fetchOne(
            db.cachedStatement(sql: known), arguments: [letter.body.count, row.body, letter.endpoint, id])
        {
            let isSame: Bool = try found.value("same")
            if isSame {
                let number: Int64 = try found.value("number")
                try db.execute(
                    sql: """
                        UPDATE dead_letters SET status = ?, reason = ?, response = ?, time_ms = ?,
                        attempts = attempts + 1 WHERE number = ?
                        """,
                    arguments: [letter.status, letter.reason, Data(letter.response), letter.timeMs, number])
                return false
            }
            count += 1
            id = "\(letter.id)~\(count)"
        }
        try db.execute(
            sql: """
                INSERT INTO dead_letters (endpoint, id, sequence, status, reason, time_ms, body, response, headers,
                    samples, body_bytes, is_whole)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                letter.endpoint, id, letter.sequence, letter.status, letter.reason, letter.timeMs,
                row.body, Data(letter.response), DeadLetterHeaders.encode(letter.headers), letter.samples,
                letter.body.count, row.isWhole,
            ])
        return true
    }

    /// The oldest go while there are too many, or too large ones; the newest stays.
    private func bound(_ endpoint: String, _ db: Database) throws -> Int {
        try db.execute(
            sql: """
                DELETE FROM dead_letters WHERE endpoint = ?1 AND number <= (SELECT number FROM dead_letters
                    WHERE endpoint = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)
                """,
            arguments: [endpoint, limits.deadLettersMax])
        var cut = db.changesCount
        try db.execute(
            sql: """
                DELETE FROM dead_letters WHERE number IN (SELECT number FROM (SELECT number,
                    sum(body_bytes) OVER (ORDER BY number DESC) AS total, row_number() OVER (ORDER BY number DESC)
                    AS place FROM dead_letters WHERE endpoint = ?1) WHERE total > ?2 AND place > 1)
                """,
            arguments: [endpoint, limits.deadLettersBytesMax])
        cut += db.changesCount
        return cut
    }
}
