public import Telemetry

/// Where an endpoint stands: everything up to and including `sequence` is done, and the first `parts` parts of the
/// window after it.
public struct DeliveryPosition: Sendable, Hashable, Comparable {
    /// Store sequence number of a window; 0 is before the first.
    public var sequence: Int64
    /// Parts of the next selected window that were delivered already. A window is cut into parts in one way only
    /// (by the endpoint's settings), so a part has a stable identity.
    public var parts: Int

    public static let start = DeliveryPosition(sequence: 0, parts: 0)

    public init(sequence: Int64, parts: Int) {
        self.sequence = sequence
        self.parts = parts
    }

    public static func < (left: DeliveryPosition, right: DeliveryPosition) -> Bool {
        (left.sequence, left.parts) < (right.sequence, right.parts)
    }
}

/// Windows that an endpoint has not got although it may have got later ones.
public struct DeliveryGap: Sendable, Hashable {
    /// Everything up to here is done.
    public var after: DeliveryPosition
    /// Store sequence number of the last window in it; it never changes, and no two gaps of an endpoint share it.
    public var through: Int64

    /// Gaps that one endpoint can have.
    public static let countMax = 64

    public init(after: DeliveryPosition, through: Int64) {
        self.after = after
        self.through = through
    }

    /// Nothing is left in it.
    public var isClosed: Bool { after.sequence >= through }
}

/// All that is known of where an endpoint stands.
public struct DeliveryCursor: Sendable, Hashable {
    /// Everything after it is still to be sent.
    public var position: DeliveryPosition
    /// What is still to be sent of what is before it; oldest first, and none overlap.
    public var gaps: [DeliveryGap]
    /// The newest window in the store; 0 for none.
    public var newest: Int64

    public init(position: DeliveryPosition, gaps: [DeliveryGap] = [], newest: Int64 = 0) {
        self.position = position
        self.gaps = gaps
        self.newest = newest
    }
}

/// What an endpoint wants. Empty sets mean "all".
public struct DeliverySelection: Sendable, Hashable {
    public enum Streams: Sendable, Hashable {
        case measured
        case simulated
        case all
        case named(Set<StreamID>)

        public func contains(_ stream: StreamID) -> Bool {
            switch self {
            case .measured: stream == .measured
            case .simulated: stream.isSimulated
            case .all: stream != .ingested
            case .named(let names): names.contains(stream)
            }
        }

        /// The same for events and alerts: those of what is measured stay, in a cluster that shares its windows, in the
        /// stream of the member that took them.
        public func tellsOf(_ stream: StreamID) -> Bool {
            switch self {
            case .measured, .all: contains(stream) || stream == .ingested
            case .simulated, .named: contains(stream)
            }
        }
    }

    public var streams: Streams
    public var levels: Set<Level>
    /// Milliseconds.
    public var resolutions: Set<Int64>
    public var fields: Set<FieldIndex>
    /// Sketches come along where they are kept as history; they are large.
    public var sketches: Bool
    /// Only windows that start then, Unix milliseconds; `nil` is always.
    public var startsMs: Range<Int64>?
    /// Of windows that this endpoint has not got and that had to go, longer ones are given in their place, although
    /// `resolutions` leaves them out; `nil`: they are lost.
    public var standInsOf: String?
    /// Of a window that was revised only the newest revision.
    public var newestRevisions = false

    public init(
        streams: Streams = .measured, levels: Set<Level> = [], resolutions: Set<Int64> = [],
        fields: Set<FieldIndex> = [], sketches: Bool = false
    ) {
        self.streams = streams
        self.levels = levels
        self.resolutions = resolutions
        self.fields = fields
        self.sketches = sketches
    }
}

/// A window as the store gives it back: only the selected levels and fields are decoded.
public struct StoredWindow: Sendable {
    /// Position in the order of committing, from 1, without reuse.
    public var sequence: Int64
    public var summary: WindowSummary
    /// Names for the summary's topology version.
    public var topology: TopologySnapshot

    public init(sequence: Int64, summary: WindowSummary, topology: TopologySnapshot) {
        self.sequence = sequence
        self.summary = summary
        self.topology = topology
    }
}

