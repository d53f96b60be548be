import GRDB

/// What was taken away before endpoints had got it: noticed by comparing the accounts, said now and then.
struct RetentionLosses: Sendable {
    struct Count: Sendable, Equatable {
        /// Windows of which a coarser one still waits in their place.
        var coarsened: Int64
        var dropped: Int64

        static let none = Count(coarsened: 0, dropped: 0)
        static func - (left: Count, right: Count) -> Count {
            Count(coarsened: left.coarsened - right.coarsened, dropped: left.dropped - right.dropped)
        }
    }

    /// Between two sentences about one endpoint.
    static let pauseMs: Int64 = 60_000

    private var seen: [String: Count] = [:]
    private var told: [String: (count: Count, atMs: Int64)] = [:]

    /// Accounts as they are, by endpoint.
    static func accounts(_ db: Database) throws -> [String: Count] {
        let rows = try Row.fetchAll(db, sql: "SELECT name, coarsened, dropped FROM endpoints")
        return Dictionary(
            try rows.map {
                (try $0.value(0) as String, try Count(coarsened: $0.value(1), dropped: $0.value(2)))
            }, uniquingKeysWith: { first, _ in first })
    }

    /// The same of the cursors over events.
    static func eventAccounts(_ db: Database) throws -> [String: Count] {
        let rows = try Row.fetchAll(db, sql: "SELECT name, dropped FROM event_cursors")
        return Dictionary(
            try rows.map { (try $0.value(0) as String, try Count(coarsened: 0, dropped: $0.value(1))) },
            uniquingKeysWith: { first, _ in first })
    }

    /// - Parameter before: the accounts before the step, which begin the story of an endpoint that is new here.
    /// - Returns: what is new, for counters; and what is to be said now.
    mutating func note(
        _ after: [String: Count], before: [String: Count], nowMs: Int64
    ) -> (new: [String: Count], say: [String: Count]) {
        var (new, say): ([String: Count], [String: Count]) = ([:], [:])
        for (endpoint, count) in after {
            let start = seen[endpoint] ?? before[endpoint] ?? .none
            if count != start { new[endpoint] = count - start }
            let last = told[endpoint] ?? (start, .min)
            // A clock that was set back keeps nobody quiet.
            let isTime = last.atMs == .min || nowMs < last.atMs || nowMs - last.atMs >= Self.pauseMs
            if count != last.count, isTime {
                say[endpoint] = count - last.count
                told[endpoint] = (count, nowMs)
            } else {
                told[endpoint] = last
            }
        }
        seen = after
        told = told.filter { after[$0.key] != nil }
        return (new, say)
    }
}
