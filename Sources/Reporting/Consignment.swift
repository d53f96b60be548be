public import Store
import Telemetry

/// What an endpoint, or a lane of one, is fed with.
enum Feed: Sendable, Hashable { case windows, events, alerts }

/// What is delivered as a whole, under a sequence number.
enum Consignment: Sendable {
    case window(StoredWindow)
    /// Some, one after the other, that fit into one part.
    case windows([StoredWindow])
    /// One, or some that go in one request; their sequence is the id of the last.
    case events([StoredEvent])
    case alerts(AlertSnapshot)

    var sequence: Int64 {
        switch self {
        case .window(let window): window.sequence
        case .windows(let windows): windows.last?.sequence ?? 0
        case .events(let events): events.last?.id ?? 0
        case .alerts(let snapshot): snapshot.version
        }
    }

    /// Of the first that is in it.
    var firstSequence: Int64 {
        if case .windows(let windows) = self { windows.first?.sequence ?? 0 } else { sequence }
    }

    /// Of the last window of its first half; `nil` where there is one only.
    var middleSequence: Int64? {
        guard case .windows(let windows) = self, windows.count > 1 else { return nil }
        return windows[windows.count / 2 - 1].sequence
    }

    /// Windows in it.
    var windowCount: Int { if case .windows(let windows) = self { windows.count } else { 1 } }

    /// Event time of what it carries, Unix milliseconds.
    var endMs: Int64 {
        switch self {
        case .window(let window): window.summary.endMs
        case .windows(let windows): windows.last?.summary.endMs ?? 0
        case .events(let events): events.last?.event.timeMs ?? 0
        case .alerts(let snapshot): snapshot.nowMs()
        }
    }

    /// Of a CloudEvent.
    var type: String {
        switch self {
        case .window, .windows: "colossus.summary"
        case .events(let events): EventGrid.type(events.last?.event.kind)
        case .alerts: "colossus.alerts"
        }
    }

    /// The same on each attempt.
    func id(part: Int) -> String {
        switch self {
        case .window(let window): Part.id(of: window.summary, part: part)
        case .windows(let windows):
            // With the last window: after a restart a batch may begin with the same one, and hold others.
            windows.first.map { Part.id(of: $0.summary, part: part) + "x\(windows.count)@\(sequence)" } ?? ""
        case .events(let events): DeadLetter.eventPrefix + "\(events.last?.id ?? 0)"
        case .alerts(let snapshot): "alerts/\(snapshot.version)/\(part)"
        }
    }
}

/// Nothing.
struct EmptyGrid: WindowGrid {
    var rowCount: Int { 0 }
    var form: WireForm { .plain }
    func weight(row: Int) -> RowWeight { .absent }
    func body(_ rows: Range<Int>, id: String, part: Int, form: WireForm) -> [UInt8] { [] }
}

extension EndpointConfiguration {
    /// Behind the name of an endpoint: the lane that has its events.
    static var eventsMark: String { "#events" }

    var feed: Feed {
        if kind == .alertmanager { return .alerts }
        if kind == .webhook, !eventKinds.isEmpty, !hasSummaries { return .events }
        return .windows
    }

    /// An endpoint that gets summaries and events has a lane for each, so that neither waits for the other.
    var lanes: [EndpointConfiguration] {
        guard kind == .webhook, !eventKinds.isEmpty, hasSummaries else { return [self] }
        var summaries = self
        summaries.eventKinds = []
        var events = self
        events.name += Self.eventsMark
        events.hasSummaries = false
        events.takesAnyOrder = false
        return [summaries, events]
    }

    /// The events that it wants, with the name of the cursor; `nil` for none.
    public var eventCursor: (name: String, selection: EventSelection)? {
        guard kind == .webhook, !eventKinds.isEmpty else { return nil }
        return (
            hasSummaries ? name + Self.eventsMark : name,
            EventSelection(streams: selection.streams, kinds: eventKinds)
        )
    }

    /// It has a cursor over the windows.
    public var wantsWindows: Bool { feed == .windows }
}
