import CSystemd
import Glibc

/// A listening socket that systemd opened and passed: sd_listen_fds_with_names(3).
public struct PassedSocket: Sendable, Hashable {
    /// `FileDescriptorName=` of the socket unit, or the unit's name.
    public var name: String
    /// Open, close-on-exec; the owner is whoever takes it.
    public var descriptor: Int32

    public init(name: String, descriptor: Int32) {
        self.name = name
        self.descriptor = descriptor
    }

    /// The sockets that were passed, in the order of the units; once only, since the environment is cleared.
    public static func take() -> [PassedSocket] {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = sd_listen_fds_with_names(1, &names)
        defer {
            // The array and its strings are malloc'ed by libsystemd, and end with a null.
            if let list = names {
                var next = list
                while let name = next.pointee {
                    free(name)
                    next += 1
                }
                free(list)
            }
        }
        guard count > 0, let list = names else { return [] }
        return (0..<Int(count)).map { position in
            PassedSocket(
                name: list[position].map { String(cString: $0) } ?? "",
                descriptor: SD_LISTEN_FDS_START + Int32(position))
        }
    }
}
