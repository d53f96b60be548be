/// Who lives, as one member sees it, and how much of the work each should have.
///
/// A member writes its own subject every third of `leaseMs`; whoever's revision stands still for `leaseMs` of the
/// observer's clock is not counted. Two members may disagree for a moment: leases decide, shares only guide.
public struct Membership: Sendable {
    /// What a member says of itself.
    public struct Note: Sendable, Equatable {
        public var incarnation: UInt64
        /// It takes no more work, and gives away what it has.
        public var isDraining: Bool
        /// Leases that it holds.
        public var held: Int

        public init(incarnation: UInt64, isDraining: Bool, held: Int) {
            self.incarnation = incarnation
            self.isDraining = isDraining
            self.held = held
        }

        public var bytes: [UInt8] {
            Array(
                "clsd1 \(String(incarnation, radix: 16)) \(isDraining ? "draining" : "active") \(held)".utf8)
        }

        public init?(_ bytes: [UInt8]) {
            guard bytes.count <= 96, let text = String(validating: bytes, as: UTF8.self) else { return nil }
            let words = text.split(separator: " ", omittingEmptySubsequences: false)
            guard words.count == 4, words[0] == "clsd1", let incarnation = UInt64(words[1], radix: 16),
                words[2] == "draining" || words[2] == "active", let held = Int(words[3]), held >= 0
            else { return nil }
            self.init(incarnation: incarnation, isDraining: words[2] == "draining", held: held)
        }
    }

    public struct Member: Sendable {
        public var note: Note
        var revision: UInt64
        /// When the revision last moved, on the observer's clock.
        public var seenMs: Int64
    }

    /// By name.
    public private(set) var members: [String: Member] = [:]
    private let leaseMs: Int64
    /// Names beyond are not looked at.
    public static let membersMax = 4_096

    public init(leaseMs: Int64) { self.leaseMs = leaseMs }

    public mutating func observe(_ name: String, _ bytes: [UInt8], revision: UInt64, nowMs: Int64) {
        guard let note = Note(bytes) else { return }
        if let known = members[name], known.revision >= revision { return }
        guard members[name] != nil || members.count < Self.membersMax else { return }
        members[name] = Member(note: note, revision: revision, seenMs: nowMs)
    }

    public func isLive(_ name: String, nowMs: Int64) -> Bool {
        members[name].map { nowMs - $0.seenMs < leaseMs } ?? false
    }

    /// Members that live and take work, in the order of their names.
    public func active(nowMs: Int64) -> [String] {
        members.filter { nowMs - $0.value.seenMs < leaseMs && !$0.value.note.isDraining }.keys.sorted()
    }

    /// How many of `total` a member should hold: shares of all members differ by one at most, and add up to `total`.
    /// A member that nobody has heard of yet counts as one more.
    public func share(of name: String, total: Int, nowMs: Int64) -> Int {
        var names = active(nowMs: nowMs)
        if !names.contains(name) { names = (names + [name]).sorted() }
        let place = names.firstIndex(of: name) ?? 0
        return total / names.count + (place < total % names.count ? 1 : 0)
    }
}
