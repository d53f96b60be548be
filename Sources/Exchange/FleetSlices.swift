public import Telemetry

/// How the arrays of a fleet are dealt out: each is in one slice, and a slice has several where there are more arrays
/// than slices. The same on every member that has the same topology.
public struct FleetSlices: Sendable {
    /// Racks of one partition: its finals then stay well below what a broker takes in one message.
    public static let racksPerPartition = 96

    public let count: Int
    private let sliceOfRack: [Int32]

    /// - Parameter slicesMax: at least 1; more are made where a partition's finals would else not fit into messages.
    public init(_ topology: TopologySnapshot, slicesMax: Int) {
        let needed = (topology.count(.rack) + Self.racksPerPartition - 1) / Self.racksPerPartition
        let count = max(1, min(topology.count(.array), max(slicesMax, needed)))
        self.count = count
        sliceOfRack = topology.rackArray.map { $0 % Int32(count) }
    }

    public func slice(ofRack rack: Int32) -> Int { Int(sliceOfRack[Int(rack)]) }

    /// How many partitions are enough.
    public var partitions: Int {
        min(count, max(1, (sliceOfRack.count + Self.racksPerPartition - 1) / Self.racksPerPartition))
    }
}
