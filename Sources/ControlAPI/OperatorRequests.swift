/// Body of `POST /v1/store/backup`.
public struct StoreBackupRequest: Codable, Sendable, Hashable {
    /// Absolute; the service makes it, and overwrites nothing.
    public var file: String

    public init(file: String) { self.file = file }
}

/// Body of `POST /v1/maintenance/start`.
public struct MaintenanceStart: Codable, Sendable, Hashable {
    /// A node, a rack, an array, a hall, the site, or `NODE/ORDINAL` for one GPU.
    public var entity: String
    public var reason: String?
    /// Then it ends by itself; absent: when somebody says so.
    public var until: UTCTime?

    public init(entity: String, reason: String? = nil, until: UTCTime? = nil) {
        self.entity = entity
        self.reason = reason
        self.until = until
    }
}

/// Body of `POST /v1/maintenance/end`.
public struct MaintenanceEnd: Codable, Sendable, Hashable {
    public var entity: String
    public var reason: String?

    public init(entity: String, reason: String? = nil) {
        self.entity = entity
        self.reason = reason
    }
}

/// Whose last sample to look for.
public struct TraceRequest: Sendable, Hashable {
    /// `NODE/ORDINAL`.
    public var gpu: String
    /// By any of its names.
    public var field: String

    public init(gpu: String, field: String) {
        self.gpu = gpu
        self.field = field
    }

    public init(query: QueryString) throws(ControlError) {
        try query.allow(["gpu", "field"])
        guard let gpu = query["gpu"], let field = query["field"] else {
            throw ControlError(
                .badRequest, "gpu or field is missing.",
                hint: "Write gpu=NODE/ORDINAL&field=DCGM_FI_DEV_GPU_TEMP.")
        }
        self.init(gpu: gpu, field: field)
    }

    public var query: QueryString {
        var query = QueryString()
        query.add("gpu", gpu)
        query.add("field", field)
        return query
    }
}
