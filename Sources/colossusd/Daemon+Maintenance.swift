import Aggregation
import ControlAPI
import Logging
import Settings
import Store
import SystemdSupport
import Telemetry

// Planned work. It is kept as events of the measured stream, like those that come to the ingest listener, and so outlives
// restarts; what is open is read back from them.
extension Daemon {
    func maintenance() async throws -> MaintenanceReply {
        let parts = try running()
        await followMaintenance()
        let gpus = planned.gpuCount(parts.streams.topology(parts.merged ?? parts.measured).snapshot())
        return MaintenanceReply(maintenance: maintenanceRows, gpus: gpus)
    }

    var maintenanceRows: [MaintenanceRow] {
        planned.entries.map { entry in
            MaintenanceRow(
                entity: entry.name, since: UTCTime(ms: entry.sinceMs),
                until: entry.untilMs.map { UTCTime(ms: $0) },
                reason: entry.reason.isEmpty ? nil : entry.reason)
        }
    }

    func startMaintenance(_ start: MaintenanceStart) async throws -> MaintenanceReply {
        let parts = try running()
        let nowMs = clock.nowMs()
        if let until = start.until, until.ms <= nowMs {
            throw ControlError(
                .badRequest, "The end \(until) is not in the future.",
                hint: "Leave it out, or name a later one.")
        }
        guard (start.reason ?? "").utf8.count <= Self.reasonBytesMax else {
            throw ControlError(.tooLarge, "The reason is longer than \(Self.reasonBytesMax) bytes.")
        }
        await followMaintenance()
        guard planned.count < PlannedWork.entriesMax else {
            throw ControlError(
                .conflict, "\(planned.count) entities are under maintenance; there may be no more.",
                hint: "Name racks or halls instead of nodes.")
        }
        guard let merged = parts.merged else {
            throw ControlError(
                .tryAgain, "The windows of the measured stream are not made here.",
                hint: "Ask a member of the cluster that is a reporter and has joined.")
        }
        let place = try place(start.entity, parts.streams.topology(merged).snapshot())
        try await tell(
            PlannedWork.start(
                entity: place.entity, gpu: place.gpu, timeMs: nowMs, untilMs: start.until?.ms,
                reason: start.reason ?? ""), parts)
        return try await maintenance()
    }

    func endMaintenance(_ end: MaintenanceEnd) async throws -> MaintenanceReply {
        let parts = try running()
        await followMaintenance()
        guard let entry = planned.entries.first(where: { $0.name == end.entity }) else {
            let near = Suggestion.nearest(to: end.entity, in: planned.entries.map(\.name))
            throw ControlError(
                .notFound,
                "\(end.entity) is not under maintenance." + (near.map { " Did you mean \($0)?" } ?? ""),
                hint: "`colossusctl maintenance list` shows what is.")
        }
        try await tell(PlannedWork.end(entry, timeMs: clock.nowMs(), reason: end.reason ?? ""), parts)
        return try await maintenance()
    }

    private static let reasonBytesMax = 1_024

    /// Stored before it is answered; told to the core, which counts by it from the next window on.
    private func tell(_ event: Event, _ parts: DaemonParts) async throws {
        try await parts.store.save([event], nowMs: clock.nowMs())
        parts.core.emit([event])
    }

    /// A name that the fleet has, or `NODE/ORDINAL`.
    private func place(_ name: String, _ fleet: TopologySnapshot) throws -> (entity: String, gpu: Int?) {
        let names = Level.allCases.flatMap { fleet.names($0) }
        if names.contains(name) { return (name, nil) }
        if let slash = name.lastIndex(of: "/"), let gpu = UInt8(name[name.index(after: slash)...]) {
            let node = String(name[..<slash])
            if fleet.nodeNames.contains(node) { return (node, Int(gpu)) }
        }
        let near = Suggestion.nearest(to: name, in: names)
        throw ControlError(
            .notFound,
            "There is no \(name) in the measured fleet." + (near.map { " Did you mean \($0)?" } ?? ""),
            hint: "Name a node, a rack, an array, a hall, the site, or NODE/ORDINAL.")
    }

    /// Takes what was stored since the last look, from whomever, and ends what was planned to be over.
    func followMaintenance() async {
        guard let parts else { return }
        do {
            try await readMaintenance(parts)
            let due = planned.due(nowMs: clock.nowMs())
            guard !due.isEmpty else { return }
            try await parts.store.save(due, nowMs: clock.nowMs())
            parts.core.emit(due)
            try await readMaintenance(parts)
        } catch {
            // The store has said what is wrong; the next look is in two seconds.
            logger.debug("events of maintenance could not be read", metadata: ["error": "\(error)"])
        }
    }

    private func readMaintenance(_ parts: DaemonParts) async throws {
        defer {
            metrics.gauge("colossus_maintenance_entities", "Entities that are worked on as planned.").set(
                Double(planned.count))
        }
        guard let through = plannedThrough else {
            // Before what is open is read: what comes in between is looked at twice, and changes nothing then.
            let newest = try await parts.store.newestEvent()
            for event in try await OpenEvents.read(.measured, parts.store) { planned.take(event) }
            plannedThrough = newest
            return
        }
        // Most looks find nothing new, and end here.
        let newest = try await parts.store.newestEvent()
        guard newest > through else { return }
        let kinds: Set<EventKind> = [.maintenanceStart, .maintenanceEnd]
        let limit = 10_000
        let query = EventQuery(stream: .measured, kinds: kinds, afterID: through, limit: limit)
        let found = try await parts.store.events(query)
        for stored in found where stored.id > plannedThrough ?? 0 {
            plannedThrough = stored.id
            planned.take(stored.event)
            log(stored.event)
        }
        // All through the newest was looked at, of whatever kind; there may be more beyond a full answer.
        if found.count < limit { plannedThrough = max(plannedThrough ?? 0, newest) }
    }

    private func log(_ event: Event) {
        let entity = event.gpu.map { "\(event.entity)/\($0)" } ?? event.entity
        let reason = event.message.isEmpty ? "none given" : event.message
        if event.kind == .maintenanceStart {
            let until = planned.find(entity: event.entity, gpu: event.gpu)?.untilMs
            logger.notice(
                "maintenance begins",
                metadata: JournalMessage.maintenanceStarted.metadata([
                    "entity": "\(entity)", "reason": "\(reason)",
                    "until": "\(until.map { UTC.timestamp($0) } ?? "none")",
                ]))
        } else {
            logger.notice(
                "maintenance ends",
                metadata: JournalMessage.maintenanceEnded.metadata([
                    "entity": "\(entity)", "reason": "\(reason)",
                ]))
        }
    }
}
