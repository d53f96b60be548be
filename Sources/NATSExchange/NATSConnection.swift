import CNats
import Exchange
import Glibc
import Telemetry

/// A message as it comes from the client library.
struct NATSMessage: Sendable {
    var subject: String
    var reply: String
    var bytes: [UInt8]
    /// `404`, `408`, `100` …; empty for a message with data.
    var status: String
    var description: String
}

/// A connection of libnats: publishes, subscribes, and tells of refusals. Everything of JetStream is built on it.
///
/// Requests go out with a reply subject and their answers come on one subscription: nothing here ever waits for the
/// broker, except `init`.
// `@unchecked`: the pointer is set once, before anybody else sees the object, and libnats locks inside.
final class NATSConnection: @unchecked Sendable {
    private var connection: OpaquePointer?
    private struct Listeners {
        var refusal: (@Sendable (String) -> Void)?
        var loss: (@Sendable () -> Void)?
    }
    private let listeners = Locked(Listeners())

    /// Called for each "Permissions Violation …", with its text.
    func onRefusal(_ body: @escaping @Sendable (String) -> Void) { listeners.withLock { $0.refusal = body } }
    /// Called when the connection is lost, before any refusal of the next one.
    func onLoss(_ body: @escaping @Sendable () -> Void) { listeners.withLock { $0.loss = body } }

    init(_ options: NATSOptions) throws(BusError) {
        var made: OpaquePointer?
        try Self.check(natsOptions_Create(&made), "options")
        defer { natsOptions_Destroy(made) }
        try Self.apply(options, to: made)
        // Retained for ever, a few bytes a connection: libnats may call it from a thread of its own while it closes.
        let context = Unmanaged.passRetained(listeners).toOpaque()
        natsOptions_SetErrorHandler(made, Self.errorHandler, context)
        natsOptions_SetDisconnectedCB(made, Self.lossHandler, context)
        let status = natsConnection_Connect(&connection, made)
        guard status == NATS_OK else {
            let text = String(cString: natsStatus_GetText(status))
            let where_ = options.servers.joined(separator: ", ")
            switch status {
            case NATS_CONNECTION_AUTH_FAILED, NATS_NOT_PERMITTED:
                throw .denied("connecting to \(where_): \(text); check the nkey or credentials")
            case NATS_SSL_ERROR, NATS_SECURE_CONNECTION_REQUIRED, NATS_SECURE_CONNECTION_WANTED:
                throw .failed("TLS with \(where_): \(text); check certificate files and the host's name")
            case NATS_PROTOCOL_ERROR:
                // With TLS 1.3 a broker that wants a client certificate hangs up after the handshake.
                let lacksOwn = options.tls && options.certificate == nil
                let wish = lacksOwn ? "; does it want a client certificate?" : ""
                throw .failed("\(where_) does not answer as a NATS server does: \(text)\(wish)")
            default: throw .unavailable
            }
        }
    }

    private static let errorHandler: natsErrHandler = { connection, _, status, context in
        guard status == NATS_NOT_PERMITTED, let context else { return }
        var text: UnsafePointer<CChar>?
        natsConnection_GetLastError(connection, &text)
        let told = text.map { String(cString: $0) } ?? "not permitted"
        Unmanaged<Locked<Listeners>>.fromOpaque(context).takeUnretainedValue().withLock { $0.refusal }?(told)
    }

    private static let lossHandler: natsConnectionHandler = { _, context in
        guard let context else { return }
        Unmanaged<Locked<Listeners>>.fromOpaque(context).takeUnretainedValue().withLock { $0.loss }?()
    }

    private static func apply(_ options: NATSOptions, to made: OpaquePointer?) throws(BusError) {
        var servers: [UnsafePointer<CChar>?] = options.servers.map { UnsafePointer(strdup($0)) }
        defer { for server in servers { free(UnsafeMutablePointer(mutating: server)) } }
        try check(natsOptions_SetServers(made, &servers, Int32(servers.count)), "servers")
        try check(natsOptions_SetName(made, options.name), "name")
        natsOptions_SetTimeout(made, 2_000)
        // Whoever sends to a broker that hangs waits no longer than this.
        natsOptions_SetWriteDeadline(made, 2_000)
        natsOptions_SetMaxReconnect(made, -1)
        natsOptions_SetReconnectWait(made, 100)
        // A broker that is cut off is noticed within 3 s instead of 4 minutes.
        natsOptions_SetPingInterval(made, 1_000)
        natsOptions_SetMaxPingsOut(made, 2)
        natsOptions_SetReconnectBufSize(made, 1 << 20)
        if options.tls { try check(natsOptions_SetSecure(made, true), "TLS") }
        if let file = options.authorities {
            try check(natsOptions_LoadCATrustedCertificates(made, file), "authorities \(file)")
        }
        if let own = options.certificate {
            try check(
                natsOptions_LoadCertificatesChain(made, own.chain, own.key), "certificate \(own.chain)")
        }
        if let nkey = options.nkey {
            try check(
                natsOptions_SetNKeyFromSeed(made, nkey.publicKey, nkey.seedFile),
                "nkey seed \(nkey.seedFile)")
        }
        if let file = options.credentials {
            try check(natsOptions_SetUserCredentialsFromFiles(made, file, nil), "credentials \(file)")
        }
    }

