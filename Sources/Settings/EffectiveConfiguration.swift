import Yams

/// What a configuration comes to, key by key: defaults, with the files laid over them.
public struct EffectiveConfiguration: Sendable, Hashable {
    public struct Entry: Sendable, Hashable {
        /// `windows.lateness`; entries of lists go by name: `endpoints.archive.kind`.
        public var key: String
        public var value: String
        /// The file that says so; empty for a default.
        public var file: String

        public init(key: String, value: String, file: String = "") {
            self.key = key
            self.value = value
            self.file = file
        }
    }

    /// In the order of the commented configuration, then in the order of the files.
    public private(set) var entries: [Entry] = []

    public init(entries: [Entry]) { self.entries = entries }

    /// Reads the configuration as `loadSettings` does, and throws what it throws.
    public init(path: String) throws(SettingsFailure) {
        _ = try loadSettings(path: path)
        try StrictYAML.decode(ConfigurationGuide.text, file: "defaults") { root -> Void? in
            lay(root.node, over: "", file: "")
        }
        for file in [path] + (try SettingsFiles.drops(beside: path)) {
            try StrictYAML.decode(file: file) { root -> Void? in lay(root.node, over: "", file: file) }
        }
    }

    /// The lists whose entries are merged by name, with the key that has the name.
    private static let named = ["simulations": "run", "endpoints": "name", "alerts.rules": "name"]
    /// Mappings that a later file replaces as a whole.
    private static let whole: Set<String> = ["store.retention", "ingest.tokens", "web.tokens"]

    private mutating func lay(_ node: Node, over key: String, file: String) {
        switch node {
        case .mapping(let mapping) where !isWhole(key):
            for (name, value) in mapping {
                guard let name = name.scalar?.string else { continue }
                lay(value, over: key.isEmpty ? name : key + "." + name, file: file)
            }
        case .sequence(let list) where Self.named[key] != nil:
            let naming = Self.named[key] ?? ""
            for entry in list {
                guard let name = entry.mapping?[naming]?.scalar?.string else { continue }
                // An entry that has no more than a name says nothing new.
                lay(entry, over: key + "." + name, file: file)
            }
        default: set(key, Self.text(node), file)
        }
    }

    private func isWhole(_ key: String) -> Bool {
        Self.whole.contains(key) || key.hasPrefix("endpoints.") && key.hasSuffix(".headers")
            || key.hasPrefix("alerts.rules.") && (key.hasSuffix(".labels") || key.hasSuffix(".annotations"))
    }

    private mutating func set(_ key: String, _ value: String, _ file: String) {
        let entry = Entry(key: key, value: value, file: file)
        if let known = entries.firstIndex(where: { $0.key == key }) {
            entries[known] = entry
        } else {
            entries.append(entry)
        }
    }

    /// A value on one line, as YAML writes it.
    private static func text(_ node: Node) -> String {
        switch node {
        case .scalar(let scalar): scalar.string.isEmpty ? "\"\"" : scalar.string
        case .sequence(let list): "[" + list.map(text).joined(separator: ", ") + "]"
        case .mapping(let mapping):
            "{" + mapping.map { text($0.key) + ": " + text($0.value) }.joined(separator: ", ") + "}"
        case .alias: "*"
        }
    }
}
