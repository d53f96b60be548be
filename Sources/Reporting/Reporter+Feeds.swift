import Dispatch
import QueueIsolation
import Store
public import Telemetry

// What endpoints are fed with besides windows: events behind a cursor of their own, and alerts as they are.

extension Reporter {
    /// Says which alerts are open, or were so in the last minutes. Endpoints of the kind `alertmanager` hear of it at once,
    /// and then again and again.
    public nonisolated func show(alerts: [Alert]) {
        let shown = alerts.filter { $0.state != .pending }
        onQueue { reporter in
            reporter.alerts = shown
            reporter.tellOfAlerts()
        }
    }

    private func tellOfAlerts(_ only: String? = nil) {
        alertsVersion += 1
        for name in endpoints.keys.sorted()
        where endpoints[name]?.configuration.feed == .alerts && (only == nil || only == name) {
            handle(.committed(alertsVersion), name)
        }
    }

    func committed(events newest: Int64) {
        newestEvent = max(newestEvent, newest)
        for name in endpoints.keys.sorted() where endpoints[name]?.configuration.feed == .events {
            handle(.committed(newest), name)
        }
    }

    /// The newest sequence of what an endpoint is fed with.
    func newest(_ feed: Feed) -> Int64 {
        switch feed {
        case .windows: newestSequence
        case .events: newestEvent
        case .alerts: alertsVersion
        }
    }

    /// Alertmanager forgets what it does not hear of.
    func remindOfAlerts(_ name: String, _ generation: Int) {
        guard let endpoint = endpoints[name], endpoint.configuration.feed == .alerts else { return }
        let pause = DispatchTimeInterval.milliseconds(Int(endpoint.configuration.resendMs))
        executor.queue.asyncAfter(deadline: .now() + pause) { @Sendable [weak self] in
            self?.onQueue { reporter in
                guard reporter.endpoints[name]?.generation == generation else { return }
                reporter.tellOfAlerts(name)
                reporter.remindOfAlerts(name, generation)
            }
        }
    }

    func openFeed(_ fromBeginning: Bool, _ lane: LaneAddress) {
        let name = lane.endpoint
        guard let configuration = endpoints[name]?.configuration else { return }
        switch configuration.feed {
        case .windows:
            store.openCursor(endpoint: name, fromBeginning: fromBeginning, cut: configuration.cut) {
                [weak self] cursor in
                self?.reply(.opened(cursor), to: lane)
            }
        case .events:
            store.openEventCursor(endpoint: name, fromBeginning: fromBeginning) { [weak self] position in
                self?.reply(.opened(position.map { DeliveryCursor(position: $0) }), to: lane)
            }
        case .alerts: reply(.opened(DeliveryCursor(position: .start)), to: lane)
        }
    }

    func fetch(after position: DeliveryPosition, through: Int64?, limit: Int, _ lane: LaneAddress) {
        guard let configuration = endpoints[lane.endpoint]?.configuration else { return }
        switch configuration.feed {
        case .windows:
            store.windows(
                after: position, through: through, selection: configuration.selection, limit: limit
            ) { [weak self] found in
                let event = EndpointStateMachine.Event.windows(
                    found?.windows, scannedThrough: found?.scannedThrough ?? 0
                )
                self?.reply(event, to: lane)
            }
        case .events:
            let selection = EventSelection(
                streams: configuration.selection.streams, kinds: configuration.eventKinds)
            let isBatch = configuration.format == .batch
            store.events(after: position.sequence, selection: selection, limit: EventGrid.batchMax) {
                [weak self] found in
                let consignments = found.map { found -> [Consignment] in
                    if isBatch {
                        return EventGrid.batches(found.events, configuration).map { .events($0) }
                    }
                    return found.events.map { .events([$0]) }
                }
                let event = EndpointStateMachine.Event.fetched(
                    consignments, scannedThrough: found?.scannedThrough ?? 0)
                self?.reply(event, to: lane)
            }
        case .alerts:
            let snapshot = snapshot(configuration)
            let isNew = snapshot.version > position.sequence
            reply(
                .fetched(isNew ? [.alerts(snapshot)] : [], scannedThrough: snapshot.version), to: lane)
        }
    }

    private func snapshot(_ configuration: EndpointConfiguration) -> AlertSnapshot {
        let nowMs = clock.nowMs()
        let wanted = alerts.filter { alert in
            guard let stream = StreamID(alert.stream), configuration.selection.streams.tellsOf(stream) else {
                return false
            }
            return alert.state == .firing
                || alert.state == .resolved && nowMs - alert.resolvedMs < AlertSnapshot.resolvedMs
        }
        let clock = clock
        return AlertSnapshot(version: alertsVersion, alerts: wanted) { clock.nowMs() }
    }
}
