/// Why a sample did not reach an accumulator. The raw value is the position in arrays of counts; `label` is what
/// users see.
public enum DropReason: Int, CaseIterable, Sendable, Hashable {
    // In the order of a series' life:
    case duplicate, conflict, outOfOrder, redundant, late
    // Rejected at the border:
    case blank, notANumber, stale, future, tooOld, unknownField, noEntity, badLabels, seriesLimit

    /// As in metrics and output, for example `out_of_order`.
    public var label: String {
        switch self {
        case .duplicate: "duplicate"
        case .conflict: "conflict"
        case .outOfOrder: "out_of_order"
        case .redundant: "redundant"
        case .late: "late"
        case .blank: "blank"
        case .notANumber: "nan"
        case .stale: "stale"
        case .future: "future"
        case .tooOld: "too_old"
        case .unknownField: "unknown_field"
        case .noEntity: "no_entity"
        case .badLabels: "bad_labels"
        case .seriesLimit: "series_limit"
        }
    }
}

/// The account of a stream's samples: received = aggregated + the sum of the drops + in flight. A sample is in flight
/// until the window in which it counts is committed.
public struct Ledger: Sendable, Equatable {
    public var received: Int64 = 0
    public var aggregated: Int64 = 0
    /// Indexed by `DropReason.rawValue`.
    public var drops: [Int64]

    public init() { drops = Array(repeating: 0, count: DropReason.allCases.count) }

    public subscript(reason: DropReason) -> Int64 {
        get { drops[reason.rawValue] }
        set { drops[reason.rawValue] = newValue }
    }

    public var dropped: Int64 { drops.reduce(0, +) }
    public var inFlight: Int64 { received - aggregated - dropped }

    public mutating func add(_ other: Ledger) {
        received += other.received
        aggregated += other.aggregated
        for index in drops.indices { drops[index] += other.drops[index] }
    }
}
