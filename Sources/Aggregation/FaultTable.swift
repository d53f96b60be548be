import Telemetry

/// Which GPUs are known to be broken, or are worked on as planned, at which time, from events.
struct FaultTable: Sendable {
    /// What of an entity is affected in a window.
    struct Affected: Sendable, Hashable {
        var wholeNode = false
        var ordinals: Set<Int> = []
    }

    private struct Interval: Sendable {
        var node: String
        /// `nil`: the whole node.
        var ordinal: Int?
        var kind: EventKind
        var fromMs: Int64
        /// Exclusive; `Int64.max` until it is over.
        var toMs: Int64
    }

    private var intervals: [Interval] = []
    let intervalsMax: Int

    init(intervalsMax: Int) { self.intervalsMax = intervalsMax }

    mutating func take(_ event: Event) {
        switch event.kind {
        case .xid: add(event, toMs: event.timeMs < .max ? event.timeMs + 1 : .max)
        case .nodeDown, .maintenanceStart: add(event, toMs: .max)
        case .nodeUp: end(.nodeDown, event)
        case .maintenanceEnd: end(.maintenanceStart, event)
        default: break
        }
    }

    /// Nodes (or racks …) by name with what is broken of them at some time in [fromMs, toMs).
    func faulted(fromMs: Int64, toMs: Int64) -> [String: Affected] {
        affected(fromMs, toMs) { $0 != .maintenanceStart }
    }

    /// The same, of what is under maintenance.
    func maintained(fromMs: Int64, toMs: Int64) -> [String: Affected] {
        affected(fromMs, toMs) { $0 == .maintenanceStart }
    }

    /// Whether anything is under maintenance, or was in a window that is not closed yet.
    var hasMaintenance: Bool { intervals.contains { $0.kind == .maintenanceStart } }

    private func affected(
        _ fromMs: Int64, _ toMs: Int64, _ kinds: (EventKind) -> Bool
    ) -> [String: Affected] {
        var found: [String: Affected] = [:]
        for interval in intervals
        where interval.fromMs < toMs && interval.toMs > fromMs && kinds(interval.kind) {
            if let ordinal = interval.ordinal {
                found[interval.node, default: Affected()].ordinals.insert(ordinal)
            } else {
                found[interval.node, default: Affected()].wholeNode = true
            }
        }
        return found
    }

    mutating func prune(beforeMs: Int64) { intervals.removeAll { $0.toMs <= beforeMs } }

    private mutating func add(_ event: Event, toMs: Int64) {
        guard !event.entity.isEmpty, intervals.count < intervalsMax else { return }
        intervals.append(
            Interval(
                node: event.entity, ordinal: event.gpu, kind: event.kind, fromMs: event.timeMs, toMs: toMs))
    }

    private mutating func end(_ kind: EventKind, _ event: Event) {
        for index in intervals.indices
        where intervals[index].kind == kind && intervals[index].node == event.entity
            && intervals[index].toMs == .max && intervals[index].fromMs <= event.timeMs
            && (event.gpu == nil || intervals[index].ordinal == event.gpu)
        {
            intervals[index].toMs = event.timeMs
        }
    }
}
