import Dispatch
import Glibc

/// A plain HTTP/1.1 client on a socket, which sends exactly the bytes that it is told to.
///
/// It blocks, so its calls run on a queue of their own.
public final class RawClient: Sendable {
    public struct Reply: Equatable, Sendable {
        public var status = 0
        public var headers: [String: String] = [:]
        public var body = ""
    }

    public struct Failure: Error {}

    private let descriptor: CInt
    private let queue = DispatchQueue(label: "raw client")

    /// - Parameter patience: how long to wait for a reply, in seconds; a test that waits longer has failed.
    public init(port: Int, patience: Int = 10) throws {
        descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw Failure() }
        var timeout = timeval(tv_sec: patience, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isConnected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) == 0 }
        }
        guard isConnected else { throw Failure() }
    }

    deinit { close(descriptor) }

    public func send(_ bytes: [UInt8]) async {
        await onQueue { descriptor in
            var sent = 0
            while sent < bytes.count {
                let count = bytes[sent...].withUnsafeBytes {
                    Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
                }
                // The server may close at any time; what it answered is still there to be read.
                if count <= 0 { return }
                sent += count
            }
        }
    }

    public func send(_ text: String) async { await send(Array(text.utf8)) }

    /// Ends this side: the server sees the end of the stream.
    public func finish() { shutdown(descriptor, CInt(SHUT_WR)) }

    /// The next reply, or `nil` if the server closed the connection (or said nothing for too long).
    public func reply() async -> Reply? {
        await onQueue { descriptor in
            var head: [UInt8] = []
            while !head.suffix(4).elementsEqual("\r\n\r\n".utf8) {
                guard let byte = Self.read(descriptor, 1) else { return nil }
                head += byte
            }
            let lines = String(decoding: head, as: UTF8.self).split(separator: "\r\n")
            var reply = Reply(status: Int(lines[0].split(separator: " ")[1]) ?? 0)
            for line in lines.dropFirst() {
                guard let colon = line.firstIndex(of: ":") else { continue }
                reply.headers[line[..<colon].lowercased()] = String(line[colon...].dropFirst(2))
            }
            let length = reply.headers["content-length"].flatMap { Int($0) } ?? 0
            if length > 0 {
                guard let body = Self.read(descriptor, length) else { return nil }
                reply.body = String(decoding: body, as: UTF8.self)
            }
            return reply
        }
    }

    /// Whether the server has closed the connection.
    public func isClosed() async -> Bool {
        await onQueue { Self.read($0, 1) == nil && errno != EAGAIN }
    }

    public func post(
        _ path: String, _ body: [UInt8], _ headers: [String: String] = [:], host: String = "localhost"
    ) async -> Reply? {
        await send(Self.request(path, body, headers, host: host))
        return await reply()
    }

    public func write(_ body: [UInt8], _ headers: [String: String] = [:]) async -> Reply? {
        await post("/api/v1/write", body, Self.writeHeaders.merging(headers) { $1 })
    }

    public static let writeHeaders = [
        "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    ]

    public static func request(
        _ path: String, _ body: [UInt8], _ headers: [String: String] = [:], method: String = "POST",
        host: String = "localhost"
    ) -> [UInt8] {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: \(host)\r\nContent-Length: \(body.count)\r\n"
        for (name, value) in headers.sorted(by: { $0.key < $1.key }) { head += "\(name): \(value)\r\n" }
        return Array((head + "\r\n").utf8) + body
    }

    private func onQueue<T: Sendable>(_ body: @escaping @Sendable (CInt) -> T) async -> T {
        await withCheckedContinuation { continuation in
            queue.async { [descriptor] in continuation.resume(returning: body(descriptor)) }
        }
    }

    private static func read(_ descriptor: CInt, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        errno = 0
        while filled < count {
            let got = bytes[filled...].withUnsafeMutableBytes {
                recv(descriptor, $0.baseAddress, $0.count, 0)
            }
            guard got > 0 else { return nil }
            filled += got
        }
        return bytes
    }
}
