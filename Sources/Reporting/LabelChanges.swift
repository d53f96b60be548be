/// Labels that an endpoint adds to all that it sends, and names that it writes in another way.
public struct LabelChanges: Sendable, Hashable {
    /// With these values.
    public var added: [String: String]
    /// From our name to the one that is written.
    public var renamed: [String: String]

    /// The labels that we make ourselves.
    public static let own: Set<String> = [
        "site", "hall", "array", "rack", "node", "job", "colossus_stream", "resolution",
    ]
    /// What else alerts have.
    public static let ofAlerts: Set<String> = [
        "alertname", "severity", "level", "endpoint", "rule", "xid_class",
    ]
    public static let addedMax = 16
    public static let nameBytesMax = 64
    public static let valueBytesMax = 256

    public init(added: [String: String] = [:], renamed: [String: String] = [:]) {
        self.added = added
        self.renamed = renamed
    }

    public var isEmpty: Bool { added.isEmpty && renamed.isEmpty }

    /// What is wrong, in a sentence each.
    public var problems: [String] {
        var found: [String] = []
        if added.count > Self.addedMax { found.append("more than \(Self.addedMax) labels are added") }
        for name in added.keys.sorted() + renamed.values.sorted() where !Self.isName(name) {
            found.append("`\(name)` is no label: a-z, or _ and a-z, and then letters, digits and _")
        }
        for name in renamed.keys.sorted() where !Self.own.contains(name) && !Self.ofAlerts.contains(name) {
            found.append("there is no label `\(name)` to rename")
        }
        for (name, value) in added.sorted(by: { $0.key < $1.key })
        where value.isEmpty || value.utf8.count > Self.valueBytesMax
            || value.utf8.contains(where: { $0 < 0x20 })
        {
            found.append("the value of label `\(name)` must be 1 to 256 bytes without control characters")
        }
        let kept = Self.own.subtracting(renamed.keys)
        let all = Array(kept) + Array(added.keys) + Array(renamed.values)
        let twice = Set(all.filter { name in all.count { $0 == name } > 1 })
        for name in twice.sorted() { found.append("label `\(name)` would be there twice") }
        return found
    }

    /// Renamed, and with the added ones: sorted by name.
    func applied(to place: [(name: String, value: String)]) -> [(name: String, value: String)] {
        var all = place.map { (name: renamed[$0.name] ?? $0.name, value: $0.value) }
        all += added.map { (name: $0.key, value: $0.value) }
        return all.sorted { $0.name < $1.name }
    }

    func name(_ own: String) -> String { renamed[own] ?? own }

    /// The most bytes that these changes add to an entity.
    var bytesMax: Int {
        added.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count + 16 }
            + renamed.reduce(0) { $0 + $1.value.utf8.count }
    }

    /// In the order of their names: decides where parts end.
    var cut: String {
        (added.sorted { $0.key < $1.key } + renamed.sorted { $0.key < $1.key })
            .map { "\($0.key)=\($0.value)" }.joined(separator: ",")
    }

    /// `__name__` has to stay the first in order: hence no capital and no digit where it has its `__`.
    private static func isName(_ name: String) -> Bool {
        guard let first = name.utf8.first, name.utf8.count <= nameBytesMax, !name.hasPrefix("__") else {
            return false
        }
        func isLower(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z") }
        guard
            isLower(first) || first == UInt8(ascii: "_") && name.utf8.dropFirst().first.map(isLower) ?? false
        else { return false }
        return name.utf8.allSatisfy { byte in
            isLower(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "_")
        }
    }
}
