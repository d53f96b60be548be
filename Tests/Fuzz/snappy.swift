import CSnappy
import WireFormats

/// Our decoder against libsnappy: the same blocks are good, and give the same bytes. And what we encode, libsnappy reads.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let block = input(start, count)
    let limit = 1 << 20
    let found: [UInt8]?
    do {
        found = try Snappy.decode(block, limit: limit)
    } catch {
        // libsnappy counts in 32 bits: a literal of 2^32 bytes, which no block can hold, is empty to it.
        let wrapping: [UInt8] = [63 << 2, 0xFF, 0xFF, 0xFF, 0xFF]
        if error.reason == .truncated, block[error.offset...].starts(with: wrapping) { return 0 }
        found = nil
    }
    expect(found == theirs(block, limit), "libsnappy says otherwise")
    let encoded = Snappy.encode(block)
    expect(theirs(encoded, .max) == block, "libsnappy cannot read what we encode")
    expect((try? Snappy.decode(encoded, limit: .max)) == block, "we cannot read what we encode")
    return 0
}

private func theirs(_ block: [UInt8], _ limit: Int) -> [UInt8]? {
    block.withUnsafeBytes { bytes in
        let text = bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
        var length = 0
        // A length that its block cannot have is refused by us before anything else.
        guard snappy_uncompressed_length(text, block.count, &length) == SNAPPY_OK, length <= limit,
            length <= block.count * 22
        else { return nil }
        var output = [CChar](repeating: 0, count: max(length, 1))
        guard snappy_uncompress(text, block.count, &output, &length) == SNAPPY_OK else { return nil }
        return output.prefix(length).map { UInt8(bitPattern: $0) }
    }
}
