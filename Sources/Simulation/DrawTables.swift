import CDraws

/// What `FleetLaw` says of a failure once it is drawn, for the words of the draw: plain tables, so that the processor waits for
/// nothing but the one value that it needs.
struct DrawTables: Sendable {
    /// For each of 1,024 slices of all words the cause at which to begin to look, and the first word of the next cause.
    private let guide: [UInt8]
    private let bounds: [UInt64]
    /// Where the quantiles of each cause's repairs begin among those of all.
    private let firstKnot: [Int]
    private let quantiles: [Double]
    let repairs: [RepairTable]
    private let repairOf: [Int]
    let passesAny: Bool
    let passedLog: Double

    init(_ law: FleetLaw) {
        guide = law.guide
        bounds = law.bounds.map(Self.firstWord)
        repairs = law.repairs
        repairOf = law.causes.map(\.repair)
        firstKnot = law.causes.map { (RepairTable.knots + 1) * $0.repair }
        quantiles = law.repairs.flatMap(\.quantiles)
        passesAny = law.rejectedShare < 1
        passedLog = law.passedLog
    }

    /// The first word whose uniform number is not below that bound.
    private static func firstWord(_ bound: Double) -> UInt64 {
        guard bound <= 1 else { return .max }
        var word = UInt64(bound * 0x1p32)
        while word > 0, (Double(word - 1) + 0.5) * 0x1p-32 >= bound { word -= 1 }
        while (Double(word) + 0.5) * 0x1p-32 < bound { word += 1 }
        return word
    }

    /// The cause that the word stands for: `FleetLaw.cause` of its uniform number.
    @inline(__always)
    func cause(_ word: UInt32) -> Int {
        let bounds = bounds.span
        var index = Int(guide.span[unchecked: Int(word >> 22)])
        // Few slices have more than one bound: a sum instead of a branch that nobody could predict.
        index &+= UInt64(word) >= bounds[unchecked: index] ? 1 : 0
        while UInt64(word) >= bounds[unchecked: index] { index &+= 1 }
        return index
    }

    /// How long a node is in repair after that cause: `RepairTable.milliseconds`.
    @inline(__always)
    func repairMs(_ cause: Int, _ word: UInt32) -> Int64 {
        let knot = Int(word >> 20)
        guard (16..<(RepairTable.knots - 16)).contains(knot) else {
            return repairs[repairOf[cause]].milliseconds(word)
        }
        let quantiles = quantiles.span
        let place = firstKnot.span[unchecked: cause] &+ knot
        let left = quantiles[unchecked: place]
        let share = (Double(word & 0xf_ffff) + 0.5) * 0x1p-20
        return cdraws_whole(left + share * (quantiles[unchecked: place &+ 1] - left))
    }
}
