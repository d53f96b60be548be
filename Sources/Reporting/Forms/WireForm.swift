import CZlib
import CZstd
import WireFormats

/// How a body is packed. The raw value is what users write, and `Content-Encoding` says.
public enum Compression: String, CaseIterable, Sendable, Hashable {
    case none, gzip, snappy, zstd

    func pack(_ bytes: [UInt8]) -> [UInt8] {
        switch self {
        case .none: bytes
        case .snappy: Snappy.encode(bytes)
        case .gzip: Self.gzip(bytes)
        case .zstd: Self.zstd(bytes)
        }
    }

    /// For `Content-Encoding`; none where nothing is packed.
    var header: [HTTPHeader] { self == .none ? [] : [HTTPHeader("Content-Encoding", rawValue)] }

    private static func gzip(_ bytes: [UInt8]) -> [UInt8] {
        var stream = z_stream()
        guard czlib_deflate_gzip(&stream) == Z_OK else { preconditionFailure("zlib has no memory") }
        defer { deflateEnd(&stream) }
        let bound = Int(deflateBound(&stream, UInt(bytes.count))) + 64
        // Unsafe because zlib reads and writes the arrays' storage directly; it is told both lengths, and the bound is
        // what it says it needs at most.
        return bytes.withUnsafeBufferPointer { source in
            [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
                stream.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
                stream.avail_in = UInt32(source.count)
                stream.next_out = buffer.baseAddress
                stream.avail_out = UInt32(bound)
                let status = deflate(&stream, Z_FINISH)
                precondition(status == Z_STREAM_END, "deflateBound was too small")
                count = bound - Int(stream.avail_out)
            }
        }
    }

    private static func zstd(_ bytes: [UInt8]) -> [UInt8] {
        let bound = ZSTD_compressBound(bytes.count)
        // Unsafe because zstd writes straight into the array's storage; it is told the capacity and returns the number of
        // bytes that it initialised.
        return [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
            let written = bytes.withUnsafeBytes {
                ZSTD_compress(buffer.baseAddress, bound, $0.baseAddress, $0.count, 1)
            }
            precondition(ZSTD_isError(written) == 0, "zstd has no memory")
            count = written
        }
    }
}

/// The form of an endpoint's bodies. It may become simpler when the receiver does not understand it, and stays so for
/// as long as the endpoint lives.
struct WireForm: Sendable, Hashable {
    var compression: Compression
    /// Of remote write: 1 or 2; else 1.
    var version = 1

    static let plain = WireForm(compression: .none)

    var description: String { "\(version).0 \(compression.rawValue)" }

    /// As it is kept over a restart: what was meant, and what it has become.
    func text(insteadOf first: WireForm) -> String { first.description + " -> " + description }

    /// Reads what was kept; `nil` where something else is meant by now.
    init?(kept text: String, insteadOf first: WireForm) {
        let sides = text.split(separator: ">").map { $0.split(separator: " ").filter { $0 != "-" } }
        guard sides.count == 2, sides[1].count == 2, sides[0].joined(separator: " ") == first.description,
            let compression = Compression(rawValue: String(sides[1][1])),
            let version = ["1.0": 1, "2.0": 2][String(sides[1][0])], version <= first.version
        else { return nil }
        self.init(compression: compression, version: version)
    }

    init(compression: Compression, version: Int = 1) {
        self.compression = compression
        self.version = version
    }
}
