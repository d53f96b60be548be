/// `colossusctl config check`: what is wrong with a configuration, with places.
public struct ConfigCheckReply: Reply, Hashable {
    public static let schemaName = "colossus.config_check/v1"

    public var schema: String = Self.schemaName
    public var path: String
    public var ok: Bool
    /// `FILE:LINE:COL: what, and what was expected`.
    public var problems: [String]
    public var warnings: [String]

    public init(path: String, problems: [String] = [], warnings: [String] = []) {
        self.path = path
        ok = problems.isEmpty
        self.problems = problems
        self.warnings = warnings
    }
}

/// `colossusctl reload`: the new configuration is in force when this arrives. A bad one is a `ControlError` with the
/// code `bad_configuration`, and the old one stays in force.
public struct ReloadReply: Reply, Hashable {
    public static let schemaName = "colossus.reload/v1"

    public var schema: String = Self.schemaName
    /// Files that were read.
    public var files: [String]
    /// Keys whose new values are in force.
    public var changed: [String]
    /// Keys that changed in the files, but need a restart.
    public var needRestart: [String]
    /// Absent when no node has moved, gone or come back.
    public var inventory: InventoryChange?

    public init(files: [String] = [], changed: [String] = [], needRestart: [String] = []) {
        self.files = files
        self.changed = changed
        self.needRestart = needRestart
    }
}

/// `colossusctl config show`: what a configuration comes to, key by key.
public struct ConfigReply: Reply, Hashable {
    public static let schemaName = "colossus.config/v1"

    public var schema: String = Self.schemaName
    /// The first file; those of conf.d stand with their keys.
    public var path: String
    public var entries: [ConfigEntry]
    /// Keys that are changed in the files, but need a restart.
    public var needRestart: [String]?

    public init(path: String, entries: [ConfigEntry], needRestart: [String]? = nil) {
        self.path = path
        self.entries = entries
        self.needRestart = needRestart
    }
}

public struct ConfigEntry: Codable, Sendable, Hashable {
    /// `windows.lateness`; entries of lists go by name: `endpoints.archive.kind`.
    public var key: String
    public var value: String
    /// The file that says so; absent for a default.
    public var file: String?

    public init(key: String, value: String, file: String? = nil) {
        self.key = key
        self.value = value
        self.file = file
    }
}

/// `colossusctl config diff`: what the files say against what the daemon runs on.
public struct ConfigDiffReply: Reply, Hashable {
    public static let schemaName = "colossus.config_diff/v1"

    public var schema: String = Self.schemaName
    public var path: String
    public var differences: [Difference]

    public struct Difference: Codable, Sendable, Hashable {
        public var key: String
        /// Absent where only the other side has the key.
        public var running: String?
        public var file: String?
        /// `reload` or `restart`.
        public var needs: String
    }

    public init(path: String, running: [ConfigEntry], file: [ConfigEntry]) {
        self.path = path
        let old = Dictionary(running.map { ($0.key, $0.value) }) { $1 }
        let new = Dictionary(file.map { ($0.key, $0.value) }) { $1 }
        let keys = file.map(\.key) + running.map(\.key).filter { new[$0] == nil }
        differences = keys.filter { old[$0] != new[$0] }.map {
            Difference(key: $0, running: old[$0], file: new[$0], needs: Self.needs($0))
        }
    }

    /// What a change of the key needs to take effect.
    public static func needs(_ key: String) -> String {
        let reloaded = [
            "alerts", "endpoints", "ingest.tls", "ingest.tokens", "inventory.file", "log",
            "store.undelivered_keep", "web.tls", "web.tokens",
        ]
        return reloaded.contains { key == $0 || key.hasPrefix($0 + ".") } ? "reload" : "restart"
    }
}

/// `colossusctl config explain`: what keys mean.
public struct ConfigExplainReply: Reply, Hashable {
    public static let schemaName = "colossus.config_explain/v1"

    public var schema: String = Self.schemaName
    public var keys: [Key]

    public struct Key: Codable, Sendable, Hashable {
        public var key: String
        /// Absent where there is none.
        public var standard: String?
        /// Of a key without a default.
        public var example: String?
        public var meaning: String
        /// `reload` or `restart`.
        public var needs: String

