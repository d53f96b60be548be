import Dispatch
import Store
import Telemetry

/// A `DeliveryStore` in memory, with the failures that a test asks for.
final class FakeStore: DeliveryStore {
    struct State: Sendable {
        var windows: [StoredWindow] = []
        var cursors: [String: DeliveryPosition] = [:]
        var gaps: [String: [DeliveryGap]] = [:]
        var dead: [DeadLetter] = []
        var parts: [String: Int] = [:]
        var samples: [String: Int] = [:]
        /// How many of the next calls fail.
        var failingAdvances = 0
        var failingReads = 0
        var failingOpens = 0
        var advances = 0
        var handlers: [@Sendable (Int64) -> Void] = []
        var events: [StoredEvent] = []
        var eventCursors: [String: Int64] = [:]
        var eventHandlers: [@Sendable (Int64) -> Void] = []
        var forms: [String: String] = [:]

        func isNewest(_ one: WindowSummary) -> Bool {
            !windows.contains {
                $0.summary.startMs == one.startMs && $0.summary.stream == one.stream
                    && $0.summary.resolutionMs == one.resolutionMs && $0.summary.revision > one.revision
            }
        }
    }

    private let state = Locked(State())
    private let queue = DispatchQueue(label: "fake.store")

    var snapshot: State { state.withLock { $0 } }
    func change(_ body: @Sendable (inout State) -> Void) { state.withLock { body(&$0) } }
    func cursor(_ endpoint: String) -> DeliveryPosition? { snapshot.cursors[endpoint] }

    /// Commits windows under the next sequence numbers, and tells.
    func commit(_ summaries: [WindowSummary], _ topology: TopologySnapshot) {
        queue.sync {
            let (newest, handlers) = state.withLock { state in
                for summary in summaries {
                    let sequence = Int64(state.windows.count + 1)
                    state.windows.append(
                        StoredWindow(sequence: sequence, summary: summary, topology: topology))
                }
                return (Int64(state.windows.count), state.handlers)
            }
            for handler in handlers { handler(newest) }
        }
    }

    func openCursor(
        endpoint: String, fromBeginning: Bool, cut: String,
        reply: @escaping @Sendable (DeliveryCursor?) -> Void
    ) {
        queue.async { [self] in
            let cursor: DeliveryCursor? = state.withLock { state in
                if state.failingOpens > 0 {
                    state.failingOpens -= 1
                    return nil
                }
                let newest = Int64(state.windows.count)
                let start = DeliveryPosition(sequence: fromBeginning ? 0 : newest, parts: 0)
                let position = state.cursors[endpoint] ?? start
                state.cursors[endpoint] = position
                return DeliveryCursor(position: position, gaps: state.gaps[endpoint] ?? [], newest: newest)
            }
            reply(cursor)
        }
    }

    func windows(
        after position: DeliveryPosition, through: Int64?, selection: DeliverySelection, limit: Int,
        reply: @escaping @Sendable ((windows: [StoredWindow], scannedThrough: Int64)?) -> Void
    ) {
        queue.async { [self] in
            let found: ([StoredWindow], Int64)? = state.withLock { state in
                if state.failingReads > 0 {
                    state.failingReads -= 1
                    return nil
                }
                let after = state.windows.filter {
                    $0.sequence > position.sequence && $0.sequence <= through ?? .max
                }
                let wanted = after.filter {
                    selection.streams.contains($0.summary.stream)
                        && (selection.resolutions.isEmpty
                            || selection.resolutions.contains($0.summary.resolutionMs))
                        && (selection.startsMs?.contains($0.summary.startMs) ?? true)
                        && (!selection.newestRevisions || state.isNewest($0.summary))
                }
                if wanted.count > limit {
                    return (Array(wanted.prefix(limit)), wanted[limit - 1].sequence)
                }
                return (wanted, through ?? after.last?.sequence ?? position.sequence)
            }
            reply(found.map { (windows: $0.0, scannedThrough: $0.1) })
        }
    }

