/// What the broker has refused on this connection, for people.
struct NATSRefusals {
    /// What is asked for again and again is refused as often, so that a word of a while ago is over.
    static let lastsMs: Int64 = 30_000

    private(set) var count: UInt64 = 0
    private var last: (text: String, untilMs: Int64)?
    /// Whoever may not listen is told once a connection.
    private var listening: String?

    mutating func add(_ text: String, isListening: Bool, nowMs: Int64) {
        count += 1
        if isListening { listening = text } else { last = (text, nowMs + Self.lastsMs) }
    }

    /// The next connection says anew what may not be listened to.
    mutating func connectionLost() { listening = nil }

    /// One does not hide the other; `nil` when nothing is refused.
    func words(nowMs: Int64) -> String? {
        let recent = last.flatMap { nowMs < $0.untilMs ? $0.text : nil }
        let all = [listening, recent].compactMap { $0 }
        return all.isEmpty ? nil : all.joined(separator: "; ")
    }
}
