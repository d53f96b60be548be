import Store
import Telemetry

/// The events of a stream that still matter after a restart: jobs that have not ended, nodes that are down.
enum OpenEvents {
    /// Events that are looked at, newest first.
    private static let lookedAtMax = 100_000

    /// - Parameter andClosed: also the last word on nodes and their maintenance that says that it is over.
    static func read(
        _ stream: StreamID, _ store: HistoryStore, andClosed: Bool = false
    ) async throws -> [Event] {
        let kinds: Set<EventKind> = [
            .jobStart, .jobEnd, .nodeDown, .nodeUp, .maintenanceStart, .maintenanceEnd,
        ]
        let newest = try await store.events(
            EventQuery(stream: stream, kinds: kinds, limit: lookedAtMax, newestFirst: true))
        let events = newest.reversed().map(\.event)
        return open(events) + (andClosed ? closed(events) : [])
    }

    private enum Key: Hashable {
        case job(String)
        case down(String)
        /// `gpu` is -1 for all of a node.
        case maintenance(String, gpu: Int)
    }

    /// An event may be about many nodes: each of them comes back for itself.
    ///
    /// - Parameter events: oldest first.
    static func open(_ events: [Event]) -> [Event] {
        // Index of the event that opened it.
        var open: [Key: Int] = [:]
        // GPUs in maintenance, by node.
        var maintained: [String: Set<Int>] = [:]
        for (index, event) in events.enumerated() {
            let gpu = event.gpu ?? -1
            switch event.kind {
            case .jobStart: open[.job(event.job)] = index
            case .jobEnd: open[.job(event.job)] = nil
            case .nodeDown: for name in names(event) { open[.down(name)] = index }
            case .nodeUp: for name in names(event) { open[.down(name)] = nil }
            case .maintenanceStart:
                for name in names(event) {
                    open[.maintenance(name, gpu: gpu)] = index
                    maintained[name, default: []].insert(gpu)
                }
            case .maintenanceEnd:
                for name in names(event) {
                    // The end of a node's is the end of its GPUs', too.
                    for one in event.gpu.map({ [$0] }) ?? maintained[name] ?? [] {
                        open[.maintenance(name, gpu: one)] = nil
                        maintained[name]?.remove(one)
                    }
                }
            default: break
            }
        }
        return trimmed(events, open)
            .sorted { ($0.timeMs, $0.entity, $0.job) < ($1.timeMs, $1.entity, $1.job) }
    }

    /// The last word on a node, where it says that it is back, and on a node's maintenance, where it has ended.
    ///
    /// - Parameter events: oldest first.
    static func closed(_ events: [Event]) -> [Event] {
        var last: [Key: Int] = [:]
        for (index, event) in events.enumerated() {
            switch event.kind {
            case .nodeDown, .nodeUp: for name in names(event) { last[.down(name)] = index }
            case .maintenanceStart, .maintenanceEnd:
                for name in names(event) where event.gpu == nil { last[.maintenance(name, gpu: -1)] = index }
            default: break
            }
        }
        return Set(last.values).sorted().compactMap { index in
            var event = events[index]
            guard event.kind == .nodeUp || event.kind == .maintenanceEnd else { return nil }
            event.nodes.removeAll { name in
                last[event.kind == .nodeUp ? .down(name) : .maintenance(name, gpu: -1)] != index
            }
            return event
        }
    }

    private static func names(_ event: Event) -> [String] {
        event.nodes.isEmpty ? [event.entity] : event.nodes
    }

    /// Events that opened anything which is open, with those names only for which it is.
    private static func trimmed(_ events: [Event], _ open: [Key: Int]) -> [Event] {
        Set(open.values).sorted().map { index in
            var event = events[index]
            switch event.kind {
            case .nodeDown: event.nodes.removeAll { open[.down($0)] != index }
            case .maintenanceStart:
                let gpu = event.gpu ?? -1
                event.nodes.removeAll { open[.maintenance($0, gpu: gpu)] != index }
            default: break
            }
            return event
        }
    }
}