/// What the reporter needs of the store. Nothing here blocks the caller; replies come on the store's queue, in the
/// order of the calls. A reply of `nil` or `false` means that the store failed (it has logged why) and that the
/// caller should try again later.
public protocol DeliveryStore: Sendable {
    /// Makes the endpoint known. A new one starts after the newest window, or at `.start` if `fromBeginning`.
    /// Endpoints that are not in the configuration any more keep their cursor for a week.
    ///
    /// - Parameter cut: says how the endpoint's settings cut a window into parts. Where it is not what it was, parts
    ///   have other borders, and the window that is half delivered begins again with its first part: nothing is left
    ///   out, and its first rows may come twice.
    func openCursor(
        endpoint: String, fromBeginning: Bool, cut: String,
        reply: @escaping @Sendable (DeliveryCursor?) -> Void
    )

    /// The next windows after a position that the selection wants, oldest first; up to and including `through`, or all.
    /// `scannedThrough` is the last sequence number that was looked at: an endpoint that selects little may move
    /// its cursor past windows that it does not want.
    func windows(
        after position: DeliveryPosition, through: Int64?, selection: DeliverySelection, limit: Int,
        reply: @escaping @Sendable ((windows: [StoredWindow], scannedThrough: Int64)?) -> Void
    )

    /// Moves a cursor, durably, together with the dead letters of the parts that were refused for good.
    /// `parts` and `samples` are what was delivered since the last move, for the endpoint's account.
    ///
    /// - Parameter through: `nil` moves the position; else the gap that ends there, which is gone when nothing is left in it.
    func advance(
        endpoint: String, to position: DeliveryPosition, through: Int64?, parts: Int, samples: Int,
        dead: [DeadLetter], reply: @escaping @Sendable (Bool) -> Void
    )

    /// Moves the position to after a window, durably, and leaves what it skips behind as a gap.
    ///
    /// - Parameter position: where the endpoint stands: as the store knows it, or further.
    func leap(
        endpoint: String, from position: DeliveryPosition, through sequence: Int64,
        reply: @escaping @Sendable (Bool) -> Void)

    /// Makes two gaps of the one that ends at `through`: the first ends at `sequence`.
    func split(
        endpoint: String, gapThrough through: Int64, at sequence: Int64,
        reply: @escaping @Sendable (Bool) -> Void)

    /// Calls `handler` (on the store's queue) whenever new windows were committed.
    func onCommit(_ handler: @escaping @Sendable (_ newestSequence: Int64) -> Void)

    /// Keeps what an endpoint was found to understand, in words of the caller's own; to be asked for after a restart.
    func remember(endpoint: String, form: String)

    // The same for events, which have cursors of their own: a position is the id of an event, and parts are always 0.

    func openEventCursor(
        endpoint: String, fromBeginning: Bool, reply: @escaping @Sendable (DeliveryPosition?) -> Void)

    /// The next events after an id, in the order of storing. `scannedThrough` is the newest id that was looked at.
    func events(
        after id: Int64, selection: EventSelection, limit: Int,
        reply: @escaping @Sendable ((events: [StoredEvent], scannedThrough: Int64)?) -> Void)

    func advanceEvents(
        endpoint: String, to id: Int64, delivered: Int, dead: [DeadLetter],
        reply: @escaping @Sendable (Bool) -> Void)

    /// Calls `handler` (on the store's queue) whenever events were stored.
    func onEvents(_ handler: @escaping @Sendable (_ newestID: Int64) -> Void)
}

/// Which events an endpoint wants.
public struct EventSelection: Sendable, Hashable {
    public var streams: DeliverySelection.Streams
    /// Empty means all.
    public var kinds: Set<EventKind>

    public init(streams: DeliverySelection.Streams, kinds: Set<EventKind> = []) {
        self.streams = streams
        self.kinds = kinds
    }

    /// The end of an SQL condition on events; nothing where all kinds are wanted.
    var kindCondition: String {
        if kinds.isEmpty { return "" }
        return " AND kind IN (\(kinds.map { "'\($0.rawValue)'" }.sorted().joined(separator: ",")))"
    }
}
