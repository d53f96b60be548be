import Dispatch
import Glibc
import Telemetry

/// As much of a NATS server as a client needs to ask for something and be answered; one connection.
final class FakeBroker: Sendable {
    let port: Int
    private let listener: CInt
    /// What is answered to a request.
    private let answer: @Sendable (_ subject: String) -> String

    init(_ answer: @escaping @Sendable (_ subject: String) -> String) {
        self.answer = answer
        let listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        self.listener = listener
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { plain in
                _ = bind(listener, plain, size)
                _ = listen(listener, 4)
                _ = getsockname(listener, plain, &size)
            }
        }
        port = Int(in_port_t(bigEndian: address.sin_port))
        DispatchQueue(label: "fake broker").async { [self] in serve() }
    }

    func stop() { shutdown(listener, CInt(SHUT_RDWR)) }

    private func serve() {
        let client = accept(listener, nil, nil)
        defer {
            close(client)
            close(listener)
        }
        guard client >= 0 else { return }
        send(
            #"INFO {"server_id":"F","version":"2.11.0","proto":1,"headers":true,"max_payload":1048576}"#,
            client)
        var bytes: [UInt8] = []
        var inbox = ""
        while let line = Self.line(&bytes, client) {
            let words = line.split(separator: " ").map(String.init)
            switch words.first {
            case "PING": send("PONG", client)
            case "SUB" where words[1].hasPrefix("_INBOX."): inbox = words[words.count - 1]
            case "PUB":
                // PUB subject reply size, and the payload with an end of line.
                guard words.count == 4, let length = Int(words[3]) else { return }
                while bytes.count < length + 2 { guard Self.read(&bytes, client) else { return } }
                bytes.removeFirst(length + 2)
                let said = answer(words[1])
                send("MSG \(words[2]) \(inbox) \(said.utf8.count)\r\n\(said)", client)
            default: break
            }
        }
    }

    private func send(_ text: String, _ client: CInt) {
        let bytes = Array((text + "\r\n").utf8)
        _ = Glibc.send(client, bytes, bytes.count, CInt(MSG_NOSIGNAL))
    }

    private static func read(_ bytes: inout [UInt8], _ client: CInt) -> Bool {
        var chunk = [UInt8](repeating: 0, count: 4_096)
        let count = recv(client, &chunk, chunk.count, 0)
        if count > 0 { bytes += chunk[..<count] }
        return count > 0
    }

    private static func line(_ bytes: inout [UInt8], _ client: CInt) -> String? {
        while true {
            if let end = bytes.firstIndex(of: 10) {
                defer { bytes.removeFirst(end + 1) }
                return String(decoding: bytes[..<end].filter { $0 != 13 }, as: UTF8.self)
            }
            guard read(&bytes, client) else { return nil }
        }
    }
}
