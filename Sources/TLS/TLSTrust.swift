import COpenSSL
import Synchronization
import Telemetry

/// By what the certificates of a listener's clients are judged now. Connections ask it at each request, and without a lock.
final class TLSInForce: Sendable {
    private let authorityChanges = Atomic<Int>(0)
    private let listChanges = Atomic<Int>(0)
    private let context = Locked<TLSContext?>(nil)

    /// How often the authorities have changed.
    var authorities: Int { authorityChanges.load(ordering: .acquiring) }
    /// How often the lists of revoked certificates have changed.
    var lists: Int { listChanges.load(ordering: .acquiring) }
    /// `nil`: connections are plain.
    var current: TLSContext? { context.withLock { $0 } }

    func replace(_ new: TLSContext?) {
        // Whoever sees another number finds what has made it.
        let old = context.withLock { context in
            defer { context = new }
            return context
        }
        if old?.authorities != new?.authorities { authorityChanges.add(1, ordering: .releasing) }
        if old?.lists != new?.lists { listChanges.add(1, ordering: .releasing) }
    }
}

/// By which the certificates that are shown to a connection stay good.
struct TLSTrust: Sendable {
    private let inForce: TLSInForce
    /// As they were when the connection began.
    private let authorities: Int
    private let lists: Int
    private let firstEndSeconds: Int64
    private let counts: TLSCounts

    /// - Parameter context: what the connection begins with.
    init(_ inForce: TLSInForce, _ context: TLSContext?, counts: TLSCounts) {
        self.inForce = inForce
        self.counts = counts
        authorities = inForce.authorities
        lists = inForce.lists
        firstEndSeconds = context?.lists?.validUntilSeconds ?? .max
    }

    /// What came of the last look into the lists.
    private struct Judgement {
        var lists: Int
        /// Then one of the lists ends, and it has to be looked again.
        var untilSeconds: Int64
        var lapse: String?
    }

    /// - Parameter peer: its address, for the log.
    func lapse(_ shown: ShownCertificate, peer: String) -> @Sendable () -> String? {
        let last = Locked(Judgement(lists: lists, untilSeconds: firstEndSeconds))
        return { [self] in
            let now = counts.clock.nowMs() / 1_000
            if now > shown.validUntilSeconds {
                return "The client certificate has run out: connect again with a newer one."
            }
            guard authorities == inForce.authorities else {
                return "The authorities of client certificates have changed: connect again."
            }
            let (judged, number) = (last.withLock { $0 }, inForce.lists)
            if judged.lapse != nil || judged.lists == number && now <= judged.untilSeconds {
                return judged.lapse
            }
            let new = judge(shown, number, nowSeconds: now, peer: peer)
            last.withLock { $0 = new }
            return new.lapse
        }
    }

    private func judge(
        _ shown: ShownCertificate, _ number: Int, nowSeconds: Int64, peer: String
    ) -> Judgement {
        let context = inForce.current
        let end = context?.lists?.nextEnd(afterSeconds: nowSeconds) ?? .max
        var new = Judgement(lists: number, untilSeconds: end)
        guard let context, let failure = shown.failure(against: context, nowSeconds: nowSeconds) else {
            return new
        }
        counts.failed(failure, peer: peer)
        new.lapse =
            switch failure.reason {
            case .revoked: "The client certificate was revoked by its authority."
            case .crlExpired:
                "The list of revoked client certificates has run out: the operator of this service has to renew it."
            case .crlNotYetValid:
                "The list of revoked client certificates is not valid yet: the clock of this service, or that of the authority, is wrong."
            default: "The client certificate is not good any more (\(failure.words)): connect again."
            }
        return new
    }
}

/// A client's certificate that was found good, with what has come with it, to be held against newer lists.
///
// `@unchecked`: what the pointers point to is not changed, but for what OpenSSL keeps in it under locks of its own; this
// object owns a reference to each.
final class ShownCertificate: @unchecked Sendable {
    private let certificate: OpaquePointer
    private let others: OpaquePointer?
    /// In Unix seconds.
    let validUntilSeconds: Int64

    /// `nil` where none was shown, or none that is good.
    ///
    /// - Parameter session: an `SSL`.
    init?(_ session: OpaquePointer) {
        guard SSL_get_verify_result(session) == Int(X509_V_OK),
            let certificate = SSL_get1_peer_certificate(session)
        else { return nil }
        self.certificate = certificate
        others = SSL_get_peer_cert_chain(session).flatMap { X509_chain_up_ref($0) }
        validUntilSeconds = colossus_valid_until(certificate)
    }

    deinit {
        X509_free(certificate)
        colossus_free_chain(others)
    }

    var names: [String] { PeerNames.of(certificate) }

    /// Why a handshake would not take it; `nil` when it would.
    func failure(against context: TLSContext, nowSeconds: Int64) -> TLSFailure? {
        // What the pointers point to goes with these two, which nobody else may hold by then.
        let result = withExtendedLifetime((self, context)) {
            Int(colossus_verify_again(context.pointer, certificate, others, nowSeconds))
        }
        guard result != Int(X509_V_OK) else { return nil }
        return TLSFailure(
            reason: .init(verification: result), words: String(cString: X509_verify_cert_error_string(result))
        )
    }
}
