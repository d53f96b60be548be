import Dispatch
import Glibc
import TestSupport

extension RawClient {
    func get(_ path: String) async -> Reply? {
        await send(Self.request(path, [], method: "GET"))
        return await reply()
    }
}

/// Takes one request on a free port of loopback, answers 204, and keeps its body.
final class BodyServer: Sendable {
    struct Failure: Error {}

    let port: Int
    private let listener: CInt
    private let queue = DispatchQueue(label: "test.body")

    init() throws {
        listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && listen(listener, 4) == 0
                    && getsockname(listener, $0, &size) == 0
            }
        }
        guard isBound else { throw Failure() }
        var patience = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        port = Int(UInt16(bigEndian: address.sin_port))
    }

    deinit { close(listener) }

    func body() async throws -> [UInt8] {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { [listener] in continuation.resume(with: Result { try Self.receive(listener) }) }
        }
    }

    private static func receive(_ listener: CInt) throws -> [UInt8] {
        let peer = accept(listener, nil, nil)
        guard peer >= 0 else { throw Failure() }
        defer { close(peer) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(peer, &piece, piece.count, 0)
            guard count > 0 else { throw Failure() }
            bytes += piece[..<count]
            let text = String(decoding: bytes.prefix(4_096), as: UTF8.self)
            guard let line = text.split(separator: "\r\n").first(where: { $0.hasPrefix("Content-Length: ") }),
                let length = Int(line.dropFirst(16)),
                let end = (0...max(0, bytes.count - 4)).first(where: {
                    bytes[$0...].starts(with: "\r\n\r\n".utf8)
                })
            else { continue }
            let body = bytes[(end + 4)...]
            guard body.count >= length else { continue }
            _ = Array("HTTP/1.1 204 No Content\r\n\r\n".utf8).withUnsafeBytes {
                send(peer, $0.baseAddress, $0.count, 0)
            }
            return Array(body)
        }
    }
}
