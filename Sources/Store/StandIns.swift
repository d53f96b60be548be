import GRDB
import Telemetry

/// Windows that stand in for shorter ones which an endpoint had not got when retention took them: rows of `stand_ins`.
enum StandIns {
    /// What of the windows an endpoint gets, by resolution; empty for all.
    static func condition(_ selection: DeliverySelection) -> String {
        guard !selection.resolutions.isEmpty else { return "" }
        let resolutions = selection.resolutions.sorted().map(String.init).joined(separator: ",")
        // The plus sign keeps SQLite on the order of the sequence.
        let chosen = "+resolution_ms IN (\(resolutions))"
        guard let endpoint = selection.standInsOf else { return " AND \(chosen)" }
        let name = endpoint.replacing("'", with: "''")
        return """
             AND (\(chosen) OR EXISTS (
                SELECT 1 FROM stand_ins WHERE stand_ins.window = windows.sequence AND endpoint = '\(name)'))
            """
    }

    static func contains(_ window: Int64, of endpoint: String, _ db: Database) throws -> Bool {
        let row = try Int64.fetchOne(
            db, sql: "SELECT window FROM stand_ins WHERE window = ? AND endpoint = ?",
            arguments: [window, endpoint])
        return row != nil
    }

    static func insert(_ window: Int64, of endpoint: String, _ db: Database) throws {
        try db.execute(
            sql: "INSERT OR IGNORE INTO stand_ins (window, endpoint) VALUES (?, ?)",
            arguments: [window, endpoint])
    }

    static func removeAll(of endpoint: String, _ db: Database) throws {
        try db.execute(sql: "DELETE FROM stand_ins WHERE endpoint = ?", arguments: [endpoint])
    }
}
