import COpenSSL

/// What the authorities of a listener's clients have revoked: read from a file, found good, and put where handshakes look.
///
/// Each authority has a list: without one nobody could say that a certificate of its is still good, and the handshake says
/// no (X509_V_FLAG_CRL_CHECK_ALL).
struct RevocationLists: Sendable, Equatable {
    let path: String
    private let digest: [UInt8]
    /// When the newest list of each authority was made and until when it is good, in Unix seconds, the first end first.
    private let terms: [Term]

    private struct Term: Sendable, Equatable {
        var from: Int64
        var until: Int64
    }

    static let listsMax = 1_000

    /// When the first of the lists ends, and clients of its authority are refused; the end of time for never.
    var validUntilSeconds: Int64 { terms.first?.until ?? .max }
    var validFromSeconds: Int64 { terms.first?.from ?? 0 }

    /// The next end of a list.
    func nextEnd(afterSeconds now: Int64) -> Int64 { terms.first { $0.until > now }?.until ?? .max }

    /// - Parameters:
    ///   - authorities: the file of the authorities that the context holds already.
    ///   - context: is made to look into the lists; not to be used where this throws.
    init(
        _ path: String, _ bytes: [UInt8], authorities: String, into context: OpaquePointer
    ) throws(TLSFileError) {
        self.path = path
        digest = Self.digest(bytes)
        let lists = try Self.parse(path, bytes)
        defer { for list in lists { X509_CRL_free(list) } }
        let signers = (0..<colossus_authority_places(context)).compactMap { colossus_authority(context, $0) }
        let store = SSL_CTX_get_cert_store(context)
        var found = [Term?](repeating: nil, count: signers.count)
        for list in lists {
            let own = try Self.signers(of: list, among: signers, path, authorities)
            guard X509_STORE_add_crl(store, list) == 1 else {
                throw TLSFileError(
                    file: path, reason: "cannot be used: \(OpenSSLErrors.words(OpenSSLErrors.take()))")
            }
            let term = Term(from: colossus_list_from(list), until: colossus_list_until(list))
            for place in own where (found[place]?.until ?? .min) < term.until { found[place] = term }
            // The first search sorts the list: here, and not in a handshake.
            if let place = own.first {
                _ = X509_CRL_get0_by_serial(list, nil, X509_get_serialNumber(signers[place]))
            }
        }
        if let place = found.firstIndex(where: { $0 == nil }) {
            let name = Self.name(X509_get_subject_name(signers[place]))
            throw TLSFileError(
                file: path,
                reason:
                    "holds no list of \(name), an authority in \(authorities), all of whose clients would be refused"
            )
        }
        terms = found.compactMap(\.self).sorted { $0.until < $1.until }
        X509_STORE_set_flags(store, UInt(X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL))
    }

    /// Which of the authorities have signed the list, by their places: those that have a certificate more than one.
    private static func signers(
        of list: OpaquePointer, among signers: [OpaquePointer], _ path: String, _ authorities: String
    ) throws(TLSFileError) -> [Int] {
        let issuer = X509_CRL_get_issuer(list)
        func failure(_ what: String) -> TLSFileError {
            TLSFileError(file: path, reason: "holds a list of \(name(issuer)) \(what)")
        }
        let own = signers.indices.filter { place in
            X509_NAME_cmp(X509_get_subject_name(signers[place]), issuer) == 0
                && X509_CRL_verify(list, X509_get0_pubkey(signers[place])) == 1
        }
        ERR_clear_error()
        guard !own.isEmpty else {
            throw failure("that none of the authorities in \(authorities) has signed")
        }
        guard own.contains(where: { X509_get_key_usage(signers[$0]) & UInt32(KU_CRL_SIGN) != 0 }) else {
            throw failure("whose certificate is not for signing lists")
        }
        guard X509_CRL_get_ext_by_NID(list, NID_delta_crl, -1) < 0 else {
            throw failure("that tells only what is new: put the whole one there")
        }
        return own
    }

    /// The caller frees what is returned.
    private static func parse(_ path: String, _ bytes: [UInt8]) throws(TLSFileError) -> [OpaquePointer] {
        ERR_clear_error()
        var lists: [OpaquePointer] = []
        bytes.withUnsafeBytes { bytes in
            // It reads from the array, and goes before it.
            let source = BIO_new_mem_buf(bytes.baseAddress, Int32(bytes.count))
            defer { BIO_free(source) }
            while lists.count <= listsMax,
                let list = PEM_read_bio_X509_CRL(source, nil, colossus_no_password, nil)
            {
                lists.append(list)
            }
        }
        let codes = OpenSSLErrors.take()
        let isWhole = lists.count <= listsMax && codes.allSatisfy { colossus_is_end_of_pem($0) != 0 }
        guard isWhole, !lists.isEmpty else {
            let count = lists.count
            for list in lists { X509_CRL_free(list) }
            let reason =
                count > listsMax
                ? "holds more than \(listsMax) lists"
                : isWhole
                    ? "holds no list of revoked certificates in PEM (`openssl crl -inform DER` makes PEM of DER)"
                    : "holds a list of revoked certificates that cannot be read: \(OpenSSLErrors.words(codes))"
            throw TLSFileError(file: path, reason: reason)
        }
        return lists
    }

    private static func name(_ name: OpaquePointer?) -> String {
        var text = [CChar](repeating: 0, count: 200)
        // Escapes what is not printable.
        guard X509_NAME_oneline(name, &text, Int32(text.count)) != nil else { return "somebody" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func digest(_ bytes: [UInt8]) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_LENGTH))
        _ = SHA256(bytes, bytes.count, &digest)
        return digest
    }
}
