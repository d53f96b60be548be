import Synchronization
public import Telemetry

/// The bus of one process: hands each partial to the subscriber on the publishing thread, in order.
///
/// One process is a cluster of one: the same partials go over the network between workers.
public final class EmbeddedBus: PartialBus {
    private final class Handler: Sendable {
        let call: @Sendable (WindowPartial) -> Void
        init(_ call: @escaping @Sendable (WindowPartial) -> Void) { self.call = call }
    }

    /// Set once: shards that publish at the same time need no lock.
    private let handler = AtomicLazyReference<Handler>()

    public init() {}

    /// Partials that are published before anybody has subscribed are lost.
    public func publish(_ partial: WindowPartial) { handler.load()?.call(partial) }

    public func subscribe(_ handler: @escaping @Sendable (WindowPartial) -> Void) {
        let mine = Handler(handler)
        let stored = self.handler.storeIfNil(mine)
        precondition(stored === mine, "a bus has one subscriber")
    }
}