    func advance(
        endpoint: String, to position: DeliveryPosition, through: Int64?, parts: Int, samples: Int,
        dead: [DeadLetter], reply: @escaping @Sendable (Bool) -> Void
    ) {
        queue.async { [self] in
            let done = state.withLock { state in
                if state.failingAdvances > 0 {
                    state.failingAdvances -= 1
                    return false
                }
                if let through {
                    let index = state.gaps[endpoint]?.firstIndex { $0.through == through }
                    if let index { state.gaps[endpoint]?[index].after = position }
                    state.gaps[endpoint]?.removeAll(where: \.isClosed)
                } else {
                    state.cursors[endpoint] = position
                }
                state.parts[endpoint, default: 0] += parts
                state.samples[endpoint, default: 0] += samples
                state.dead += dead
                state.advances += 1
                return true
            }
            reply(done)
        }
    }

    func leap(
        endpoint: String, from position: DeliveryPosition, through sequence: Int64,
        reply: @escaping @Sendable (Bool) -> Void
    ) {
        queue.async { [self] in
            let done = state.withLock { state in
                if state.failingAdvances > 0 {
                    state.failingAdvances -= 1
                    return false
                }
                state.gaps[endpoint, default: []].append(DeliveryGap(after: position, through: sequence))
                state.cursors[endpoint] = DeliveryPosition(sequence: sequence, parts: 0)
                return true
            }
            reply(done)
        }
    }

    func split(
        endpoint: String, gapThrough through: Int64, at sequence: Int64,
        reply: @escaping @Sendable (Bool) -> Void
    ) {
        queue.async { [self] in
            let done = state.withLock { state in
                guard let index = state.gaps[endpoint]?.firstIndex(where: { $0.through == through }),
                    let gap = state.gaps[endpoint]?[index]
                else { return false }
                state.gaps[endpoint]?[index].after = DeliveryPosition(sequence: sequence, parts: 0)
                state.gaps[endpoint]?.insert(DeliveryGap(after: gap.after, through: sequence), at: index)
                return true
            }
            reply(done)
        }
    }

    /// Stores events under the next ids, and tells.
    func store(_ events: [Event]) {
        queue.sync {
            let (newest, handlers) = state.withLock { state in
                for event in events {
                    state.events.append(StoredEvent(id: Int64(state.events.count + 1), event: event))
                }
                return (Int64(state.events.count), state.eventHandlers)
            }
            for handler in handlers { handler(newest) }
        }
    }

    func remember(endpoint: String, form: String) { state.withLock { $0.forms[endpoint] = form } }

    func openEventCursor(
        endpoint: String, fromBeginning: Bool, reply: @escaping @Sendable (DeliveryPosition?) -> Void
    ) {
        queue.async { [self] in
            let id = state.withLock { state in
                let start = state.eventCursors[endpoint] ?? (fromBeginning ? 0 : Int64(state.events.count))
                state.eventCursors[endpoint] = start
                return start
            }
            reply(DeliveryPosition(sequence: id, parts: 0))
        }
    }

    func events(
        after id: Int64, selection: EventSelection, limit: Int,
        reply: @escaping @Sendable ((events: [StoredEvent], scannedThrough: Int64)?) -> Void
    ) {
        queue.async { [self] in
            let found: ([StoredEvent], Int64)? = state.withLock { state in
                if state.failingReads > 0 {
                    state.failingReads -= 1
                    return nil
                }
                let wanted = state.events.filter {
                    $0.id > id && selection.streams.contains($0.event.stream)
                        && (selection.kinds.isEmpty || selection.kinds.contains($0.event.kind))
                }
                if wanted.count > limit { return (Array(wanted.prefix(limit)), wanted[limit - 1].id) }
                return (wanted, state.events.last?.id ?? id)
            }
            reply(found.map { (events: $0.0, scannedThrough: $0.1) })
        }
    }

    func advanceEvents(
        endpoint: String, to id: Int64, delivered: Int, dead: [DeadLetter],
        reply: @escaping @Sendable (Bool) -> Void
    ) {
        queue.async { [self] in
            let done = state.withLock { state in
                if state.failingAdvances > 0 {
                    state.failingAdvances -= 1
                    return false
                }
                state.eventCursors[endpoint] = max(id, state.eventCursors[endpoint] ?? 0)
                state.samples[endpoint, default: 0] += delivered
                state.dead += dead
                return true
            }
            reply(done)
        }
    }

    func onEvents(_ handler: @escaping @Sendable (Int64) -> Void) {
        state.withLock { $0.eventHandlers.append(handler) }
    }

    func onCommit(_ handler: @escaping @Sendable (Int64) -> Void) {
        state.withLock { $0.handlers.append(handler) }
    }
}
