import ControlAPI
import Glibc
public import Logging
import NIOCore
public import TLS

/// Serves a `ControlPlane`: to `colossusctl` on a unix socket, and, for reading only, on a web address.
///
/// It decodes, asks the plane, and encodes; it knows nothing itself.
public actor ControlServer {
    public struct Configuration: Sendable {
        /// The control socket, `RUNTIME_DIR/control.sock`.
        public var socketPath: String
        public var socketMode: UInt32 = 0o660
        /// User ids that may change things.
        public var writers: Set<UInt32> = [0, geteuid()]
        /// The web listener; `nil` for none. Port 0 takes a free one.
        public var web: (host: String, port: Int)?
        /// What connections of the web listener speak TLS with; `nil`: they are plain.
        public var webTLS: TLSAcceptor?
        /// Why a request with these `Authorization` headers, and these names in the caller's certificate, is not answered on
        /// the web listener, in a sentence; `nil` when it is. `/healthz` and `/readyz` are for everybody.
        public var webRefusal: @Sendable (_ authorization: [String], _ certificate: [String]?) -> String? = {
            _, _ in nil
        }
        /// Whether nobody is told more than his health without a certificate. Then a connection that has shown none ends with
        /// its first answer: whoever may not come in does not stay in the place of those who may.
        public var webWantsCertificate: @Sendable () -> Bool = { false }
        /// More names by which the web listener may be addressed, beside its own and the loopback's.
        public var webHosts: [String] = []
        public var connectionsMax = 128
        /// Listening sockets that systemd has opened and keeps; they are used instead of binding.
        public var passedSocket: Int32?
        public var passedWeb: Int32?
        /// A second control socket on which everybody who can connect may change things. In a user namespace of the
        /// service (PrivateUsers=) all other users look alike; then the socket's group is what tells operators apart.
        public var passedOperatorSocket: Int32?

        public init(socketPath: String, web: (host: String, port: Int)? = nil) {
            self.socketPath = socketPath
            self.web = web
        }
    }

    private let configuration: Configuration
    private let plane: any ControlPlane
    private let metricsText: @Sendable () -> String
    private let logger: Logger
    private var listeners: [Listener] = []
    private var socket: ClaimedSocket?

    /// - Parameter metricsText: the exposition for `/metrics`, as `Metrics.exposition()` makes it.
    public init(
        configuration: Configuration, plane: any ControlPlane,
        metricsText: @escaping @Sendable () -> String, logger: Logger
    ) {
        self.configuration = configuration
        self.plane = plane
        self.metricsText = metricsText
        self.logger = logger
    }

    /// Returns once both addresses are bound: the web listener's port, or 0 where there is none.
    ///
    /// - Throws: `ControlError` with the address and the reason.
    public func start() async throws -> Int {
        do {
            try await startControl()
            try await startOperators()
            return try await startWeb()
        } catch {
            await stop()
            throw error
        }
    }

    /// Closes both, with all connections. Can be called at any time.
    public func stop() async {
        // First the name, so that nobody connects to what is going away.
        socket?.remove()
        socket = nil
        let open = listeners
        listeners = []
        for listener in open { await listener.close() }
    }

    private func startControl() async throws {
        let router = ControlRouter.control(
            plane: plane, policy: AccessPolicy(writers: configuration.writers), logger: logger)
        if let passed = configuration.passedSocket {
            listeners.append(
                try await Listener(
                    router, at: .passed(passed), connectionsMax: configuration.connectionsMax))
            logger.info("the control socket is that of systemd")
            return
        }
        let file = SocketFile(path: configuration.socketPath, mode: configuration.socketMode)
        try file.check()
        do {
            listeners.append(
                try await Listener(
                    router, at: .unixSocket(path: file.temporaryPath),
                    connectionsMax: configuration.connectionsMax))
        } catch {
            throw Self.bindFailure(configuration.socketPath, error)
        }
        socket = try file.claim()
        logger.info("the control socket is open", metadata: ["path": .string(configuration.socketPath)])
    }

    private func startOperators() async throws {
        guard let passed = configuration.passedOperatorSocket else { return }
        let router = ControlRouter.control(
            plane: plane, policy: AccessPolicy(writers: configuration.writers, everybodyWrites: true),
            logger: logger)
        listeners.append(
            try await Listener(router, at: .passed(passed), connectionsMax: configuration.connectionsMax))
        logger.info("operators have a socket of their own, that of systemd")
    }

    private func startWeb() async throws -> Int {
        guard let web = configuration.web else { return 0 }
        let own = web.host.contains(":") ? "[\(web.host)]" : web.host
        let hosts = [own, "localhost", "127.0.0.1", "[::1]"] + configuration.webHosts
        let router = ControlRouter.web(
            plane: plane, hosts: Set(hosts.map(WebGuard.host)), refusal: configuration.webRefusal,
            wantsCertificate: configuration.webWantsCertificate, metricsText: metricsText, logger: logger)
        do {
            let address: ListenAddress =
                configuration.passedWeb.map { .passed($0) } ?? .host(web.host, port: web.port)
            let listener = try await Listener(
                router, at: address, connectionsMax: configuration.connectionsMax, tls: configuration.webTLS)
            listeners.append(listener)
            let port = listener.channel.localAddress?.port ?? web.port
            logger.info("the web listener is open", metadata: ["address": .string("\(own):\(port)")])
            return port
        } catch {
            throw Self.bindFailure("\(own):\(web.port)", error)
        }
    }

    private static func bindFailure(_ address: String, _ error: any Error) -> ControlError {
        let reason = (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
        return ControlError(
            .failed, "Cannot listen on \(address): \(reason).",
            hint: "Choose another address, or stop what uses this one.")
    }
}