    private static func check(_ status: natsStatus, _ what: String) throws(BusError) {
        guard status != NATS_OK else { return }
        throw .failed("\(what): \(String(cString: natsStatus_GetText(status)))")
    }

    var isConnected: Bool { natsConnection_Status(connection) == NATS_CONN_STATUS_CONNECTED }

    /// Sends, or says that it could not.
    func publish(
        _ subject: String, reply: String?, headers: [(String, String)] = [], _ bytes: [UInt8]
    ) -> Bool {
        var message: OpaquePointer?
        let created = bytes.withUnsafeBytes { raw in
            natsMsg_Create(
                &message, subject, reply, raw.baseAddress?.assumingMemoryBound(to: CChar.self),
                Int32(raw.count))
        }
        guard created == NATS_OK else { return false }
        defer { natsMsg_Destroy(message) }
        for (key, value) in headers { natsMsgHeader_Set(message, key, value) }
        return natsConnection_PublishMsg(connection, message) == NATS_OK
    }

    final class Subscription: Sendable {
        // `nonisolated(unsafe)`: set once; libnats locks inside.
        nonisolated(unsafe) fileprivate let pointer: OpaquePointer
        fileprivate init(_ pointer: OpaquePointer) { self.pointer = pointer }
        deinit {
            natsSubscription_Unsubscribe(pointer)
            natsSubscription_Destroy(pointer)
        }
    }

    private final class Handler: Sendable {
        let call: @Sendable (NATSMessage) -> Void
        init(_ call: @escaping @Sendable (NATSMessage) -> Void) { self.call = call }
    }

    /// `deliver` is called on a thread of the subscription's own, until it is given up.
    func subscribe(
        _ subject: String, group: String? = nil, _ deliver: @escaping @Sendable (NATSMessage) -> Void
    ) throws(BusError) -> Subscription {
        // Given back by libnats when the last delivery is over, which may be after the subscription is destroyed.
        let handler = Unmanaged.passRetained(Handler(deliver))
        let receive: natsMsgHandler = { _, _, message, context in
            guard let message, let context else { return }
            defer { natsMsg_Destroy(message) }
            Unmanaged<Handler>.fromOpaque(context).takeUnretainedValue().call(NATSConnection.read(message))
        }
        var made: OpaquePointer?
        let status =
            group.map {
                natsConnection_QueueSubscribe(&made, connection, subject, $0, receive, handler.toOpaque())
            } ?? natsConnection_Subscribe(&made, connection, subject, receive, handler.toOpaque())
        guard status == NATS_OK, let made else {
            handler.release()
            throw .unavailable
        }
        natsSubscription_SetOnCompleteCB(
            made, { context in context.map { Unmanaged<Handler>.fromOpaque($0).release() } },
            handler.toOpaque())
        natsSubscription_SetPendingLimits(made, -1, 256 << 20)
        return Subscription(made)
    }

    private static func read(_ message: OpaquePointer) -> NATSMessage {
        let count = Int(natsMsg_GetDataLength(message))
        let bytes = Array(UnsafeRawBufferPointer(start: natsMsg_GetData(message), count: count))
        func header(_ key: String) -> String {
            var value: UnsafePointer<CChar>?
            guard natsMsgHeader_Get(message, key, &value) == NATS_OK, let value else { return "" }
            return String(cString: value)
        }
        return NATSMessage(
            subject: natsMsg_GetSubject(message).map { String(cString: $0) } ?? "",
            reply: natsMsg_GetReply(message).map { String(cString: $0) } ?? "", bytes: bytes,
            status: header("Status"), description: header("Description"))
    }

    deinit {
        listeners.withLock { $0 = Listeners() }
        guard let connection else { return }
        natsConnection_Close(connection)
        natsConnection_Destroy(connection)
    }
}
