/// One clock, one registry, one set of windows.
///
/// Every batch, summary, event, ledger line and cursor belongs to exactly one stream, and nothing is ever merged
/// across streams: a build of 2024 that is simulated at a day a second and today's real cluster live side by side.
public struct StreamID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// `measured`, `sim/RUN`, or `ingested`.
    public let name: String

    /// Real telemetry, on the wall clock.
    public static let measured = StreamID(unchecked: "measured")

    /// Real telemetry that this member of a cluster receives and shares: its windows go to the brokers, and come back
    /// in `measured`, put together with those of the others. In a store it has places and counters, and no columns.
    public static let ingested = StreamID(unchecked: "ingested")

    /// A simulated run, on the clock of its ticks.
    ///
    /// - Parameter run: 1 to 64 characters out of `a-z A-Z 0-9 . _ -`; anything else gives `nil`.
    public static func simulated(run: String) -> StreamID? {
        isRunName(run) ? StreamID(unchecked: "sim/" + run) : nil
    }

    /// Reads a stream's name as it is printed; `nil` for anything else.
    public init?(_ name: String) {
        if name == StreamID.measured.name {
            self = .measured
        } else if name == StreamID.ingested.name {
            self = .ingested
        } else if name.hasPrefix("sim/"), let stream = StreamID.simulated(run: String(name.dropFirst(4))) {
            self = stream
        } else {
            return nil
        }
    }

    /// The run's name, or `nil` for real telemetry.
    public var run: String? { isSimulated ? String(name.dropFirst(4)) : nil }
    public var isSimulated: Bool { self != .measured && self != .ingested }
    public var description: String { name }

    public static func < (left: StreamID, right: StreamID) -> Bool { left.name < right.name }

    public static func isRunName(_ text: String) -> Bool {
        let allowed = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "-"):
                return true
            default:
                return false
            }
        }
        return allowed && (1...64).contains(text.utf8.count)
    }

    private init(unchecked name: String) { self.name = name }
}