        public init(key: String, standard: String?, example: String?, meaning: String) {
            self.key = key
            self.standard = standard
            self.example = example
            self.meaning = meaning
            needs = ConfigDiffReply.needs(key)
        }
    }

    public init(keys: [Key]) { self.keys = keys }
}

/// Body of `POST /v1/log-level`.
public struct LogLevelChange: Codable, Sendable, Hashable {
    /// `trace`, `debug`, `info`, `notice`, `warning`, `error` or `critical`; of a subsystem also absent: as the others.
    public var level: String?
    /// Absent: all that have no level of their own.
    public var subsystem: String?

    public init(level: String?, subsystem: String? = nil) {
        self.level = level
        self.subsystem = subsystem
    }
}

/// `colossusctl log-level`: from which level on things are logged now.
public struct LogLevelReply: Reply, Hashable {
    public static let schemaName = "colossus.log_level/v1"

    public var schema: String = Self.schemaName
    public var level: String
    /// Subsystems that have a level of their own.
    public var subsystems: [String: String]
    /// Entries that were held back since the process began, because too many of a kind came.
    public var heldBack: Int

    public init(level: String, subsystems: [String: String], heldBack: Int) {
        self.level = level
        self.subsystems = subsystems
        self.heldBack = heldBack
    }
}

/// `colossusctl config explain --cost`: what a configuration costs with a fleet.
public struct ConfigCostReply: Reply, Hashable {
    public static let schemaName = "colossus.config_cost/v1"

    public var schema: String = Self.schemaName
    public var path: String
    public var fleet: Fleet
    public var series: Int64 = 0
    /// Received.
    public var samplesPerSecond: Double = 0
    /// Of the core, for its series.
    public var memoryBytes: Int64 = 0
    /// Of the measured stream: finest windows first, levels from the node up.
    public var store: [Row] = []
    public var bytesPerDay: Int64 = 0
    /// What the history grows to, unless `store.bytes_max` is less.
    public var keptBytes: Int64 = 0
    public var bytesMax: Int64 = 0
    public var endpoints: [Rate] = []
    /// Plain sentences about what does not fit.
    public var warnings: [String] = []

    public struct Fleet: Codable, Sendable, Hashable {
        public var gpus: Int
        public var nodes: Int
        public var racks: Int
        public var arrays: Int
        public var halls: Int
        public var fields: Int
        /// Between two samples of a series.
        public var intervalSeconds: Double

        public init(
            gpus: Int, nodes: Int, racks: Int, arrays: Int, halls: Int, fields: Int, intervalSeconds: Double
        ) {
            self.gpus = gpus
            self.nodes = nodes
            self.racks = racks
            self.arrays = arrays
            self.halls = halls
            self.fields = fields
            self.intervalSeconds = intervalSeconds
        }
    }

    public struct Row: Codable, Sendable, Hashable {
        public var level: String
        /// `10s`
        public var resolution: String
        public var rowsPerDay: Int64
        public var bytesPerDay: Int64
        /// Once windows are let go as fast as they come.
        public var keptBytes: Int64

        public init(
            level: String, resolution: String, rowsPerDay: Int64, bytesPerDay: Int64, keptBytes: Int64
        ) {
            self.level = level
            self.resolution = resolution
            self.rowsPerDay = rowsPerDay
            self.bytesPerDay = bytesPerDay
            self.keptBytes = keptBytes
        }
    }

    public struct Rate: Codable, Sendable, Hashable {
        public var name: String
        public var kind: String
        /// Numbers, averaged over the longest window.
        public var samplesPerSecond: Double
        public var requestsPerSecond: Double

        public init(name: String, kind: String, samplesPerSecond: Double, requestsPerSecond: Double) {
            self.name = name
            self.kind = kind
            self.samplesPerSecond = samplesPerSecond
            self.requestsPerSecond = requestsPerSecond
        }
    }

    public init(path: String, fleet: Fleet) {
        self.path = path
        self.fleet = fleet
    }
}
