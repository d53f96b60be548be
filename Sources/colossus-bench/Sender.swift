import Glibc
import Telemetry

/// An HTTP client with some keep-alive connections, each of which owns some of the requests: sends one, and the next when
/// the answer is there, with new times and values in each pass. One thread, which waits for all connections at once.
final class Sender {
    /// Of the passes since the last look: nanoseconds of each request, and the CPU of sending.
    private(set) var latencies: [Int64] = []
    private(set) var cpuNs: Int64 = 0

    private var connections: [SenderConnection] = []
    private var payloads: [Payload]
    /// The same series in another order, for some; sent in every second pass.
    private var others: [Int: Payload]
    private let churnEvery: Int
    private let nodeCount: Int
    /// What is waited for: an answer on each connection.
    private var polls: [pollfd] = []

    init(port: Int, _ made: Payloads, _ options: IngestOptions) throws {
        payloads = made.payloads
        others = made.others
        churnEvery = options.churnEvery
        nodeCount = options.series / PayloadMaker.seriesPerNode
        for _ in 0..<min(options.connections, max(1, payloads.count)) {
            let connection = try SenderConnection(port: port, options)
            polls.append(pollfd(fd: connection.socket, events: Int16(POLLIN), revents: 0))
            connections.append(connection)
        }
    }

    /// Forgets what was measured.
    func reset() {
        latencies = []
        cpuNs = 0
    }

    /// Sends all payloads once.
    ///
    /// - Parameter dueNs: the requests are spread over the second that begins then (monotonic clock), and their lag is
    ///   measured from when each was due; one that is late does not wait. `nil` sends one after another.
    func pass(timeMs: Int64, number pass: Int, dueNs: Int64? = nil) throws {
        let cpu = Stopwatch.threadNs()
        defer { cpuNs += Stopwatch.threadNs() - cpu }
        var round = Round(
            pass: Payload.Pass(pass, timeMs: timeMs, nodes: nodeCount, churnEvery: churnEvery),
            isOdd: pass % 2 == 1, dueNs: dueNs, left: payloads.count)
        for number in connections.indices { connections[number].next = number }
        var answeredNs = Stopwatch.nowNs()
        while round.left > 0 {
            var waitNs: Int64 = 1_000_000_000
            for number in connections.indices { waitNs = min(waitNs, try send(number, round)) }
            // To the millisecond, as senders wait; what is late for it counts as lag.
            let waitMs = Int32((waitNs + 999_999) / 1_000_000)
            guard poll(&polls, nfds_t(polls.count), waitMs) >= 0 || errno == EINTR else {
                throw BenchError("the sender cannot wait: \(String(cString: strerror(errno)))")
            }
            for number in polls.indices where polls[number].revents != 0 {
                polls[number].revents = 0
                try connections[number].readAnswer()
                latencies.append(Stopwatch.nowNs() - connections[number].beganNs)
                round.left -= 1
                answeredNs = Stopwatch.nowNs()
            }
            guard Stopwatch.nowNs() - max(answeredNs, dueNs ?? 0) < Self.patienceNs else {
                throw BenchError("the server has not answered for a minute")
            }
        }
    }

    private static let patienceNs: Int64 = 60_000_000_000

    /// A pass that is under way.
    private struct Round {
        let pass: Payload.Pass
        let isOdd: Bool
        let dueNs: Int64?
        var left: Int
    }

    /// Sends the next request of a connection that has its last answer, if it is due.
    ///
    /// - Returns: nanoseconds until one is.
    private func send(_ number: Int, _ round: Round) throws -> Int64 {
        let index = connections[number].next
        guard !connections[number].isBusy, index < payloads.count else { return .max }
        if let dueNs = round.dueNs {
            let due = dueNs + Int64(index) * 1_000_000_000 / Int64(payloads.count)
            let now = Stopwatch.nowNs()
            if due > now { return due - now }
            connections[number].beganNs = due
        }
        if round.isOdd, others[index] != nil {
            others[index]?.set(round.pass, salt: index &* 101)
            try send(others[index], number, round)
        } else {
            payloads[index].set(round.pass, salt: index &* 101)
            try send(payloads[index], number, round)
        }
        connections[number].next += connections.count
        return .max
    }

    private func send(_ payload: Payload?, _ number: Int, _ round: Round) throws {
        guard let payload else { return }
        if round.dueNs == nil { connections[number].beganNs = Stopwatch.nowNs() }
        try connections[number].post(payload.bytes)
    }
}

/// One connection, whose socket blocks.
final class SenderConnection {
    let socket: Int32
    /// The payload that it sends next.
    var next = 0
    /// When the request under way was sent, or due.
    var beganNs: Int64 = 0
    /// Whether an answer is waited for.
    private(set) var isBusy = false
    /// `nil`: the connection is plain.
    private let session: BenchSession?
    private let head: String
    private var answer = [UInt8](repeating: 0, count: 4_096)

    init(port: Int, _ options: IngestOptions) throws {
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
        // A whole body, so that one slow connection does not keep the others waiting.
        var room: Int32 = 4 << 20
        setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &room, socklen_t(MemoryLayout<Int32>.size))
        session = options.tls ? try BenchSession(socket) : nil
    }

    deinit { close(socket) }

    /// Sends a request, head and body at once.
    func post(_ body: [UInt8]) throws {
        var head = Array("\(head)\(body.count)\r\n\r\n".utf8)
        isBusy = true
        if session != nil {
            try write(head)
            try write(body)
            return
        }
        let (headCount, socket) = (head.count, socket)
        let sent = head.withUnsafeMutableBytes { head in
            body.withUnsafeBytes { body in
                var parts = [
                    iovec(iov_base: head.baseAddress, iov_len: head.count),
                    iovec(iov_base: UnsafeMutableRawPointer(mutating: body.baseAddress), iov_len: body.count),
                ]
                return parts.withUnsafeMutableBufferPointer { parts in
                    var message = msghdr()
                    message.msg_iov = parts.baseAddress
                    message.msg_iovlen = parts.count
                    return sendmsg(socket, &message, Int32(MSG_NOSIGNAL))
                }
            }
        }
        guard sent >= headCount else { throw BenchError("the server closed the connection") }
        try write(body, from: sent - headCount)
    }

    func readAnswer() throws {
        isBusy = false
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

    private func write(_ bytes: [UInt8], from start: Int = 0) throws {
        var sent = start
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
