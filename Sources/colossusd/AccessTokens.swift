import Foundation
import Settings
import Telemetry

/// Reads the secrets of a listener's tokens.
enum AccessTokens {
    /// - Throws: which file is wrong, and what was expected.
    static func read(_ tokens: [DaemonSettings.Token]) throws(StartError) -> BearerCheck {
        let folder = ProcessInfo.processInfo.environment["CREDENTIALS_DIRECTORY"]
        var identities: [BearerCheck.Identity] = []
        for token in tokens {
            let path = try path(token, folder)
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
            identities.append(
                .init(name: token.name, secrets: secrets, mayTellEvents: token.mayTellEvents))
        }
        return BearerCheck(identities)
    }

    private static func path(_ token: DaemonSettings.Token, _ folder: String?) throws(StartError) -> String {
        let prefix = "credential:"
        guard token.file.hasPrefix(prefix) else { return token.file }
        let name = token.file.dropFirst(prefix.count)
        guard let folder, !name.isEmpty, !name.contains("/"), name != "..", name != "." else {
            throw StartError(
                "The credential \(name) of the token \(token.name) was not passed.",
                hint: "Add LoadCredential=\(name):/path/of/the/file to the unit.", status: 78)
        }
        return folder + "/" + name
    }

    /// What other machines reach must not lose its last token while it listens there.
    static func check(
        _ name: String, _ listen: DaemonSettings.Listen, isInsecure: Bool, _ tokens: [DaemonSettings.Token]
    ) throws(StartError) {
        guard tokens.isEmpty, !isInsecure, !listen.isLoopback else { return }
        throw StartError(
            "\(name) listens on \(listen), which other machines reach, and nobody would be asked for a token.",
            hint: "Name tokens in \(name).tokens, or say \(name).insecure: true in a network that you trust.",
            status: 78)
    }
}
