/// What a lease's subject holds: who has it and since when, in a line that any tool of the broker shows.
///
/// `clsd1 OWNER EPOCH`: the owner's incarnation in hexadecimal (0: released), and the epoch of its acquisition (0 while
/// the acquisition itself makes it).
public struct LeaseValue: Sendable, Equatable {
    public var owner: UInt64
    public var epoch: UInt64

    public static let released = LeaseValue(owner: 0, epoch: 0)

    public init(owner: UInt64, epoch: UInt64) {
        self.owner = owner
        self.epoch = epoch
    }

    public var bytes: [UInt8] { Array("clsd1 \(String(owner, radix: 16)) \(epoch)".utf8) }

    /// `nil` for anything else; at most 64 bytes are looked at.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count <= 64, let text = String(validating: bytes, as: UTF8.self) else { return nil }
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, words[0] == "clsd1", let owner = UInt64(words[1], radix: 16),
            let epoch = UInt64(words[2])
        else { return nil }
        self.owner = owner
        self.epoch = epoch
    }
}
