import COpenSSL
import Glibc

/// A listener's certificate and rules, read from files and found good. Connections that began with it keep it.
///
// `@unchecked`: the pointer is set once and what it points to is only changed in `init`; OpenSSL counts references
// to it under locks of its own, so that sessions may be made of it on any thread.
public final class TLSContext: @unchecked Sendable {
    let pointer: OpaquePointer
    public let files: TLSFiles
    /// As the files were before they were read.
    let stamps: [FileStamp]
    /// Until when the certificate is good, in Unix seconds.
    public let validUntilSeconds: Int64
    let validFromSeconds: Int64
    /// What clients' certificates are held against; `nil`: nobody is asked for one.
    let authorities: Authorities?
    /// What those have revoked; `nil`: nothing is known of that.
    let lists: RevocationLists?

    struct Authorities: Equatable {
        var path: String
        var bytes: [UInt8]
    }

    /// Reads the files.
    public init(_ files: TLSFiles) throws(TLSFileError) {
        self.files = files
        stamps = FileStamp.of(files)
        for path in files.paths { _ = try Self.look(path, isTaken: false) }
        // Before OpenSSL does it: what changes in between is noticed by the stamps, and then here.
        if let path = files.clientCA {
            authorities = Authorities(path: path, bytes: try Self.look(path, isTaken: true))
        } else {
            authorities = nil
        }
        ERR_clear_error()
        guard let pointer = SSL_CTX_new(TLS_server_method()) else {
            throw Self.failure(files.certificate, "OpenSSL cannot be set up")
        }
        do throws(TLSFileError) {
            colossus_set_up(pointer, files.isTLS13 ? 1 : 0)
            try Self.useOwn(files, pointer)
            try Self.useClients(files, pointer)
            lists = try Self.readLists(files, pointer)
        } catch {
            SSL_CTX_free(pointer)
            throw error
        }
        let own = SSL_CTX_get0_certificate(pointer)
        validFromSeconds = own.map { colossus_valid_from($0) } ?? 0
        validUntilSeconds = own.map { colossus_valid_until($0) } ?? 0
        self.pointer = pointer
    }

    deinit { SSL_CTX_free(pointer) }

    private static func useOwn(_ files: TLSFiles, _ pointer: OpaquePointer) throws(TLSFileError) {
        guard SSL_CTX_use_certificate_chain_file(pointer, files.certificate) == 1 else {
            throw failure(files.certificate, "is not a certificate in PEM that can be used")
        }
        let isKey = SSL_CTX_use_PrivateKey_file(pointer, files.key, SSL_FILETYPE_PEM) == 1
        if isKey, SSL_CTX_check_private_key(pointer) == 1 { return }
        let codes = OpenSSLErrors.take()
        let isOther = codes.contains { OpenSSLErrors.reason($0) == X509_R_KEY_VALUES_MISMATCH }
        throw TLSFileError(
            file: files.key,
            reason: isOther
                ? "is not the key of the certificate \(files.certificate)"
                : "is not a key in PEM without a password: \(OpenSSLErrors.words(codes))",
            isPassing: codes.contains(where: OpenSSLErrors.isOfSystem))
    }

    private static func useClients(_ files: TLSFiles, _ pointer: OpaquePointer) throws(TLSFileError) {
        guard let authorities = files.clientCA else { return }
        guard SSL_CTX_load_verify_file(pointer, authorities) == 1,
            // The names are told to clients, which choose a certificate by them; the context keeps the list.
            let names = SSL_load_client_CA_file(authorities)
        else { throw failure(authorities, "holds no certificates of authorities in PEM") }
        SSL_CTX_set_client_CA_list(pointer, names)
        let mode =
            files.clientCertificate == .required
            ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_PEER
        SSL_CTX_set_verify(pointer, mode, nil)
        SSL_CTX_set_verify_depth(pointer, 8)
        colossus_never_resume(pointer)
    }

    private static func readLists(
        _ files: TLSFiles, _ pointer: OpaquePointer
    ) throws(TLSFileError) -> RevocationLists? {
        guard let path = files.clientCRL else { return nil }
        guard let authorities = files.clientCA else {
            throw TLSFileError(file: path, reason: "is for nothing without authorities of clients")
        }
        return try RevocationLists(
            path, try look(path, isTaken: true, bytesMax: listsBytesMax), authorities: authorities,
            into: pointer)
    }

    private static func failure(_ file: String, _ what: String) -> TLSFileError {
        let codes = OpenSSLErrors.take()
        return TLSFileError(
            file: file, reason: "\(what): \(OpenSSLErrors.words(codes))",
            isPassing: codes.contains(where: OpenSSLErrors.isOfSystem))
    }

    /// OpenSSL's words for a file that is not there are about its own calls; and it would wait for a pipe.
    ///
    /// - Parameter isTaken: whether its bytes are wanted: those of a key are OpenSSL's alone.
    private static func look(
        _ path: String, isTaken: Bool, bytesMax: Int = fileBytesMax
    ) throws(TLSFileError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw unreadable(path)
        }
        defer { close(descriptor) }
        var about = stat()
        guard fstat(descriptor, &about) == 0, about.st_mode & S_IFMT == S_IFREG else {
            throw TLSFileError(file: path, reason: "is not a file")
        }
        let tooLarge = TLSFileError(file: path, reason: "is larger than \(bytesMax >> 20) MiB")
        guard about.st_size <= bytesMax else { throw tooLarge }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while isTaken {
            guard bytes.count <= bytesMax else { throw tooLarge }
            let got = read(descriptor, &chunk, chunk.count)
            guard got >= 0 else { throw unreadable(path) }
            if got == 0 { break }
            bytes += chunk[..<got]
        }
        return bytes
    }

    private static func unreadable(_ path: String) -> TLSFileError {
        TLSFileError(
            file: path, reason: "cannot be read: \(String(cString: strerror(errno)))", isPassing: true)
    }

    private static let fileBytesMax = 8 << 20
    /// OpenSSL looks at the signature of a list anew wherever it uses it, twice and more a handshake, and before the
    /// client has proved anything: strangers could have that done for them all day.
    private static let listsBytesMax = 1 << 20
}

/// By which a file that was written anew is noticed.
struct FileStamp: Sendable, Equatable {
    private var device: UInt64 = 0
    private var inode: UInt64 = 0
    private var size: Int64 = 0
    private var seconds = 0
    private var nanoseconds = 0
    /// Of the change of anything about it: whoever keeps the time of writing cannot keep this one.
    private var changedSeconds = 0
    private var changedNanoseconds = 0

    init(_ path: String) {
        var about = stat()
        guard stat(path, &about) == 0 else { return }
        device = UInt64(about.st_dev)
        inode = UInt64(about.st_ino)
        size = Int64(about.st_size)
        seconds = about.st_mtim.tv_sec
        nanoseconds = about.st_mtim.tv_nsec
        changedSeconds = about.st_ctim.tv_sec
        changedNanoseconds = about.st_ctim.tv_nsec
    }

    static func of(_ files: TLSFiles) -> [FileStamp] { files.paths.map { FileStamp($0) } }
}
