import COpenSSL
import Glibc
import Logging
import TLS
import Telemetry

/// TLS of a receiver in this process, with a certificate made for it.
enum BenchTLS {
    static func acceptor(_ metrics: Metrics) throws -> TLSAcceptor {
        let acceptor = TLSAcceptor(listener: "ingest", clock: .bench, metrics: metrics, logger: .bench)
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(base)/colossus-bench.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw BenchError("no folder can be made in \(base)") }
        let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let files = TLSFiles(certificate: folder + "/own.pem", key: folder + "/own.key")
        // Nobody reads them again.
        defer {
            for path in [files.certificate, files.key] { unlink(path) }
            rmdir(folder)
        }
        try make(files)
        acceptor.replace(try TLSContext(files))
        return acceptor
    }

    /// A key on P-256, as most certificates have one now, and a certificate that it has signed itself.
    private static func make(_ files: TLSFiles) throws {
        let maker = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nil)
        defer { EVP_PKEY_CTX_free(maker) }
        var key: OpaquePointer?
        guard EVP_PKEY_keygen_init(maker) == 1,
            EVP_PKEY_CTX_set_ec_paramgen_curve_nid(maker, NID_X9_62_prime256v1) == 1,
            EVP_PKEY_generate(maker, &key) == 1
        else { throw BenchError("OpenSSL makes no key") }
        defer { EVP_PKEY_free(key) }
        let certificate = X509_new()
        defer { X509_free(certificate) }
        let name = X509_get_subject_name(certificate)
        guard X509_set_version(certificate, 2) == 1,
            ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1,
            X509_gmtime_adj(X509_getm_notBefore(certificate), -3_600) != nil,
            X509_gmtime_adj(X509_getm_notAfter(certificate), 86_400) != nil,
            X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, "localhost", -1, -1, 0) == 1,
            X509_set_issuer_name(certificate, name) == 1, X509_set_pubkey(certificate, key) == 1,
            X509_sign(certificate, key, EVP_sha256()) > 0
        else { throw BenchError("OpenSSL makes no certificate") }
        try write(files.certificate) { PEM_write_X509($0, certificate) }
        try write(files.key) { PEM_write_PrivateKey($0, key, nil, nil, 0, nil, nil) }
    }

    private static func write(_ path: String, _ body: (UnsafeMutablePointer<FILE>) -> Int32) throws {
        guard let file = fopen(path, "wx") else { throw BenchError("\(path) cannot be made") }
        let isWritten = body(file) == 1
        guard fclose(file) == 0, isWritten else { throw BenchError("\(path) cannot be written") }
    }
}

/// The client's side of TLS on a socket that blocks. It believes every server.
///
/// Unchecked, because it is used by one queue at a time, as the socket is.
final class BenchSession: @unchecked Sendable {
    private let context: OpaquePointer
    private let session: OpaquePointer

    init(_ socket: Int32) throws {
        // OpenSSL writes to the socket without a flag against the signal.
        signal(SIGPIPE, SIG_IGN)
        guard let context = SSL_CTX_new(TLS_client_method()) else {
            throw BenchError("OpenSSL cannot be set up")
        }
        guard let session = SSL_new(context) else {
            SSL_CTX_free(context)
            throw BenchError("OpenSSL cannot be set up")
        }
        (self.context, self.session) = (context, session)
        guard SSL_set_fd(session, socket) == 1, SSL_connect(session) == 1 else {
            throw BenchError("the server speaks no TLS")
        }
    }

    deinit {
        SSL_free(session)
        SSL_CTX_free(context)
    }

    /// How many bytes are sent: all of them, or none.
    func write(_ bytes: UnsafeRawBufferPointer) -> Int {
        Int(SSL_write(session, bytes.baseAddress, Int32(bytes.count)))
    }

    func read(_ space: UnsafeMutableRawBufferPointer) -> Int {
        Int(SSL_read(session, space.baseAddress, Int32(space.count)))
    }
}
