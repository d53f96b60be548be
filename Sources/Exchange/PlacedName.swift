import Telemetry

/// Names of the groups of ingested telemetry. They say where a rack or node stands, for each worker learns its part of
/// the fleet by itself, and a reporter has no other source.
enum PlacedName {
    private static let separator: Character = "\u{0}"

    static func rack(hall: String, array: String, rack: String) -> String {
        joined([hall, array, rack])
    }

    static func node(_ name: String, rack: String, model: String) -> String {
        rack + "\u{0}" + joined([model, name])
    }

    /// A node's name and its place; `nil` for what is none.
    static func node(_ text: String) -> (name: String, place: Placement, rack: String)? {
        let parts = text.split(separator: separator, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 5, !parts[4].isEmpty else { return nil }
        let place = Placement(rack: parts[2], array: parts[1], hall: parts[0], model: parts[3])
        return (parts[4], place, rack(hall: parts[0], array: parts[1], rack: parts[2]))
    }

    /// The rack's name of a rack or node: its first three parts.
    static func rack(of text: String) -> Substring {
        var seen = 0
        let end = text.firstIndex { letter in
            if letter == separator { seen += 1 }
            return seen == 3
        }
        return text[..<(end ?? text.endIndex)]
    }

    /// Nobody's name has the separator in it.
    private static func joined(_ parts: [String]) -> String {
        parts.map { $0.contains(separator) ? $0.replacing("\u{0}", with: "?") : $0 }.joined(
            separator: "\u{0}")
    }
}

extension FleetMap {
    /// The slice of an array of ingested telemetry, or of a rack of which no array is known: the same on every worker that
    /// hears of it.
    func slice(hall: String, array: String, rack: String = "") -> Int {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        let place = array == Placement.unassigned ? "\(array)\u{0}\(rack)" : array
        for byte in "\(hall)\u{0}\(place)".utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return Int(hash % UInt64(slices))
    }
}
