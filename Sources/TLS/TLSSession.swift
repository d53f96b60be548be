import COpenSSL
import NIOCore

/// One connection's TLS, without any I/O: bytes of the network go in and come out through memory.
///
/// Belongs to one event loop. A class, because it owns what the pointers point to.
final class TLSSession {
    enum Step {
        case unfinished
        case finished
        case failed(TLSFailure)
    }

    enum Reading {
        /// All that was there is decrypted.
        case needsMore
        /// The peer will send nothing more (close_notify).
        case ended
        case failed(TLSFailure)
    }

    /// These three are valid from `init` to `deinit`: the session owns the two ends, and a reference to its context.
    private let session: OpaquePointer
    private let incoming: OpaquePointer
    private let outgoing: OpaquePointer
    private let pieceBytes: Int

    /// `nil` when there is no memory for it.
    init?(_ context: TLSContext, pieceBytes: Int) {
        guard let session = SSL_new(context.pointer) else { return nil }
        var (into, from): (OpaquePointer?, OpaquePointer?) = (nil, nil)
        guard colossus_use_memory(session, &into, &from) == 1, let into, let from else {
            SSL_free(session)
            return nil
        }
        self.session = session
        (incoming, outgoing) = (into, from)
        self.pieceBytes = pieceBytes
    }

    deinit { SSL_free(session) }

    /// Goes on with the handshake, with as much of the bytes as it takes.
    func handshake(_ bytes: inout ByteBuffer) -> Step {
        while true {
            feed(&bytes)
            ERR_clear_error()
            let result = SSL_do_handshake(session)
            if result == 1 { return .finished }
            guard SSL_get_error(session, result) == SSL_ERROR_WANT_READ else { return .failed(failure()) }
            if bytes.readableBytes == 0 { return .unfinished }
        }
    }

    /// Decrypts bytes of the network, and what is left of earlier ones, and appends what they say.
    func read(_ bytes: inout ByteBuffer, into plain: inout ByteBuffer) -> Reading {
        while true {
            feed(&bytes)
            var count: Int32 = 0
            repeat {
                ERR_clear_error()
                plain.writeWithUnsafeMutableBytes(minimumWritableBytes: 16 << 10) { space in
                    count = SSL_read(session, space.baseAddress, Int32(min(space.count, 1 << 30)))
                    return max(0, Int(count))
                }
            } while count > 0
            switch SSL_get_error(session, count) {
            case SSL_ERROR_WANT_READ:
                if bytes.readableBytes == 0 { return .needsMore }
            case SSL_ERROR_ZERO_RETURN: return .ended
            default: return .failed(failure())
            }
        }
    }

    /// Encrypts the first piece of what is to be sent, whose bytes then come out of `takeOutput`.
    func write(_ plain: inout ByteBuffer) -> TLSFailure? {
        guard plain.readableBytes > 0 else { return nil }
        ERR_clear_error()
        // Memory takes all of it at once.
        let count = plain.readWithUnsafeReadableBytes { bytes in
            let written = SSL_write(session, bytes.baseAddress, Int32(min(bytes.count, pieceBytes)))
            return (max(0, Int(written)), written)
        }
        return count > 0 ? nil : failure()
    }

    /// Says that nothing more will be sent (close_notify); nothing where the handshake is not over.
    func finish() {
        ERR_clear_error()
        if SSL_is_init_finished(session) == 1 { _ = SSL_shutdown(session) }
        ERR_clear_error()
    }

    /// What the peer is to get.
    func takeOutput(_ allocator: ByteBufferAllocator) -> ByteBuffer? {
        let size = BIO_ctrl_pending(outgoing)
        guard size > 0 else { return nil }
        var buffer = allocator.buffer(capacity: size)
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: size) { space in
            max(0, Int(BIO_read(outgoing, space.baseAddress, Int32(min(space.count, size)))))
        }
        return buffer
    }

    /// `TLSv1.3`.
    var version: String { SSL_get_version(session).map { String(cString: $0) } ?? "unknown" }

    /// The peer's certificate, which was found good; `nil` where it has shown none.
    var shown: ShownCertificate? { ShownCertificate(session) }

    private func feed(_ bytes: inout ByteBuffer) {
        guard bytes.readableBytes > 0 else { return }
        bytes.readWithUnsafeReadableBytes { bytes in
            max(0, Int(BIO_write(incoming, bytes.baseAddress, Int32(min(bytes.count, pieceBytes)))))
        }
    }

    private func failure() -> TLSFailure {
        TLSFailure(OpenSSLErrors.take(), verification: SSL_get_verify_result(session))
    }
}

/// The names in a certificate: those that a configuration can mean.
enum PeerNames {
    static let namesMax = 64
    /// As of `certificate:` in a configuration.
    static let bytesMax = 200

    private final class Found {
        var all: [(kind: Int32, name: String)] = []
        /// Of any kind that counts here, even where it cannot be used.
        var hasAlternative = false
    }

    /// URIs, then DNS names; common names where the certificate has neither (RFC 6125: they were there before there was
    /// a place for such names). All without what is too long or not printable ASCII: names get into the log.
    static func of(_ certificate: OpaquePointer) -> [String] {
        let found = Found()
        colossus_names(certificate, Unmanaged.passUnretained(found).toOpaque()) { to, kind, bytes, size in
            guard let to else { return }
            // Alive: the caller holds it until this function, which does not keep it, has returned.
            let found = Unmanaged<Found>.fromOpaque(to).takeUnretainedValue()
            if kind != 0 { found.hasAlternative = true }
            guard let bytes, size > 0, size <= PeerNames.bytesMax else { return }
            let text = UnsafeBufferPointer(start: bytes, count: Int(size))
            guard text.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else { return }
            if found.all.count < PeerNames.namesMax {
                found.all.append((kind, String(decoding: text, as: UTF8.self)))
            }
        }
        return withExtendedLifetime(found) {
            (found.hasAlternative ? [Int32(1), 2] : [0]).flatMap { kind in
                found.all.filter { $0.kind == kind }.map(\.name)
            }
        }
    }
}
