import Dispatch
import Glibc
import Synchronization

/// An HTTP client on one keep-alive connection that owns some of the requests: sends one, reads the answer, and so
/// on, with new times and values in each pass.
///
/// Unchecked, because it is used by one queue at a time: the caller waits for each pass.
final class Sender: @unchecked Sendable {
    /// Of the passes since the last look: nanoseconds of each request, and the CPU of sending.
    private(set) var latencies: [Int64] = []
    private(set) var cpuNs: Int64 = 0

    private let socket: Int32
    /// `nil`: the connection is plain.
    private let session: BenchSession?
    private let queue = DispatchQueue(label: "sender")
    private var payloads: [Payload]
    /// The same series in another order, for some; sent in every second pass.
    private var others: [Payload?]
    private let churnEvery: Int
    /// Why the last pass ended early.
    var failure: (any Error)?
    private let head: String
    private var answer = [UInt8](repeating: 0, count: 4_096)

    init(port: Int, _ parts: [(Payload, other: Payload?)], _ options: IngestOptions) throws {
        payloads = parts.map(\.0)
        others = parts.map(\.other)
        churnEvery = options.churnEvery
        let isVersion2 = options.version == 2
        let proto = isVersion2 ? ";proto=io.prometheus.write.v2.Request" : ""
        head =
            "POST /api/v1/write HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\n"
            + "Content-Type: application/x-protobuf\(proto)\r\nContent-Encoding: snappy\r\n"
            + "X-Prometheus-Remote-Write-Version: \(isVersion2 ? "2.0.0" : "0.1.0")\r\nContent-Length: "
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.socket = socket
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
        session = options.tls ? try BenchSession(socket) : nil
    }

    deinit { close(socket) }

    /// Forgets what was measured.
    func reset() {
        latencies = []
        cpuNs = 0
    }

    /// Sends all payloads once on a thread of its own.
    ///
    /// - Parameter dueNs: the requests are spread over the second that begins then (monotonic clock), and their lag is
    ///   measured from when each was due; `nil` sends one after another.
    func send(
        timeMs: Int64, pass: Int, dueNs: Int64? = nil,
        done: @escaping @Sendable (Result<Void, any Error>) -> Void
    ) {
        queue.async { [self] in
            let cpu = Stopwatch.threadNs()
            done(
                Result {
                    for index in payloads.indices { try send(index, timeMs, pass, dueNs) }
                    cpuNs += Stopwatch.threadNs() - cpu
                })
        }
    }

    private func send(_ index: Int, _ timeMs: Int64, _ pass: Int, _ dueNs: Int64?) throws {
        var began = Stopwatch.nowNs()
        if let dueNs {
            let due = dueNs + Int64(index) * 1_000_000_000 / Int64(payloads.count)
            if due > began { usleep(UInt32((due - began) / 1_000)) }
            began = due
        }
        if pass % 2 == 1, others[index] != nil {
            others[index]?.set(timeMs: timeMs, pass: pass, churnEvery: churnEvery)
            if dueNs == nil { began = Stopwatch.nowNs() }
            try post(others[index]?.bytes ?? [])
        } else {
            payloads[index].set(timeMs: timeMs, pass: pass, churnEvery: churnEvery)
            if dueNs == nil { began = Stopwatch.nowNs() }
            try post(payloads[index].bytes)
        }
        latencies.append(Stopwatch.nowNs() - began)
    }

    private func post(_ body: [UInt8]) throws {
        try write(Array("\(head)\(body.count)\r\n\r\n".utf8))
        try write(body)
        let (session, socket) = (session, socket)
        let count = answer.withUnsafeMutableBytes { space in
            session?.read(space) ?? recv(socket, space.baseAddress, space.count, 0)
        }
        guard count > 12, answer[..<count].suffix(4).elementsEqual("\r\n\r\n".utf8),
            answer[9..<12].elementsEqual("204".utf8)
        else {
            throw BenchError(
                "the server answered: \(String(decoding: answer[..<max(count, 0)], as: UTF8.self))")
        }
    }

    private func write(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                session?.write(UnsafeRawBufferPointer(rebasing: buffer[sent...]))
                    ?? Glibc.send(
                        socket, buffer.baseAddress?.advanced(by: sent), bytes.count - sent,
                        Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw BenchError("the server closed the connection") }
            sent += count
        }
    }
}
