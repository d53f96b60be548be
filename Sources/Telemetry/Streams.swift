/// The streams of this process: numbers for hot structures, names and topologies for everybody else.
public final class Streams: Sendable {
    private struct Entry {
        var id: StreamID
        var topology: Topology
    }

    private let entries = Locked<[Entry]>([])

    public init() {}

    /// The number of a stream; a known one keeps its number and its topology.
    @discardableResult
    public func open(_ id: StreamID, site: String) -> StreamIndex { open(id) { Topology(site: site) } }

    /// The same for a stream that goes on after a restart, with the fleet that was kept.
    @discardableResult
    public func open(_ id: StreamID, restoring snapshot: TopologySnapshot) -> StreamIndex {
        open(id) { Topology(restoring: snapshot) }
    }

    private func open(_ id: StreamID, topology: () -> Topology) -> StreamIndex {
        entries.withLock { entries in
            if let known = entries.firstIndex(where: { $0.id == id }) {
                return StreamIndex(rawValue: UInt16(known))
            }
            entries.append(Entry(id: id, topology: topology()))
            return StreamIndex(rawValue: UInt16(entries.count - 1))
        }
    }

    public func id(_ index: StreamIndex) -> StreamID { entries.withLock { $0[Int(index.rawValue)].id } }
    public func topology(_ index: StreamIndex) -> Topology {
        entries.withLock { $0[Int(index.rawValue)].topology }
    }

    public func find(_ id: StreamID) -> StreamIndex? {
        entries.withLock { entries in
            entries.firstIndex { $0.id == id }.map { StreamIndex(rawValue: UInt16($0)) }
        }
    }

    public var all: [StreamID] { entries.withLock { $0.map(\.id) } }
}
