import COpenSSL

/// What the authorities of a listener's clients have revoked: read from a file, found good, and put where handshakes look.
///
/// Each authority has a list: without one nobody could say that a certificate of its is still good, and the handshake says
/// no (X509_V_FLAG_CRL_CHECK_ALL).
struct RevocationLists: Sendable, Equatable {
    let path: String
    private let digest: [UInt8]
    /// The newest list of each authority, and of each part of its certificates if it has lists for parts.
    private let terms: [Source: Term]

    /// When a list was made and until when it is good, in Unix seconds; the end of time for always.
    struct Term: Sendable, Hashable {
        var from: Int64
        var until: Int64
    }

    /// What a list is about; a newer one of the same takes its place.
    private struct Source: Sendable, Hashable {
        var authority: Authority
        var scope: [UInt8]
    }

    /// A list, while it is being read, and the certificate of its authority.
    private struct Read {
        var list: OpaquePointer
        var term: Term
        var signer: OpaquePointer

        func isNewer(than other: Read) -> Bool {
            (term.from, term.until) > (other.term.from, other.term.until)
        }
    }

    /// An authority: it may have several certificates for a key.
    private struct Authority: Sendable, Hashable {
        var name: String
        var key: [UInt8]

        init(_ certificate: OpaquePointer) {
            name = RevocationLists.name(X509_get_subject_name(certificate))
            var (key, count) = ([UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE)), UInt32(0))
            _ = X509_pubkey_digest(certificate, EVP_sha256(), &key, &count)
            self.key = Array(key.prefix(Int(count)))
        }
    }

    static let listsMax = 1_000

    /// When the first of the lists ends, and clients of its authority are refused; the end of time for never.
    var validUntilSeconds: Int64 { terms.values.map(\.until).min() ?? .max }

    /// The next end of a list.
    func nextEnd(afterSeconds now: Int64) -> Int64 {
        terms.values.lazy.map(\.until).filter { $0 > now }.min() ?? .max
    }

    /// The list that has ended last, and the one that ends next.
    func nearest(toSeconds now: Int64) -> [Term] {
        func isBefore(_ left: Term, _ right: Term) -> Bool {
            (left.until, left.from) < (right.until, right.from)
        }
        return [
            terms.values.filter { $0.until < now }.max(by: isBefore),
            terms.values.filter { $0.until >= now && $0.until != .max }.min(by: isBefore),
        ].compactMap(\.self)
    }

    /// Why these may not come in while the service runs: they would refuse clients whom those in force do not refuse, or
    /// take revocations back.
    ///
    /// - Parameter old: those in force.
    func check(over old: RevocationLists?, nowSeconds now: Int64) throws(TLSFileError) {
        guard old != self else { return }
        func failure(_ what: String, _ source: Source, isPassing: Bool = false) -> TLSFileError {
            TLSFileError(
                file: path, reason: "holds a list of \(source.authority.name) that \(what)",
                isPassing: isPassing)
        }
        // Whichever comes first: files with several faults are complained of in the same words.
        let sorted = terms.sorted { $0.key.authority.name < $1.key.authority.name }
        for (source, term) in sorted {
            guard term.from <= now else { throw failure("is not valid yet", source, isPassing: true) }
            let before = old?.terms[source]
            let hadRunOut = before.map { $0.until < now } ?? false
            guard term.until >= now || hadRunOut else { throw failure("has run out", source) }
            let replaced = before ?? old?.vanished(from: self, of: source.authority)
            guard term.from >= replaced?.from ?? .min else {
                throw failure("is older than the one in force, and would take revocations back", source)
            }
        }
    }

    /// The newest of an authority's lists that has no successor of the same scope among others: those take its place.
    private func vanished(from new: RevocationLists, of authority: Authority) -> Term? {
        terms.filter { $0.key.authority == authority && new.terms[$0.key] == nil }.values.max {
            $0.from < $1.from
        }
    }

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
        let known = signers.map { Authority($0) }
        var newest: [Source: Read] = [:]
        for list in lists {
            let own = try Self.signer(of: list, among: signers, path, authorities)
            let source = Source(authority: known[own], scope: Self.scope(of: list))
            let term = Term(from: colossus_list_from(list), until: colossus_list_until(list))
            let new = Read(list: list, term: term, signer: signers[own])
            newest[source] = newest[source].map { $0.isNewer(than: new) ? $0 : new } ?? new
        }
        let holders = Set(newest.keys.map(\.authority))
        if let missing = known.first(where: { !holders.contains($0) }) {
            throw TLSFileError(
                file: path,
                reason:
                    "holds no list of \(missing.name), an authority in \(authorities), all of whose clients would be refused"
            )
        }
        terms = newest.mapValues(\.term)
        colossus_find_own_chain(context)
        let store = SSL_CTX_get_cert_store(context)
        for one in newest.values {
            guard X509_STORE_add_crl(store, one.list) == 1 else {
                throw TLSFileError(
                    file: path, reason: "cannot be used: \(OpenSSLErrors.words(OpenSSLErrors.take()))")
            }
            // The first search sorts the list: here, and not in a handshake.
            _ = X509_CRL_get0_by_serial(one.list, nil, X509_get_serialNumber(one.signer))
        }
        X509_STORE_set_flags(store, UInt(X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL))
        for (signer, authority) in zip(signers, known) {
            let result = colossus_verify_lists(context, signer)
            guard result != X509_V_OK else { continue }
            throw TLSFileError(
                file: path,
                reason:
                    "holds lists by which all clients of \(authority.name) would be refused: \(String(cString: X509_verify_cert_error_string(Int(result))))"
            )
        }
        try Self.checkLeaves(newest, signers, known, path)
    }

    /// Lists that are about authorities alone say nothing of clients: enough of an authority that has signed another one
    /// of the file, and no other.
    private static func checkLeaves(
        _ lists: [Source: Read], _ signers: [OpaquePointer], _ known: [Authority], _ path: String
    ) throws(TLSFileError) {
        let forLeaves = Set(
            lists.filter { colossus_list_is_of_leaves($0.value.list) == 1 }.keys.map(\.authority))
        for (signer, authority) in zip(signers, known) where !forLeaves.contains(authority) {
            let isAbove = zip(signers, known).contains {
                $0.1 != authority && X509_check_issued(signer, $0.0) == X509_V_OK
            }
            guard !isAbove else { continue }
            throw TLSFileError(
                file: path,
                reason:
                    "holds lists of \(authority.name) that are about authorities alone, by which all of its clients would be refused"
            )
        }
    }

    private static func scope(of list: OpaquePointer) -> [UInt8] {
        guard let scope = colossus_list_scope(list) else { return [] }
        return Array(
            UnsafeBufferPointer(start: ASN1_STRING_get0_data(scope), count: Int(ASN1_STRING_length(scope))))
    }

    /// Which of the authorities has signed the list, by its place: the first one with the key.
    private static func signer(
        of list: OpaquePointer, among signers: [OpaquePointer], _ path: String, _ authorities: String
    ) throws(TLSFileError) -> Int {
        let issuer = X509_CRL_get_issuer(list)
        func failure(_ what: String) -> TLSFileError {
            TLSFileError(file: path, reason: "holds a list of \(name(issuer)) \(what)")
        }
        let own = signers.indices.filter { place in
            X509_NAME_cmp(X509_get_subject_name(signers[place]), issuer) == 0
                && X509_CRL_verify(list, X509_get0_pubkey(signers[place])) == 1
        }
        ERR_clear_error()
        guard let first = own.first else {
            throw failure("that none of the authorities in \(authorities) has signed")
        }
        guard own.contains(where: { X509_get_key_usage(signers[$0]) & UInt32(KU_CRL_SIGN) != 0 }) else {
            throw failure("whose certificate is not for signing lists")
        }
        guard X509_CRL_get_ext_by_NID(list, NID_delta_crl, -1) < 0 else {
            throw failure("that tells only what is new: put the whole one there")
        }
        return first
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
