import Dispatch
import Foundation
import Synchronization
import Testing

@testable import SystemdSupport

@Suite("Notifier")
struct NotifierTests {
    func messages(_ body: (Notifier) -> Void) -> [String] {
        let lines = Lines()
        body(Notifier(send: { @Sendable in lines.add($0) }, monotonicMicroseconds: { 42 }))
        return lines.all
    }

    @Test("messages are what sd_notify(3) says")
    func text() {
        let sent = messages { notifier in
            notifier.ready(status: "up")
            notifier.reloading(status: "reading")
            notifier.stopping(status: "draining")
            notifier.watchdog()
            notifier.failed(errno: 2, status: "no file")
            notifier.extendTimeout(milliseconds: 1_500)
        }
        #expect(
            sent == [
                "READY=1\nSTATUS=up", "RELOADING=1\nMONOTONIC_USEC=42\nSTATUS=reading",
                "STOPPING=1\nSTATUS=draining", "WATCHDOG=1", "ERRNO=2\nSTATUS=no file",
                "EXTEND_TIMEOUT_USEC=1500000",
            ])
    }

    @Test("a status is one line and cannot smuggle in another message")
    func oneLine() {
        #expect(messages { $0.status("a\nREADY=1\r\nb\u{0}c") } == ["STATUS=a READY=1 b c"])
        #expect(messages { $0.status(String(repeating: "x", count: 9_999)) }.map(\.count) == [507])
    }

    @Test("libsystemd delivers to the socket that NOTIFY_SOCKET names")
    func socket() throws {
        let path = NSTemporaryDirectory() + "/notify-" + UUID().uuidString.prefix(8)
        let descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        defer {
            close(descriptor)
            unlink(path)
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0)
        setenv("NOTIFY_SOCKET", path, 1)
        defer { unsetenv("NOTIFY_SOCKET") }
        Notifier.systemd.ready(status: "up")
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        #expect(count > 0)
        #expect(String(decoding: bytes.prefix(max(0, count)), as: UTF8.self) == "READY=1\nSTATUS=up")
    }
}

@Suite("SignalSources")
struct SignalSourcesTests {
    @Test("the first SIGTERM or SIGINT drains, the second ends the process", arguments: [SIGTERM, SIGINT])
    func twice(signal: Int32) {
        var meaning = SignalSources.Meaning()
        #expect(meaning.action(for: SIGHUP) == .call(.reload))
        #expect(meaning.action(for: signal) == .call(.stop))
        #expect(meaning.action(for: SIGHUP) == .call(.reload))
        #expect(meaning.action(for: SIGTERM) == .exit(143))
    }
}

@Suite("PassedSocket")
struct PassedSocketTests {
    @Test("without LISTEN_FDS there are none")
    func none() {
        #expect(PassedSocket.take() == [])
    }
}

@Suite("ServiceDirectory")
struct ServiceDirectoryTests {
    @Test("of several directories the first counts")
    func first() {
        setenv("COLOSSUS_TEST_DIRECTORY", "/var/lib/a:/var/lib/b", 1)
        defer { unsetenv("COLOSSUS_TEST_DIRECTORY") }
        #expect(ServiceDirectory.first("COLOSSUS_TEST_DIRECTORY") == "/var/lib/a")
        #expect(ServiceDirectory.first("COLOSSUS_TEST_NONE") == nil)
    }
}
