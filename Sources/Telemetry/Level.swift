/// A level of the fleet at which windows are summarised.
///
/// gpu < node (8 GPUs) < rack (8 nodes) < array (8 racks) < hall < site; a job cuts across.
public enum Level: String, CaseIterable, Sendable, Comparable, Hashable {
    case node, rack, array, hall, site, job

    /// Quantile sketches exist from the rack upwards.
    public var hasQuantiles: Bool { self != .node }

    private var rank: Int {
        switch self {
        case .node: 0
        case .rack: 1
        case .array: 2
        case .hall: 3
        case .site: 4
        case .job: 5
        }
    }

    public static func < (left: Level, right: Level) -> Bool { left.rank < right.rank }
}
