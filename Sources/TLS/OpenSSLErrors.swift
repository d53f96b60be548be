import COpenSSL

/// What OpenSSL has to say of the last call of this thread.
enum OpenSSLErrors {
    /// Takes all that is queued, the oldest first; the oldest is nearest to the cause.
    static func take() -> [UInt] {
        var codes: [UInt] = []
        while case let code = ERR_get_error(), code != 0 {
            if codes.count < 8 { codes.append(code) }
        }
        return codes
    }

    static func words(_ codes: [UInt]) -> String {
        var seen: [String] = []
        for code in codes {
            guard let text = ERR_reason_error_string(code) else { continue }
            let words = String(cString: text)
            if !seen.contains(words) { seen.append(words) }
        }
        return seen.isEmpty ? "no reason given" : seen.joined(separator: "; ")
    }

    /// The code of the library's own that names the reason.
    static func reason(_ code: UInt) -> Int32 { Int32(truncatingIfNeeded: code & 0x7F_FFFF) }

    /// What a call to the kernel came to (err.h: ERR_SYSTEM_FLAG).
    static func isOfSystem(_ code: UInt) -> Bool { code & 0x8000_0000 != 0 }

    static func isOfTLS(_ code: UInt) -> Bool { Int32(truncatingIfNeeded: code >> 23) & 0xFF == ERR_LIB_SSL }
}

extension TLSFailure {
    /// - Parameter verification: what came of looking at the peer's certificate.
    init(_ codes: [UInt], verification: Int) {
        words = OpenSSLErrors.words(codes)
        reason = .protocol
        guard let code = codes.first(where: { OpenSSLErrors.isOfTLS($0) }) else { return }
        switch OpenSSLErrors.reason(code) {
        case SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST: reason = .plainHTTP
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: reason = .noCertificate
        case SSL_R_CERTIFICATE_VERIFY_FAILED:
            reason = Reason(verification: verification)
            words += ": " + String(cString: X509_verify_cert_error_string(verification))
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW, SSL_R_UNKNOWN_PROTOCOL: reason = .version
        case SSL_R_NO_SHARED_CIPHER, SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, SSL_R_NO_SUITABLE_KEY_SHARE,
            SSL_R_NO_SUITABLE_GROUPS:
            reason = .cipher
        case SSL_R_NO_APPLICATION_PROTOCOL: reason = .alpn
        // Numbers of alerts that the peer has sent are beyond this (ssl.h: SSL_AD_REASON_OFFSET).
        case 1_000...1_255: reason = .alert
        default: break
        }
    }
}

extension TLSFailure.Reason {
    /// - Parameter verification: why a peer's certificate is not good.
    init(verification: Int) {
        switch Int32(truncatingIfNeeded: verification) {
        case X509_V_ERR_CERT_REVOKED: self = .revoked
        case X509_V_ERR_CRL_HAS_EXPIRED: self = .crlExpired
        case X509_V_ERR_CRL_NOT_YET_VALID: self = .crlNotYetValid
        case X509_V_ERR_UNABLE_TO_GET_CRL, X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER,
            X509_V_ERR_DIFFERENT_CRL_SCOPE:
            self = .noCRL
        default: self = .badCertificate
        }
    }
}
