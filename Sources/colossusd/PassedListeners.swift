import Glibc
import Logging
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

    func complain(_ logger: Logger) {
        guard !unknown.isEmpty else { return }
        logger.warning(
            "systemd has passed sockets that cannot be used and were shut down: FileDescriptorName= must be control, operator, ingest or web, with one ListenStream= each",
            metadata: ["names": "\(unknown.joined(separator: ","))"])
    }
}
