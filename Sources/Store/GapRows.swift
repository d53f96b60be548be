import GRDB

/// What an endpoint has not got although it has got later windows: rows of `endpoint_gaps`, within a transaction.
struct GapRows {
    let db: Database
    let endpoint: String

    /// Oldest first.
    func all() throws -> [DeliveryGap] {
        try Row.fetchAll(
            db,
            sql: "SELECT sequence, parts, through FROM endpoint_gaps WHERE endpoint = ? ORDER BY through",
            arguments: [endpoint]
        ).map { row in
            try DeliveryGap(
                after: DeliveryPosition(sequence: row.value(0), parts: row.value(1)), through: row.value(2))
        }
    }

    /// Parts that were cut in another way count no more.
    func beginAgain(unlessCut cut: String) throws {
        try db.execute(
            sql: """
                UPDATE endpoint_gaps SET parts = 0 WHERE endpoint = ?1
                AND EXISTS (SELECT 1 FROM endpoints WHERE name = ?1 AND cut != ?2)
                """, arguments: [endpoint, cut])
    }

    /// Never goes back; a gap with nothing left in it is gone.
    func advance(through: Int64, to position: DeliveryPosition) throws {
        if position.sequence >= through {
            try db.execute(
                sql: "DELETE FROM endpoint_gaps WHERE endpoint = ? AND through = ?",
                arguments: [endpoint, through])
            return
        }
        try db.execute(
            sql: """
                UPDATE endpoint_gaps SET sequence = ?1, parts = ?2 WHERE endpoint = ?3 AND through = ?4
                AND (sequence < ?1 OR (sequence = ?1 AND parts < ?2))
                """, arguments: [position.sequence, position.parts, endpoint, through])
    }

    func leap(from position: DeliveryPosition, through: Int64) throws {
        guard position.sequence < through else { throw misplaced("a gap through \(through) would be empty") }
        try insert(DeliveryGap(after: position, through: through))
        try db.execute(
            sql: "UPDATE endpoints SET sequence = ?1, parts = 0 WHERE name = ?2 AND sequence <= ?3",
            arguments: [through, endpoint, position.sequence])
        guard db.changesCount == 1 else { throw misplaced("its cursor is not at \(position.sequence)") }
    }

    func split(through: Int64, at sequence: Int64) throws {
        guard let gap = try all().first(where: { $0.through == through }), gap.after.sequence < sequence,
            sequence < through
        else { throw misplaced("no gap through \(through) holds \(sequence)") }
        try insert(DeliveryGap(after: gap.after, through: sequence))
        try db.execute(
            sql: "UPDATE endpoint_gaps SET sequence = ?, parts = 0 WHERE endpoint = ? AND through = ?",
            arguments: [sequence, endpoint, through])
    }

    func removeAll() throws {
        try db.execute(sql: "DELETE FROM endpoint_gaps WHERE endpoint = ?", arguments: [endpoint])
    }

    private func insert(_ gap: DeliveryGap) throws {
        guard try all().count < DeliveryGap.countMax else {
            throw misplaced("it has \(DeliveryGap.countMax) gaps already")
        }
        try db.execute(
            sql: "INSERT INTO endpoint_gaps (endpoint, through, sequence, parts) VALUES (?, ?, ?, ?)",
            arguments: [endpoint, gap.through, gap.after.sequence, gap.after.parts])
    }

    private func misplaced(_ why: String) -> StoreError {
        StoreError(.malformed, "endpoint \(endpoint): \(why)", advice: "this is a fault of colossusd")
    }
}
