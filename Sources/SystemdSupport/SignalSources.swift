public import Dispatch
import Glibc
import Synchronization

/// Keeps SIGTERM, SIGINT and SIGHUP for `SignalSources`, and ignores SIGPIPE. Call it first thing in `main`, before
/// anything starts a thread: threads inherit the mask, and a signal that comes too early waits instead of killing.
public func blockSignals() {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in SignalSources.handled { sigaddset(&set, signal) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
    signal(SIGPIPE, SIG_IGN)
}

/// Turns signals into calls on a queue: SIGTERM and SIGINT ask for a drain, SIGHUP for a reload. A second SIGTERM or
/// SIGINT ends the process at once.
public final class SignalSources: Sendable {
    static let handled = [SIGTERM, SIGINT, SIGHUP]

    public enum Request: Sendable, Equatable {
        case stop, reload
    }

    /// What a signal leads to. Pure.
    struct Meaning: Sendable {
        enum Action: Equatable {
            case call(Request)
            case exit(Int32)
        }

        private var stopping = false

        mutating func action(for signal: Int32) -> Action {
            guard signal != SIGHUP else { return .call(.reload) }
            defer { stopping = true }
            // The status that a shell gives a process that a signal ended.
            return stopping ? .exit(128 + signal) : .call(.stop)
        }
    }

    /// A queue of its own, without target: it must run when all other threads are stuck.
    private let listener = DispatchQueue(label: "colossus.signals")
    private let meaning = Mutex(Meaning())
    private let sources = Mutex<[DispatchSource]>([])

    /// Begins to listen. `blockSignals` must have been called.
    ///
    /// - Parameters:
    ///   - queue: where `handler` is called, in the order of the signals.
    ///   - handler: written `{ @Sendable request in … }`.
    public init(queue: DispatchQueue, handler: @escaping @Sendable (Request) -> Void) {
        for number in Self.handled {
            let source = DispatchSource.makeSignalSource(signal: number, queue: listener)
            source.setEventHandler { @Sendable [weak self] in
                switch self?.meaning.withLock({ $0.action(for: number) }) {
                case .call(let request): queue.async { @Sendable in handler(request) }
                case .exit(let status): _exit(status)
                case nil: break
                }
            }
            source.activate()
            if let source = source as? DispatchSource { sources.withLock { $0.append(source) } }
        }
    }

    /// Stops listening; the signals stay blocked.
    public func cancel() {
        sources.withLock { sources in
            for source in sources { source.cancel() }
            sources.removeAll()
        }
    }
}
