import Dispatch
import Glibc

/// A real HTTP/1.1 server on a free loopback port that answers as a test tells it to. A thread a connection.
final class ScriptedServer: Sendable {
    struct Request: Sendable {
        var method: String
        var path: String
        /// Names in lower case.
        var headers: [String: String]
        var body: [UInt8]
        var connection: Int
    }

    enum Answer: Sendable {
        case status(Int, headers: [String] = [], body: String = "")
        /// Nothing, until the peer goes away.
        case silence
        /// The beginning of a response whose rest never comes.
        case cutHead
        case cutBody(Int)
        /// A whole head, and then a gigabyte.
        case gigabyte(Int)
        /// A good response, a byte every 20 ms.
        case trickle
        /// The connection ends without a word.
        case close
    }

    let port: UInt16
    private let listener: Int32
    private let answer: @Sendable (Request) -> Answer
    private let open = Locked<Set<Int32>>([])
    private let seen = Locked<[Request]>([])

    var requests: [Request] { seen.withLock { $0 } }
    func url(_ path: String = "/") -> String { "http://127.0.0.1:\(port)\(path)" }

    /// - Parameter port: 0 takes a free one.
    init(port: UInt16 = 0, answer: @escaping @Sendable (Request) -> Answer) throws {
        self.answer = answer
        (listener, self.port) = try Self.listen(port)
        let queue = DispatchQueue(label: "test.server.accept")
        queue.async { [self] in
            var number = 0
            // Descriptors are closed where they are used last: their numbers are soon those of others.
            defer { close(listener) }
            while case let peer = accept(listener, nil, nil), peer >= 0 {
                number += 1
                let connection = number
                open.withLock { _ = $0.insert(peer) }
                DispatchQueue(label: "test.server.\(number)").async { self.serve(peer, connection) }
            }
        }
    }

    /// Ends all connections; the port is free again.
    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        open.withLock { for peer in $0 { shutdown(peer, Int32(SHUT_RDWR)) } }
    }

    /// A port that was free a moment ago.
    static func freePort() throws -> UInt16 {
        let (socket, port) = try listen(0)
        close(socket)
        return port
    }

    struct SocketError: Error { var code: Int32 }

    private static func listen(_ port: UInt16) throws -> (Int32, UInt16) {
        let made = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var one: Int32 = 1
        setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(made, pointer, length) == 0 && Glibc.listen(made, 64) == 0
                    && getsockname(made, pointer, &length) == 0
            }
        }
        guard made >= 0, status else { throw SocketError(code: errno) }
        return (made, UInt16(bigEndian: address.sin_port))
    }

    private func serve(_ peer: Int32, _ connection: Int) {
        defer {
            open.withLock {
                $0.remove(peer)
                close(peer)
            }
        }
        var buffer: [UInt8] = []
        while let request = read(peer, &buffer, connection) {
            seen.withLock { $0.append(request) }
            guard reply(answer(request), to: peer) else { return }
        }
    }

    /// - Returns: whether the connection goes on.
    private func reply(_ answer: Answer, to peer: Int32) -> Bool {
        switch answer {
        case .status(let status, let headers, let body):
            let lines = ["HTTP/1.1 \(status) Said", "Content-Length: \(body.utf8.count)"] + headers
            return send(lines.joined(separator: "\r\n") + "\r\n\r\n" + body, peer)
        case .silence:
            var byte: UInt8 = 0
            while recv(peer, &byte, 1, 0) > 0 {}
            return false
        case .cutHead:
            _ = send("HTTP/1.1 200 OK\r\nContent-Le", peer)
            return false
        case .cutBody(let status):
            _ = send("HTTP/1.1 \(status) Said\r\nContent-Length: 1000\r\n\r\nhalf", peer)
            return false
        case .gigabyte(let status):
            let length = 1 << 30
            _ = send("HTTP/1.1 \(status) Said\r\nContent-Length: \(length)\r\n\r\n", peer)
            let chunk = String(repeating: "x", count: 1 << 20)
            for _ in 0..<(length >> 20) where !send(chunk, peer) { return false }
            return true
        case .trickle:
            for letter in "HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n"
                + String(repeating: "x", count: 600)
            {
                guard send(String(letter), peer) else { return false }
                usleep(20_000)
            }
            return true
        case .close:
            return false
        }
    }

    private func send(_ text: String, _ peer: Int32) -> Bool {
        let bytes = Array(text.utf8)
        return Glibc.send(peer, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
    }

    private func read(_ peer: Int32, _ buffer: inout [UInt8], _ connection: Int) -> Request? {
        let end = Array("\r\n\r\n".utf8)
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            if let head = buffer.firstRange(of: end)?.lowerBound {
                var request = Self.head(buffer[..<head], connection)
                let length = Int(request.headers["content-length"] ?? "0") ?? 0
                if buffer.count >= head + 4 + length {
                    request.body = Array(buffer[(head + 4)..<(head + 4 + length)])
                    buffer.removeFirst(head + 4 + length)
                    return request
                }
            }
            let count = recv(peer, &chunk, chunk.count, 0)
            guard count > 0 else { return nil }
            buffer += chunk[..<count]
        }
    }

    private static func head(_ bytes: ArraySlice<UInt8>, _ connection: Int) -> Request {
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\r\n").map(String.init)
        let words = (lines.first ?? "").split(separator: " ").map(String.init)
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            headers[line[..<colon].lowercased()] = String(value)
        }
        return Request(
            method: words.first ?? "", path: words.count > 1 ? words[1] : "", headers: headers, body: [],
            connection: connection
        )
    }
}
