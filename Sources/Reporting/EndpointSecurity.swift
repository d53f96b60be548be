/// Where the secrets of an endpoint are. Files are read again when they may have changed; `credential:NAME` is the file of
/// that name in the directory of systemd's credentials.
public struct EndpointSecrets: Sendable, Hashable {
    /// `Authorization: Bearer …`, of an InfluxDB `Authorization: Token …`.
    public var tokenFile: String?
    /// `Authorization: Basic …`.
    public var basicUser: String?
    public var basicPasswordFile: String?
    /// Headers whose values are in files.
    public var headerFiles: [String: String] = [:]
    /// Webhooks: the key of the signature (Standard Webhooks).
    public var signingKeyFile: String?

    public init() {}

    var files: [String] {
        [tokenFile, basicPasswordFile, signingKeyFile].compactMap(\.self) + headerFiles.values.sorted()
    }
    var isEmpty: Bool { files.isEmpty }
}

/// How the peer proves who it is, and how we do. Verification cannot be switched off.
public struct EndpointTLS: Sendable, Hashable {
    /// The raw value is what users write.
    public enum Version: String, CaseIterable, Sendable, Hashable {
        case tls12 = "1.2"
        case tls13 = "1.3"
    }

    /// Certificates to trust instead of the system's.
    public var caFile: String?
    /// PEM; both or neither. May be `credential:NAME`, as all of these.
    public var certificateFile: String?
    public var keyFile: String?
    public var minimumVersion = Version.tls12

    public init() {}
}

/// Where secrets are, from what users write.
enum CredentialPath {
    static let prefix = "credential:"

    /// - Parameter directory: of systemd's credentials, `nil` where there is none.
    /// - Returns: `nil` for a credential that nobody passed.
    static func resolve(_ path: String, in directory: String?) -> String? {
        guard path.hasPrefix(prefix) else { return path }
        return directory.map { $0 + "/" + path.dropFirst(prefix.count) }
    }

    static func isName(_ path: String) -> Bool {
        let name = path.dropFirst(prefix.count)
        return !name.isEmpty && !name.contains("/") && name != "." && name != ".."
    }
}
