/// `colossusctl inventory`: where nodes stand, now or in the windows of some time.
public struct InventoryReply: Reply, Hashable {
    public static let schemaName = "colossus.inventory/v1"

    public var schema: String = Self.schemaName
    public var stream: String
    /// Grows whenever the fleet changes; windows keep the one that they were closed with.
    public var version: Int
    /// End of the window whose fleet this is; absent: as it is now.
    public var windowEnd: UTCTime?
    public var site: String
    /// By hall, array, rack and name.
    public var nodes: [InventoryRow]
    /// Nodes in all, before the limit.
    public var nodesInAll: Int
    /// GPUs of those.
    public var gpusInAll: Int
    /// There are more nodes than the limit lets through.
    public var truncated: Bool?

    public init(stream: String, version: Int, site: String, nodes: [InventoryRow] = []) {
        self.stream = stream
        self.version = version
        self.site = site
        self.nodes = nodes
        nodesInAll = nodes.count
        gpusInAll = nodes.reduce(0) { $0 + $1.gpus }
    }
}

public struct InventoryRow: Codable, Sendable, Hashable {
    public var node: String
    public var rack: String
    public var array: String
    public var hall: String
    public var model: String?
    /// Of which something was heard.
    public var gpus: Int
    public var standing: Standing

    /// Who says that it belongs to the fleet: the inventory, or its telemetry. `removed`: an inventory had it and the one
    /// after had not; nobody waits for it.
    public enum Standing: String, Codable, Sendable, Hashable { case listed, heard, removed }

    public init(
        node: String, rack: String, array: String, hall: String, model: String? = nil, gpus: Int,
        standing: Standing
    ) {
        self.node = node
        self.rack = rack
        self.array = array
        self.hall = hall
        self.model = model
        self.gpus = gpus
        self.standing = standing
    }
}

/// What a reload's inventory has changed in the fleet.
public struct InventoryChange: Codable, Sendable, Hashable {
    /// Nodes that stand elsewhere now.
    public var moved: Int
    /// Nodes that the file has not any more.
    public var removed: Int
    /// Removed ones that it has again.
    public var returned: Int

    public init(moved: Int, removed: Int, returned: Int) {
        self.moved = moved
        self.removed = removed
        self.returned = returned
    }
}
