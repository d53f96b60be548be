import Aggregation
import Alerts
import ControlAPI
import Store
import Telemetry

// What the control interface asks of the history.
extension Daemon {
    func summary(_ request: SummaryRequest) async throws -> SummaryReply {
        let store = try running().store
        let stream = try await stream(named: request.stream, in: store)
        guard let level = Level(rawValue: request.level) else {
            throw ControlError(
                .badRequest, "There is no level \(request.level).",
                hint: "The levels are \(Level.allCases.map(\.rawValue).joined(separator: ", ")).")
        }
        var fields: Set<FieldIndex> = []
        if let name = request.field {
            guard let field = FieldCatalog.find(name: name) else {
                throw ControlError(
                    .badRequest, "\(name) is not a field.", hint: "Write a DCGM name: DCGM_FI_DEV_GPU_UTIL.")
            }
            fields = [field]
        }
        let window = try await window(of: stream, request, level, fields, store)
        guard let found = window.summary.level(level) else {
            throw ControlError(
                .notFound, "\(stream) keeps no summaries by \(level.rawValue).",
                hint: "Try --level rack, or name the level in aggregation.levels before the stream begins.")
        }
        let names = level == .job ? found.jobs : window.topology.names(level)
        if let entity = request.entity, !names.contains(entity) {
            throw ControlError(
                .notFound, "There is no \(level.rawValue) \(entity) in \(stream).",
                hint: "`colossusctl summary --level \(level.rawValue)` lists them.")
        }
        return SummaryReply(window.summary, names: names, level: found, request: request)
    }

    private func window(
        of stream: StreamID, _ request: SummaryRequest, _ level: Level, _ fields: Set<FieldIndex>,
        _ store: HistoryStore
    ) async throws -> StoredWindow {
        let resolutions = try await store.resolutions(stream)
        guard let resolution = request.resolutionMs ?? resolutions.first else {
            throw ControlError(
                .tryAgain, "\(stream) has no closed window yet.", hint: "`colossusctl status` shows its lag.")
        }
        guard resolutions.contains(resolution) else {
            let known = resolutions.map(DurationText.text(ms:)).joined(separator: ", ")
            throw ControlError(
                .notFound, "\(stream) has no windows of \(DurationText.text(ms: resolution)).",
                hint: known.isEmpty ? nil : "It has \(known).")
        }
        // A window that ends at the moment or before it starts one length earlier, rounded down.
        let start = request.at.map { Self.floor($0.ms, resolution) - resolution }
        let found = try await store.window(
            stream, resolutionMs: resolution, startMs: start, levels: [level], fields: fields)
        guard let found else {
            throw ControlError(
                .notFound, "\(stream) has no window of \(DurationText.text(ms: resolution)) there.",
                hint: "`colossusctl timeline` shows what there is.")
        }
        return found
    }

    func timeline(_ request: TimelineRequest) async throws -> TimelineReply {
        let store = try running().store
        let stream = try await stream(named: request.stream, in: store)
        let resolutions = try await store.resolutions(stream)
        let step = request.resolutionMs
        let points = try await store.timeline(
            stream, fromMs: request.from?.ms ?? .min, toMs: request.to?.ms ?? .max, stepMs: step,
            limit: request.limit + 1)
        let length = TimelineReply.resolutionMs(
            points.map(\.timeMs), stepMs: step, windowMs: resolutions.first)
        return TimelineReply(
            stream: stream.name, resolution: DurationText.text(ms: length),
            points: points.suffix(request.limit).map { TimelineRow($0) },
            truncated: points.count > request.limit)
    }

    func events(_ request: EventsRequest) async throws -> EventsReply {
        let store = try running().store
        var kinds: Set<EventKind> = []
        if let name = request.kind {
            guard let kind = EventKind(rawValue: name) else {
                throw ControlError(
                    .badRequest, "There is no kind of event \(name).",
                    hint: "The kinds are \(EventKind.allCases.map(\.rawValue).joined(separator: ", ")).")
            }
            kinds = [kind]
        }
        var stream: StreamID?
        if let name = request.stream { stream = try await self.stream(named: name, in: store) }
        let follows = request.after != nil
        let query = EventQuery(
            stream: stream, fromMs: request.from?.ms ?? .min, toMs: request.to.map { $0.ms + 1 } ?? .max,
            kinds: kinds, entity: request.entity, job: request.job, afterID: request.after,
            limit: request.limit + 1, newestFirst: !follows)
        // Who follows later goes on after what is there now, matching or not; what is stored meanwhile comes then.
        let newest = follows ? Int64.max : try await store.newestEvent()
        let found = try await store.events(query).filter { $0.id <= newest }
        let shown = found.prefix(request.limit)
        let rows = (follows ? Array(shown) : shown.reversed()).map { EventRow($0.event, sequence: $0.id) }
        let next = request.after.map { rows.last?.sequence ?? $0 } ?? newest
        return EventsReply(events: rows, next: next, truncated: found.count > shown.count)
    }

    /// The stream a request means: the one it names, else the measured one if it has windows, else the newest run.
    func stream(named name: String?, in store: HistoryStore) async throws -> StreamID {
        let known = try await store.streams().filter { $0.closedThroughMs != nil }.map(\.stream)
        guard let name else {
            if known.contains(.measured) { return .measured }
            let runs = try await store.runs().reversed().compactMap { StreamID.simulated(run: $0.name) }
            if let newest = runs.first(where: known.contains) ?? known.last { return newest }
            throw ControlError(
                .tryAgain, "There is no closed window yet.",
                hint: "Send telemetry to the ingest address, or start a simulation.")
        }
        guard let stream = StreamID(name) ?? StreamID.simulated(run: name) else {
            throw ControlError(.badRequest, "\(name) is no stream.", hint: "Write measured, or sim/RUN.")
        }
        guard known.contains(stream) || parts?.streams.find(stream) != nil else {
            let names = known.map(\.name).joined(separator: ", ")
            throw ControlError(
                .notFound, "There is no stream \(stream).",
                hint: names.isEmpty ? nil : "There are: \(names).")
        }
        return stream
    }

    func running() throws -> DaemonParts {
        guard let parts else {
            throw ControlError(.tryAgain, "colossusd is \(state.rawValue).", hint: "Try again in a moment.")
        }
        return parts
    }

    static func floor(_ value: Int64, _ length: Int64) -> Int64 {
        let rest = value % length
        return value - (rest < 0 ? rest + length : rest)
    }
}

extension Daemon {
    /// Events of the measured stream do not wait for the next closing, which may be far away when nobody sends
    /// telemetry. Those of a simulated run are stored with its windows, so that a restart finds both or none.
    func keepEvents() async {
        guard let parts, !isKeepingEvents else { return }
        let events = parts.core.takePendingEvents(parts.measured)
        guard !events.isEmpty else { return }
        isKeepingEvents = true
        defer { isKeepingEvents = false }
        do {
            try await parts.alerts.keep(events)
        } catch {
            parts.core.putBack(events, stream: parts.measured)
        }
    }
}
