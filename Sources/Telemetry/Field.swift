/// Position of a field in `FieldCatalog.all`: dense, for arrays; never stored (the DCGM id is).
public struct FieldIndex: Hashable, Sendable, Comparable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static func < (left: FieldIndex, right: FieldIndex) -> Bool { left.rawValue < right.rawValue }
    public var field: Field { FieldCatalog.all[Int(rawValue)] }
}

/// What a DCGM field is.
public struct Field: Sendable, Hashable {
    public enum Kind: String, Sendable, Hashable {
        case gauge, counter
        /// Keeps its last value until the driver restarts (XID): only its edges mean something.
        case stickyGauge
    }

    /// DCGM's numeric id: stable over all renames, and what is stored.
    public var id: UInt16
    /// The name that most exporters still send.
    public var name: String
    /// Other spellings of the same id (the DCGM 4.6 naming standard).
    public var aliases: [String]
    public var kind: Kind
    public var unit: String
    public var help: String
    /// In dcgm-exporter's default-counters.csv.
    public var isDefault: Bool
}

/// All fields that the service knows.
public enum FieldCatalog {
    public static let all: [Field] = table

    /// The fields that dcgm-exporter sends by default, in the order of their ids.
    public static let defaults: [FieldIndex] = all.indices.filter { all[$0].isDefault }.map { index($0) }

    private static let byName: [String: FieldIndex] = {
        var names: [String: FieldIndex] = [:]
        for (position, field) in all.enumerated() {
            for name in [field.name] + field.aliases { names[name] = index(position) }
        }
        return names
    }()

    private static let byID = Dictionary(uniqueKeysWithValues: all.enumerated().map { ($1.id, index($0)) })

    /// Finds a field by any of its names.
    public static func find(name: String) -> FieldIndex? { byName[name] }

    /// Finds a field by its DCGM id.
    public static func find(id: UInt16) -> FieldIndex? { byID[id] }

    private static func index(_ position: Int) -> FieldIndex { FieldIndex(rawValue: UInt8(position)) }
}

extension FieldIndex {
    /// The well-known fields that code refers to by name.
    public static let powerUsage = known(155)
    public static let gpuUtil = known(203)
    public static let gpuTemp = known(150)
    public static let xidErrors = known(230)

    private static func known(_ id: UInt16) -> FieldIndex {
        guard let index = FieldCatalog.find(id: id) else {
            preconditionFailure("field \(id) is not in the table")
        }
        return index
    }
}
