public import Foundation

/// Certificates for one test, made by `openssl` in a folder of its own, which goes with the object.
public final class TestCertificates: Sendable {
    public struct Failure: Error {
        public var command: String
        public var output: String
    }

    public let folder: String

    /// Makes an authority, `ca`, and a certificate of a server, `server`, for localhost and 127.0.0.1.
    public init() throws {
        folder = NSTemporaryDirectory() + "colossus-tls-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try authority("ca")
        try make("server", more: ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    public func certificate(_ name: String) -> String { folder + "/\(name).pem" }
    public func key(_ name: String) -> String { folder + "/\(name).key" }

    private static let newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    public func authority(_ name: String) throws {
        try openssl(
            ["req", "-x509"] + Self.newKey + [
                "-keyout", key(name), "-out", certificate(name), "-subj", "/CN=\(name)", "-days", "2",
            ])
    }

    /// - Parameter commonName: the name of the files if it is not given; empty for none.
    public func make(
        _ name: String, commonName: String? = nil, authority: String = "ca", days: Int = 2,
        more: [String] = []
    ) throws {
        let subject = commonName ?? name
        try openssl(
            ["req"] + Self.newKey + [
                "-keyout", key(name), "-out", folder + "/\(name).csr",
                "-subj", subject.isEmpty ? "/O=nobody" : "/CN=\(subject)",
            ] + more)
        try openssl([
            "x509", "-req", "-in", folder + "/\(name).csr", "-CA", certificate(authority),
            "-CAkey", key(authority), "-days", "\(days)", "-copy_extensions", "copy",
            "-out", certificate(name),
        ])
    }

    public func list(_ name: String) -> String { folder + "/\(name).crl" }

    /// Makes a list of revoked certificates.
    ///
    /// - Parameters:
    ///   - name: of the file.
    ///   - revoked: names of certificates.
    ///   - terms: from when until when it is good, as `YYYYMMDDHHMMSSZ`; two days from now if it is not given.
    public func revoke(
        _ revoked: [String], in name: String, by authority: String = "ca",
        terms: (from: String, until: String)? = nil, more: String = ""
    ) throws {
        let lines = try revoked.map { one in
            let serial = try openssl(["x509", "-noout", "-serial", "-in", certificate(one)])
                .trimmingCharacters(in: .whitespacesAndNewlines).dropFirst("serial=".count)
            return "R\t491231235959Z\t260101000000Z\t\(serial)\tunknown\t/CN=\(one)\n"
        }
        let base = folder + "/\(UUID().uuidString)"
        try Data(lines.joined().utf8).write(to: URL(filePath: base + ".index"))
        try Data(
            "[ca]\ndefault_ca=own\n[own]\ndatabase=\(base).index\ndefault_md=sha256\n\(more)\n".utf8
        ).write(to: URL(filePath: base + ".conf"))
        let time =
            terms.map { ["-crl_lastupdate", $0.from, "-crl_nextupdate", $0.until] } ?? ["-crldays", "2"]
        try openssl(
            [
                "ca", "-gencrl", "-config", base + ".conf", "-cert", certificate(authority), "-keyfile",
                key(authority), "-out", list(name),
            ] + time)
    }

    @discardableResult
    public func openssl(_ arguments: [String]) throws -> String {
        let (status, output) = try Self.run("openssl", arguments)
        guard status == 0 else {
            throw Failure(command: arguments.joined(separator: " "), output: output)
        }
        return output
    }

    /// Runs a program, for 100 seconds at most, and returns with what status it ended and what it said. Blocks.
    public static func run(
        _ program: String, _ arguments: [String], input: Data = Data()
    ) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["timeout", "100", program] + arguments
        let (entry, exit) = (Pipe(), Pipe())
        process.standardInput = entry
        process.standardOutput = exit
        process.standardError = exit
        try process.run()
        try? entry.fileHandleForWriting.write(contentsOf: input)
        try? entry.fileHandleForWriting.close()
        let output = exit.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }

    /// The same, away from the threads that the server under test may need.
    public static func runAside(
        _ program: String, _ arguments: [String], input: Data = Data()
    ) async throws -> (status: Int32, output: String) {
        try await withCheckedThrowingContinuation { continuation in
            Thread {
                continuation.resume(with: Result { try run(program, arguments, input: input) })
            }.start()
        }
    }
}
