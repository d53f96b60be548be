import CZlib
import CZstd
import NIOCore
import WireFormats

/// How a body is compressed.
enum BodyEncoding: String, CaseIterable {
    case snappy, gzip, zstd, identity
}

/// Unpacks bodies, one after another, into a buffer that is used again. Whatever a body claims, no more than the limit
/// is ever unpacked.
struct BodyUnpacker: ~Copyable {
    enum Failure: Error {
        case tooLarge
        /// What is wrong, as the end of a sentence.
        case corrupt(String)
    }

    /// The last body; what follows its end is arbitrary.
    private(set) var bytes: [UInt8] = []
    private let limit: Int
    private var zstd: OpaquePointer?

    /// Buffers that had to grow beyond this are given back after the request.
    private static let bytesKept = 4 << 20
    /// Windows of a zstd frame beyond 2^23 bytes are refused: they are memory, too.
    private static let windowLog: Int32 = 23

    init(limit: Int) { self.limit = limit }

    deinit { if let zstd { ZSTD_freeDCtx(zstd) } }

    mutating func release() { if bytes.count > Self.bytesKept { bytes = [] } }

    /// - Returns: the number of bytes.
    mutating func unpack(_ body: ByteBuffer, _ encoding: BodyEncoding) throws(Failure) -> Int {
        switch encoding {
        case .snappy: try snappy(body)
        case .gzip: try gzip(body)
        case .zstd: try zstandard(body)
        case .identity: try plain(body)
        }
    }

    private mutating func snappy(_ body: ByteBuffer) throws(Failure) -> Int {
        do {
            return try Snappy.decode(body.readableBytesSpan, into: &bytes, limit: limit)
        } catch {
            if error.reason == .tooLarge { throw .tooLarge }
            throw .corrupt("\(error)")
        }
    }

    private mutating func plain(_ body: ByteBuffer) throws(Failure) -> Int {
        guard body.readableBytes <= limit else { throw .tooLarge }
        grow(to: body.readableBytes)
        bytes.withUnsafeMutableBytes { target in
            body.withUnsafeReadableBytes { target.copyMemory(from: $0) }
        }
        return body.readableBytes
    }

    /// One gzip member, and nothing after it.
    private mutating func gzip(_ body: ByteBuffer) throws(Failure) -> Int {
        var stream = z_stream()
        guard czlib_inflate_gzip(&stream) == Z_OK else { throw .corrupt("zlib has no memory") }
        defer { inflateEnd(&stream) }
        var written = 0
        var status = Z_OK
        var isFull = false
        body.withUnsafeReadableBytes { source in
            // zlib does not write to its input, though the type says so. It lives as long as this closure.
            let input = UnsafeMutableRawPointer(mutating: source.baseAddress)
            stream.next_in = input?.assumingMemoryBound(to: UInt8.self)
            stream.avail_in = UInt32(source.count)
            while status == Z_OK, !isFull {
                if written == bytes.count { grow(to: min(max(written * 2, 1 << 18), limit + 1)) }
                let room = bytes.count - written
                bytes.withUnsafeMutableBytes { target in
                    let start = target.baseAddress.map { $0 + written }
                    stream.next_out = start?.assumingMemoryBound(to: UInt8.self)
                    stream.avail_out = UInt32(room)
                    status = inflate(&stream, Z_NO_FLUSH)
                }
                let made = room - Int(stream.avail_out)
                written += made
                isFull = written > limit
                if status == Z_BUF_ERROR || made == 0 && status == Z_OK && stream.avail_in == 0 { break }
            }
        }
        if isFull { throw .tooLarge }
        guard status == Z_STREAM_END else {
            throw .corrupt(
                "byte \(body.readableBytes - Int(stream.avail_in)): it is no gzip, or not all of it")
        }
        guard stream.avail_in == 0 else {
            throw .corrupt(
                "byte \(body.readableBytes - Int(stream.avail_in)): something follows the gzip member")
        }
        return written
    }

    /// One zstd frame, and nothing after it.
    private mutating func zstandard(_ body: ByteBuffer) throws(Failure) -> Int {
        if zstd == nil {
            zstd = ZSTD_createDCtx()
            if let zstd { ZSTD_DCtx_setParameter(zstd, ZSTD_d_windowLogMax, Self.windowLog) }
        }
        guard let zstd else { throw .corrupt("zstd has no memory") }
        ZSTD_DCtx_reset(zstd, ZSTD_reset_session_only)
        var written = 0
        var consumed = 0
        var left = 1
        var isStuck = false
        body.withUnsafeReadableBytes { source in
            var input = ZSTD_inBuffer(src: source.baseAddress, size: source.count, pos: 0)
            while left != 0, ZSTD_isError(left) == 0, !isStuck, written <= limit {
                if written == bytes.count { grow(to: min(max(written * 2, 1 << 18), limit + 1)) }
                let before = (input.pos, written)
                let room = bytes.count
                written = bytes.withUnsafeMutableBytes { target in
                    var output = ZSTD_outBuffer(dst: target.baseAddress, size: room, pos: written)
                    left = ZSTD_decompressStream(zstd, &output, &input)
                    return output.pos
                }
                isStuck = input.pos == before.0 && written == before.1
            }
            consumed = input.pos
        }
        if written > limit { throw .tooLarge }
        guard left == 0 else { throw .corrupt("byte \(consumed): it is no zstd frame, or not all of it") }
        guard consumed == body.readableBytes else {
            throw .corrupt("byte \(consumed): something follows the zstd frame")
        }
        return written
    }

    private mutating func grow(to count: Int) {
        if bytes.count < count { bytes.append(contentsOf: repeatElement(0, count: count - bytes.count)) }
    }
}
