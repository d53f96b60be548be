import Foundation
import Settings
import Telemetry

/// Reads the secrets of a listener's tokens.
enum AccessTokens {
    /// - Throws: which file is wrong, and what was expected.
    static func read(
        _ tokens: [DaemonSettings.Token], _ tls: DaemonSettings.ListenerTLS?
    ) throws(StartError) -> BearerCheck {
        var identities: [BearerCheck.Identity] = []
        for token in tokens {
            identities.append(
                .init(
                    name: token.name, secrets: try secrets(token),
                    certificates: token.certificate.map { [$0] } ?? [], mayTellEvents: token.mayTellEvents))
        }
        return BearerCheck(identities, wantsCertificate: tls?.wantsCertificate == true)
    }

    private static func secrets(_ token: DaemonSettings.Token) throws(StartError) -> [[UInt8]] {
        guard let file = token.file else { return [] }
        let path = try Credentials.path(file, of: "the token \(token.name)")
        guard let bytes = try? Data(contentsOf: URL(filePath: path)) else {
            throw StartError(
                "The token file \(path) of \(token.name) cannot be read.",
                hint: "Make it readable for the user of the service.", status: 78)
        }
        guard let secrets = BearerCheck.secrets(Array(bytes)) else {
            throw StartError(
                "The token file \(path) of \(token.name) holds no good secret.",
                hint:
                    "Write a secret a line, of \(BearerCheck.secretBytesMin) printable characters or more: openssl rand -hex 32.",
                status: 78)
        }
        return secrets
    }

    /// What other machines reach must not lose its last token while it listens there.
    static func check(
        _ name: String, _ listen: DaemonSettings.Listen, isInsecure: Bool, _ tokens: [DaemonSettings.Token],
        _ tls: DaemonSettings.ListenerTLS?
    ) throws(StartError) {
        guard tokens.isEmpty, !isInsecure, !listen.isLoopback, tls?.wantsCertificate != true else { return }
        throw StartError(
            "\(name) listens on \(listen), which other machines reach, and nobody would be asked who he is.",
            hint:
                "Name tokens in \(name).tokens, require client certificates in \(name).tls, or say \(name).insecure: true in a network that you trust.",
            status: 78)
    }
}

/// Files that systemd has passed to the service (LoadCredential=).
enum Credentials {
    private static let prefix = "credential:"

    /// Where they are; `nil` outside of a service.
    static var folder: String? { ProcessInfo.processInfo.environment["CREDENTIALS_DIRECTORY"] }

    static func isOne(_ file: String) -> Bool { file.hasPrefix(prefix) }

    /// The path of a file, or of the credential that it names.
    ///
    /// - Parameter owner: what wants it, for the error.
    static func path(_ file: String, of owner: String) throws(StartError) -> String {
        guard isOne(file) else { return file }
        let name = file.dropFirst(prefix.count)
        guard let folder, !name.isEmpty, !name.contains("/"), name != "..", name != "." else {
            throw StartError(
                "The credential \(name) of \(owner) was not passed.",
                hint: "Add LoadCredential=\(name):/path/of/the/file to the unit.", status: 78)
        }
        return folder + "/" + name
    }
}
