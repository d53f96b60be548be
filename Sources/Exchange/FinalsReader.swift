import Telemetry

/// What finals are read into.
protocol FinalsBook: Sendable {
    /// There is no room for more, and something is on its way that makes room: reading rests until then.
    var isFull: Bool { get }
    mutating func add(_ message: StoredMessage)
    /// Finals from this sequence on are wanted again, because there is room now for what there was none for; each is told
    /// once.
    mutating func takeReread() -> UInt64?
}

/// Reads a cluster's finals into a book: opens their stream, opens it again where it has ended, rests while the book is
/// full, and stops. Deliveries may come on any thread and from within a call to the bus; the book is touched by one at a
/// time.
final class FinalsReader<Book: FinalsBook>: Sendable {
    private struct State {
        var reading: FinalsReading
        var book: Book
        var cursor: (any BusCursor)?
    }

    private let bus: any Bus
    private let filter: Subject
    private let state: Locked<State>

    /// - Parameter sequence: of the first final that is wanted.
    init(_ book: Book, of fleet: FleetMap, from sequence: UInt64, bus: any Bus) {
        self.bus = bus
        filter = fleet.finalSubjects
        state = Locked(State(reading: FinalsReading(from: sequence), book: book))
    }

    /// Looks at the book and at where reading stands, between two deliveries. `body` must not call the reader.
    func withBook<Value>(_ body: (inout Book, FinalsReading) -> Value) -> Value {
        state.withLock { body(&$0.book, $0.reading) }
    }

    /// Again and again: opens the stream when it is time to.
    ///
    /// - Parameter then: called after each delivery of this opening, and only while it is the current one.
    func tick(then: @escaping @Sendable () -> Void) {
        let opening = state.withLock { state -> FinalsReading.Opening? in
            if let again = state.book.takeReread() {
                state.reading.reread(from: again)
            } else if !state.book.isFull {
                state.reading.wake()
            }
            return state.reading.open()
        }
        guard let opening else { return }
        let cursor = bus.open(.finals, filter, from: .sequence(opening.sequence)) { [weak self] delivery in
            self?.take(delivery, opening.number, then)
        }
        // What came within the call may have ended it; and somebody may have stopped meanwhile.
        let unwanted = state.withLock { state -> (any BusCursor)? in
            guard state.reading.isCurrent(opening.number) else { return cursor }
            defer { state.cursor = cursor }
            return state.cursor
        }
        unwanted?.close()
    }

    /// Nothing is added to the book any more when this returns.
    func stop() {
        let cursor = state.withLock { state in
            state.reading.stop()
            defer { state.cursor = nil }
            return state.cursor
        }
        cursor?.close()
    }

    private func take(_ delivery: BusDelivery, _ number: Int, _ then: () -> Void) {
        let isCurrent = state.withLock { state in
            guard state.reading.isCurrent(number) else { return false }
            switch delivery {
            case .messages(let messages):
                for message in messages {
                    state.book.add(message)
                    state.reading.pass(message.sequence)
                }
            case .ended: state.reading.end(number)
            }
            return true
        }
        guard isCurrent else { return }
        then()
        rest(number)
    }

    private func rest(_ number: Int) {
        let cursor = state.withLock { state -> (any BusCursor)? in
            guard state.book.isFull, state.reading.rest(number) else { return nil }
            defer { state.cursor = nil }
            return state.cursor
        }
        cursor?.close()
    }
}
