import Synchronization
public import Telemetry

/// The bus of one process: hands each partial to the subscriber on the publishing thread, in order.
///
/// One process is a cluster of one: the same partials go over the network between workers.
public final class EmbeddedBus: PartialBus {
    private let handler = Mutex<(@Sendable (WindowPartial) -> Void)?>(nil)

    public init() {}

    /// Partials that are published before anybody has subscribed are lost.
    public func publish(_ partial: WindowPartial) {
        let handler = handler.withLock { $0 }
        handler?(partial)
    }

    /// There is one subscriber: a second takes the place of the first.
    public func subscribe(_ handler: @escaping @Sendable (WindowPartial) -> Void) {
        self.handler.withLock { $0 = handler }
    }
}
