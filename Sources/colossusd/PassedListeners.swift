import Glibc
import Logging
import Settings
import SystemdSupport

/// The listening sockets that systemd has opened for us, by the `FileDescriptorName=` of their units. systemd keeps them
/// while the service restarts, so that connections wait and none is refused.
struct PassedListeners: Sendable {
    var control: Int32?
    var ingest: Int32?
    var web: Int32?
    /// Whoever can connect to it may change things.
    var operators: Int32?
    /// Names that mean nothing to us, or came twice.
    var unknown: [String] = []

    /// A socket of another name, or a second one of a name, is shut down for systemd, too: what connected there would
    /// wait for ever.
    init(_ sockets: [PassedSocket]) {
        for socket in sockets {
            switch socket.name {
            case "control" where control == nil: control = socket.descriptor
            case "ingest" where ingest == nil: ingest = socket.descriptor
            case "web" where web == nil: web = socket.descriptor
            case "operator" where operators == nil: operators = socket.descriptor
            default:
                unknown.append(socket.name)
                shutdown(socket.descriptor, Int32(SHUT_RDWR))
                close(socket.descriptor)
            }
        }
    }

    /// Where a socket listens. A unix socket is this machine's own; what cannot be told counts as reached by others.
    static func address(_ descriptor: Int32) -> DaemonSettings.Listen {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        var port = [CChar](repeating: 0, count: Int(NI_MAXSERV))
        // The kernel writes an address of the size that it says, and `getnameinfo` reads one of that size.
        let isNamed = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                getsockname(descriptor, address, &size) == 0
                    && [AF_INET, AF_INET6].contains(Int32(address.pointee.sa_family))
                    && getnameinfo(
                        address, size, &host, socklen_t(host.count), &port, socklen_t(port.count),
                        NI_NUMERICHOST | NI_NUMERICSERV) == 0
            }
        }
        guard isNamed else {
            let isLocal = Int32(storage.ss_family) == AF_UNIX
            return DaemonSettings.Listen(host: isLocal ? "localhost" : "an unknown address", port: 0)
        }
        func text(_ buffer: [CChar]) -> String {
            String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
        return DaemonSettings.Listen(host: text(host), port: Int(text(port)) ?? 0)
    }

    func complain(_ logger: Logger) {
        guard !unknown.isEmpty else { return }
        logger.warning(
            "systemd has passed sockets that cannot be used and were shut down: FileDescriptorName= must be control, operator, ingest or web, with one ListenStream= each",
            metadata: ["names": "\(unknown.joined(separator: ","))"])
    }
}
