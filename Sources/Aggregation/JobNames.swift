import Telemetry

/// The numbers of a stream's jobs, for hot structures.
final class JobNames: Sendable {
    private struct Table {
        var numbers: [String: Int32] = [:]
        var names: [String] = []
    }

    /// Names that a stream remembers; further jobs count as none.
    private static let namesMax = 1_000_000

    private let table = Locked(Table())

    /// The number of a job; the empty name is "no job".
    func number(_ name: String) -> Int32 {
        guard !name.isEmpty else { return JobSnapshot.none }
        return table.withLock { table in
            if let known = table.numbers[name] { return known }
            guard table.names.count < Self.namesMax else { return JobSnapshot.none }
            let number = Int32(table.names.count)
            table.numbers[name] = number
            table.names.append(name)
            return number
        }
    }

    /// All names by number.
    var all: [String] { table.withLock { $0.names } }
}
