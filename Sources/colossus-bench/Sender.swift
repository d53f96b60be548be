import Glibc
import Synchronization

/// A plain HTTP client on one keep-alive connection: writes a request, reads the answer.
final class Sender {
    private let socket: Int32
    private let port: Int
    private var answer = [UInt8](repeating: 0, count: 4_096)

    init(port: Int) throws {
        self.port = port
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(socket, $0, length) }
        }
        guard status == 0 else { throw BenchError("cannot connect to port \(port)") }
        var on: Int32 = 1
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    }

    deinit { close(socket) }

    /// Sends the bodies one after another, a few ahead of the answers.
    func send(_ bodies: [[UInt8]]) throws {
        let ahead = 4
        var answered = 0
        for (number, body) in bodies.enumerated() {
            if number - answered >= ahead {
                try readAnswer()
                answered += 1
            }
            let head =
                "POST /api/v1/write HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nContent-Type: application/x-protobuf\r\n"
                + "Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n"
                + "Content-Length: \(body.count)\r\n\r\n"
            try write(Array(head.utf8))
            try write(body)
        }
        while answered < bodies.count {
            try readAnswer()
            answered += 1
        }
    }

    private func write(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.send(
                    socket, buffer.baseAddress?.advanced(by: sent), bytes.count - sent,
                    Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw BenchError("the server closed the connection") }
            sent += count
        }
    }

    /// A 204 has no body: its head ends with an empty line. What is read of the next answer is kept.
    private var kept: [UInt8] = []

    private func readAnswer() throws {
        let mark = Array("\r\n\r\n".utf8)
        while true {
            if let end = kept.indices.first(where: { kept[$0...].starts(with: mark) }) {
                let head = String(decoding: kept[..<end], as: UTF8.self)
                guard head.hasPrefix("HTTP/1.1 204") else { throw BenchError("the server answered: \(head)") }
                kept.removeFirst(end + mark.count)
                return
            }
            let count = recv(socket, &answer, answer.count, 0)
            guard count > 0 else { throw BenchError("the server closed the connection") }
            kept += answer[..<count]
        }
    }
}

/// Runs async code from the main thread, which has nothing else to do.
enum Blocking {
    static func run<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) throws -> Value {
        let box = Box<Value>()
        Task {
            do {
                let value = try await body()
                box.result.withLock { $0 = .success(value) }
            } catch {
                box.result.withLock { $0 = .failure(error) }
            }
        }
        while true {
            if let done = box.result.withLock({ $0 }) { return try done.get() }
            BenchCore.pause()
        }
    }

    static func wait(_ body: @escaping @Sendable () async -> Void) {
        let done = Signal()
        Task {
            await body()
            done.raise()
        }
        done.wait()
    }

    private final class Box<Value: Sendable>: Sendable {
        let result = Mutex<Swift.Result<Value, any Error>?>(nil)
    }
}
