import Glibc
import NIOCore

/// Who is at the other end of the control socket, as the kernel says (`SO_PEERCRED`: the process that connected).
struct Peer: Sendable, Hashable {
    var uid: UInt32
    var gid: UInt32
    var pid: Int32

    /// The three 32-bit numbers of `struct ucred` (unix(7)) in its order: what the kernel writes for SO_PEERCRED. Glibc
    /// declares it for _GNU_SOURCE only.
    private struct Credentials: Sendable {
        var pid: Int32
        var uid: UInt32
        var gid: UInt32
    }

    /// `nil` when it is no unix socket.
    static func of(_ channel: any Channel) async -> Peer? {
        guard let options = channel as? any SocketOptionProvider else { return nil }
        let credentials: EventLoopFuture<Credentials> = options.unsafeGetSocketOption(
            level: .socket, name: NIOBSDSocket.Option(rawValue: SO_PEERCRED))
        guard let peer = try? await credentials.get(), peer.pid != 0 else { return nil }
        return Peer(uid: peer.uid, gid: peer.gid, pid: peer.pid)
    }
}

/// What a caller may do.
///
/// Who can connect may read: the socket's mode (0660) lets in root, the daemon's user and the members of the socket's
/// group, and the kernel checks that. Who may change things is decided here.
struct AccessPolicy: Sendable {
    enum Access: Sendable { case read, write }

    /// User ids that may write.
    var writers: Set<UInt32>
    /// On the operators' socket everybody may: the kernel has checked who can connect.
    var everybodyWrites = false

    func allows(_ access: Access, peer: Peer?) -> Bool {
        guard let peer else { return false }
        return access == .read || everybodyWrites || writers.contains(peer.uid)
    }
}
