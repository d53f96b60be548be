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

    public init(files: [String] = [], changed: [String] = [], needRestart: [String] = []) {
        self.files = files
        self.changed = changed
        self.needRestart = needRestart
    }
}
