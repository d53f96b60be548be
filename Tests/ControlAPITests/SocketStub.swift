import Glibc
import Synchronization

/// A unix socket that plays one script to the first who connects: what arrives is kept, what is scripted is sent.
final class SocketStub: Sendable {
    enum Step: Sendable {
        /// Reads up to and with the end of the request.
        case request
        case send(String)
        /// One byte a write.
        case trickle(String)
        /// Sends this until the other side is gone.
        case flood([UInt8])
        /// Waits until the other side is gone.
        case hold
    }

    let path: String
    private let folder: String
    private let received = Mutex<[UInt8]>([])

    init(_ script: [Step]) {
        var template = Array("/tmp/colossus-stub-XXXXXX".utf8CString)
        mkdtemp(&template)
        folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        path = folder + "/s"
        let listener = Self.listen(path)
        let thread = Thread { [self] in
            let peer = accept(listener, nil, nil)
            close(listener)
            script.forEach { self.play($0, peer) }
            close(peer)
        }
        thread.start()
    }

    deinit {
        unlink(path)
        rmdir(folder)
    }

    var request: String { received.withLock { String(decoding: $0, as: UTF8.self) } }

    private func play(_ step: Step, _ peer: Int32) {
        switch step {
        case .request: while !isRequestComplete, read(peer) {}
        case .send(let text): write(Array(text.utf8), peer)
        case .trickle(let text): for byte in text.utf8 { write([byte], peer) }
        case .flood(let bytes): while write(bytes, peer) {}
        case .hold: while read(peer) {}
        }
    }

    private var isRequestComplete: Bool {
        let text = request
        guard let end = text.range(of: "\r\n\r\n") else { return false }
        guard
            let header = text[..<end].split(separator: "\r\n").first(where: {
                $0.hasPrefix("Content-Length: ")
            }),
            let length = Int(header.dropFirst(16))
        else { return true }
        return text[end...].utf8.count >= length + 4
    }

    private func read(_ peer: Int32) -> Bool {
        var piece = [UInt8](repeating: 0, count: 4096)
        let count = recv(peer, &piece, piece.count, 0)
        if count > 0 { received.withLock { $0 += piece[..<count] } }
        return count > 0
    }

    @discardableResult
    private func write(_ bytes: [UInt8], _ peer: Int32) -> Bool {
        send(peer, bytes, bytes.count, Int32(MSG_NOSIGNAL)) > 0
    }

    private static func listen(_ path: String) -> Int32 {
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        withUnsafePointer(to: &address) {
            _ = $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        Glibc.listen(listener, 8)
        return listener
    }
}

extension String {
    /// Where a text begins in this one.
    func range(of text: String) -> Index? {
        indices.first { self[$0...].utf8.starts(with: text.utf8) }
    }
}

/// A thread that may block, away from the pool of the tests.
private struct Thread {
    let body: @Sendable () -> Void

    func start() {
        let box = Unmanaged.passRetained(Box(body))
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            { argument in
                // The box that was retained above; this thread is its only owner from here on.
                if let argument { Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, box.toOpaque())
        pthread_detach(thread)
    }

    private final class Box {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}
