/// What is remembered of a line: its id, and a hash of its bytes. The id alone would not do: a run that is played again has
/// the ids of the one before that had its name.
struct WrittenLine: Hashable {
    let id: String
    private let hash: Int

    /// - Parameter bytes: with or without the end of line. The hash is worth something in this process only.
    init(id: String, _ bytes: ArraySlice<UInt8>) {
        self.id = id
        var hasher = Hasher()
        let text = bytes.last == UInt8(ascii: "\n") ? bytes.dropLast() : bytes
        text.withUnsafeBytes { hasher.combine(bytes: $0) }
        hash = hasher.finalize()
    }
}

/// What tells a repeat from a new line, for one lane of an endpoint.
///
/// A lane sends a part again until it knows that the part was written, and then the next one: in one process only its last
/// line can be a repeat. After a start, the lines that it had written last may come again in their order, those of which the
/// history did not learn (more than one after a power failure); the first line that is another one ends that.
struct LineMemory {
    private var last: WrittenLine?
    /// Where in the lines of before a repeat may be; `nil` when none can be.
    private var next: Int?

    /// - Parameter isReplay: it writes what is there once more, because somebody wants that.
    init(isReplay: Bool) { next = isReplay ? nil : 0 }

    /// - Parameter found: the lines of before, oldest first; the same each time.
    mutating func isRepeat(_ line: WrittenLine, of found: [WrittenLine]) -> Bool {
        if line == last { return true }
        guard let next, let index = found[next...].firstIndex(of: line) else { return false }
        self.next = index + 1
        last = line
        return true
    }

    mutating func wrote(_ line: WrittenLine) {
        last = line
        next = nil
    }
}
