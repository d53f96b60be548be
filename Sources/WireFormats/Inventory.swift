public import Telemetry

/// Where the nodes of a site stand, as a file says it:
///
///     node,rack,array,hall,model
///     r07-n21,r07,a1,h1,"NVIDIA H100 80GB HBM3"
///
/// The header is required and names the columns, in any order; `node` must be there. Fields may stand in double
/// quotes (`""` is a quote inside of them). Empty lines and lines that start with `#` say nothing.
public struct Inventory: Sendable, Equatable {
    /// In the order of the file.
    public private(set) var nodes: [String] = []
    public private(set) var placements: [String: Placement] = [:]

    /// More nodes than that are an error.
    public static let nodesMax = 1_000_000
    public static let columns = ["node", "rack", "array", "hall", "model"]

    public init() {}

    /// Reads a file. The error tells the line.
    public init(csv: String) throws(LineError) {
        var header: [String]?
        var seen: [String: Int] = [:]
        let text = csv.hasPrefix("\u{FEFF}") ? csv.dropFirst() : Substring(csv)
        var number = 0
        for bytes in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            let line = Self.trimmed(Substring(bytes))
            if line.isEmpty || line.hasPrefix("#") { continue }
            let fields = try Self.fields(line, number)
            guard let columns = header else {
                header = try Self.checked(header: fields, number)
                continue
            }
            guard fields.count == columns.count else {
                let what = "\(fields.count) fields, and the header has \(columns.count)"
                throw LineError(line: number, what: what)
            }
            try add(Dictionary(uniqueKeysWithValues: zip(columns, fields)), number, &seen)
        }
        guard header != nil else {
            throw LineError(
                line: 1, what: "the header is missing; expected \(Self.columns.joined(separator: ","))")
        }
    }

    /// Where a node stands: the file's word where it says something, else that of the labels.
    public func placement(of node: String, labels: Placement) -> Placement {
        guard var place = placements[node] else { return labels }
        if place.rack == Placement.unassigned { place.rack = labels.rack }
        if place.array == Placement.unassigned { place.array = labels.array }
        if place.hall == Placement.unassigned { place.hall = labels.hall }
        if place.model.isEmpty { place.model = labels.model }
        return place
    }

    private mutating func add(
        _ row: [String: String], _ number: Int, _ seen: inout [String: Int]
    ) throws(LineError) {
        let node = row["node"] ?? ""
        guard !node.isEmpty else { throw LineError(line: number, what: "the node has no name") }
        if let first = seen[node] {
            throw LineError(line: number, what: "node `\(node)` is in line \(first) already")
        }
        guard nodes.count < Self.nodesMax else {
            throw LineError(line: number, what: "more than \(Self.nodesMax) nodes")
        }
        seen[node] = number
        nodes.append(node)
        placements[node] = Placement(
            rack: row["rack"] ?? "", array: row["array"] ?? "", hall: row["hall"] ?? "",
            model: row["model"] ?? "")
    }

    private static func checked(header fields: [String], _ number: Int) throws(LineError) -> [String] {
        for (position, name) in fields.enumerated() {
            guard columns.contains(name) else {
                let expected = columns.joined(separator: ",")
                throw LineError(line: number, what: "unknown column `\(name)`; the header is \(expected)")
            }
            guard fields.firstIndex(of: name) == position else {
                throw LineError(line: number, what: "column `\(name)` is there twice")
            }
        }
        guard fields.contains("node") else {
            throw LineError(line: number, what: "the header has no column `node`")
        }
        return fields
    }

    private static func fields(_ line: Substring, _ number: Int) throws(LineError) -> [String] {
        var fields: [String] = []
        var rest = line
        while true {
            let (field, isLast) = try next(&rest, number)
            fields.append(field)
            if isLast { return fields }
        }
    }

    /// Takes one field and the comma behind it.
    private static func next(
        _ rest: inout Substring, _ number: Int
    ) throws(LineError) -> (field: String, isLast: Bool) {
        let piece = rest.drop { $0 == " " || $0 == "\t" }
        guard piece.first == "\"" else {
            let end = rest.firstIndex(of: ",") ?? rest.endIndex
            let field = String(trimmed(rest[..<end]))
            guard !field.contains("\"") else {
                throw LineError(
                    line: number, what: "a double quote inside of a field that does not start with one")
            }
            let isLast = end == rest.endIndex
            rest = isLast ? rest[end...] : rest[rest.index(after: end)...]
            return (field, isLast)
        }
        var field = ""
        var index = piece.index(after: piece.startIndex)
        while index < piece.endIndex {
            let character = piece[index]
            index = piece.index(after: index)
            if character != "\"" {
                field.append(character)
            } else if index < piece.endIndex, piece[index] == "\"" {
                field.append(character)
                index = piece.index(after: index)
            } else {
                rest = piece[index...].drop { $0 == " " || $0 == "\t" }
                if rest.isEmpty { return (field, true) }
                guard rest.removeFirst() == "," else {
                    throw LineError(line: number, what: "a comma was expected after the closing double quote")
                }
                return (field, false)
            }
        }
        throw LineError(line: number, what: "a field has no closing double quote")
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while let last = text.utf8.last, isBlank(last) { text = Substring(text.utf8.dropLast()) }
        while let first = text.utf8.first, isBlank(first) { text = Substring(text.utf8.dropFirst()) }
        return text
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
    }
}

extension Topology {
    /// Has the nodes stand as an inventory says. Without one they stay where they are, and none is listed or removed.
    @discardableResult
    public func arrange(as inventory: Inventory?) -> FleetChange {
        guard let inventory else { return unlist() }
        return arrange { node, now in
            inventory.placements[node] == nil ? nil : inventory.placement(of: node, labels: now)
        }
    }
}
