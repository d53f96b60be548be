import Store
import Telemetry

/// The events of a stream that still matter after a restart: jobs that have not ended, nodes that are down.
enum OpenEvents {
    /// Events that are looked at, newest first.
    private static let lookedAtMax = 100_000

    static func read(_ stream: StreamID, _ store: HistoryStore) async throws -> [Event] {
        let kinds: Set<EventKind> = [
            .jobStart, .jobEnd, .nodeDown, .nodeUp, .maintenanceStart, .maintenanceEnd,
        ]
        let newest = try await store.events(
            EventQuery(stream: stream, kinds: kinds, limit: lookedAtMax, newestFirst: true))
        return open(newest.reversed().map(\.event))
    }

    private static func maintenance(_ event: Event) -> String {
        "maintenance \(event.gpu ?? -1) " + event.entity
    }

    /// - Parameter events: oldest first.
    static func open(_ events: [Event]) -> [Event] {
        var open: [String: Event] = [:]
        for event in events {
            switch event.kind {
            case .jobStart: open["job " + event.job] = event
            case .jobEnd: open["job " + event.job] = nil
            case .nodeDown: open["down " + event.entity] = event
            case .nodeUp: open["down " + event.entity] = nil
            case .maintenanceStart: open[Self.maintenance(event)] = event
            case .maintenanceEnd:
                open[Self.maintenance(event)] = nil
                // The end of a node's is the end of its GPUs', too.
                guard event.gpu == nil else { break }
                open = open.filter { $0.value.kind != .maintenanceStart || $0.value.entity != event.entity }
            default: break
            }
        }
        return open.values.sorted { ($0.timeMs, $0.entity, $0.job) < ($1.timeMs, $1.entity, $1.job) }
    }
}
