import Glibc

/// A loopback address at which attempts to connect hang: nobody accepts, and the queue of connections is full.
final class FullBacklog {
    struct SocketError: Error { var code: Int32 }

    let url: String
    private let listener: Int32
    private var peers: [Int32] = []

    init() throws {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        listener = socket(AF_INET, kind, 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        var peers: [Int32] = []
        let isListening = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                guard bind(listener, pointer, length) == 0, listen(listener, 0) == 0,
                    getsockname(listener, pointer, &length) == 0
                else { return false }
                for _ in 0..<4 {
                    let peer = socket(AF_INET, kind, 0)
                    peers.append(peer)
                    connect(peer, pointer, length)
                }
                return true
            }
        }
        url = "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))/"
        self.peers = peers
        guard isListening else { throw SocketError(code: errno) }
    }

    deinit {
        for peer in peers { close(peer) }
        close(listener)
    }
}
