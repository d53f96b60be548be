/// Endpoints that cannot be used; nothing was changed because of it.
public struct EndpointConfigurationError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Name and what is wrong.
    public var problems: [String]
    public var description: String { problems.joined(separator: "; ") }
}

extension EndpointConfiguration {
    /// What is wrong with a set of endpoints, each problem with the endpoint's name before it.
    public static func problems(in configurations: [EndpointConfiguration]) -> [String] {
        var found = configurations.flatMap { one in one.problems.map { "endpoint \(one.name): \($0)" } }
        var names: Set<String> = []
        var paths: [String: String] = [:]
        for one in configurations {
            if !names.insert(one.name).inserted {
                found.append("endpoint \(one.name): the name is there twice")
            }
            guard one.kind == .file, !one.path.isEmpty else { continue }
            if let other = paths.updateValue(one.name, forKey: one.path) {
                found.append("endpoint \(one.name): endpoint \(other) writes to the same file")
            }
        }
        return found
    }

    /// What is wrong with it, in plain sentences; empty when it can be used.
    public var problems: [String] {
        var found = namesProblems() + limitsProblems()
        found += destinationProblems() + secretsProblems() + kindProblems() + labels.problems
        for (header, value) in headers.sorted(by: { $0.key < $1.key }) {
            if let problem = Self.problem(header: header, value: value, kind: kind) { found.append(problem) }
        }
        return found
    }

    /// Headers that belong to the protocols; users cannot set them.
    static func isReserved(header: String, kind: EndpointKind) -> Bool {
        let name = header.lowercased()
        let common: Set<String> = [
            "content-type", "content-encoding", "content-length", "transfer-encoding", "connection", "host",
            "expect", "user-agent", "idempotency-key", "webhook-id", "webhook-timestamp", "webhook-signature",
        ]
        if common.contains(name) { return true }
        return kind == .webhook ? name.hasPrefix("ce-") : name.hasPrefix("x-prometheus-remote-write-")
    }

    private func destinationProblems() -> [String] {
        if kind.isRequesting {
            if url.isEmpty { return ["url is missing: where are summaries to be sent?"] }
            return DestinationURL(url) == nil ? ["url is not an http or https URL with a host"] : []
        }
        guard kind == .file else { return [] }
        if path.isEmpty { return ["path is missing: where are the lines to be written?"] }
        return path.utf8.contains(0) ? ["path holds a zero byte"] : []
    }

    private func secretsProblems() -> [String] {
        var found: [String] = []
        let authorizing = [
            secrets.tokenFile != nil, secrets.basicUser != nil || secrets.basicPasswordFile != nil,
            (Array(headers.keys) + secrets.headerFiles.keys).contains { $0.lowercased() == "authorization" },
        ]
        if authorizing.count(where: \.self) > 1 {
            found.append("a token, basic authentication and a header Authorization exclude each other")
        }
        if (secrets.basicUser == nil) != (secrets.basicPasswordFile == nil) {
            found.append("basic authentication needs a user and a password file")
        }
        if let user = secrets.basicUser,
            user.isEmpty || user.utf8.contains(where: { $0 < 0x20 || $0 == 0x3A })
        {
            found.append("the user of basic authentication may hold neither a colon nor control characters")
        }
        if (tls.certificateFile == nil) != (tls.keyFile == nil) {
            found.append("a client certificate needs its key, and a key its certificate")
        }
        if secrets.signingKeyFile != nil, kind != .webhook { found.append("only webhooks are signed") }
        for name in secrets.headerFiles.keys.sorted() {
            if let problem = Self.problem(header: name, value: "", kind: kind) { found.append(problem) }
        }
        let files = secrets.files + [tls.caFile, tls.certificateFile, tls.keyFile].compactMap(\.self)
        for file in files where file.hasPrefix(CredentialPath.prefix) && !CredentialPath.isName(file) {
            found.append("`\(file)` names no credential")
        }
        return found
    }

    private func kindProblems() -> [String] {
        var found: [String] = []
        if !(1...2).contains(protocolVersion) || protocolVersion == 2 && kind != .remoteWrite {
            found.append("version is 1.0 or 2.0, and of remote_write only")
        }
        let allowed: [Compression] =
            switch kind {
            case .remoteWrite: [.snappy, .zstd, .gzip]
            case .otlp, .influx, .webhook: [.none, .gzip]
            case .alertmanager: [.none]
            case .file, .stdout: []
            }
        if let compression, !allowed.contains(compression) {
            found.append("\(kind.rawValue) is not compressed with \(compression.rawValue)")
        }
        if kind != .webhook, !eventKinds.isEmpty || !hasSummaries {
            found.append("events are for webhooks only")
        } else if !hasSummaries, eventKinds.isEmpty {
            found.append("with neither summaries nor events nothing is sent")
        }
        if !(1_000...600_000).contains(resendMs) {
            found.append("alerts are sent again after 1 second to 10 minutes")
        }
        if hasHistograms, kind != .otlp, kind != .remoteWrite || protocolVersion != 2 {
            found.append("histograms need otlp or remote_write 2.0")
        }
        if let rotateBytes,
            !(65_536...1_099_511_627_776).contains(rotateBytes) || !(0...1_000).contains(rotateFiles)
        {
            found.append("files are rotated at 64 KiB to 1 TiB, and at most 1000 are kept")
        }
        if let origin = handshakeOrigin, origin.isEmpty || !origin.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        {
            found.append("the origin of the handshake must be a name without spaces")
        }
        return found
    }

    private func namesProblems() -> [String] {
        var found: [String] = []
        let plain = name.utf8.allSatisfy(Self.isNameByte)
        if !plain || !(1...64).contains(name.utf8.count) {
            found.append("name must be 1 to 64 characters out of a-z A-Z 0-9 . _ -")
        }
        if source.isEmpty || !source.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) {
            found.append("source must be a URI reference without spaces")
        }
        return found
    }

    private func limitsProblems() -> [String] {
        var found: [String] = []
        if !BatchLimits.samplesRange.contains(batch.samplesMax) {
            found.append("batch samples must be 1 to 100000")
        }
        if !BatchLimits.bytesRange.contains(batch.bytesMax) {
            found.append("batch bytes must be 1 KiB to 16 MiB")
        }
        if !BatchLimits.windowsRange.contains(batch.windowsMax)
            || !BatchLimits.waitRange.contains(batch.waitMs)
        {
            found.append("a batch has 1 to 64 windows, and waits for 0 to 60 seconds")
        } else if batch.waitMs > 0, batch.windowsMax == 1 {
            found.append("a batch of one window has nothing to wait for")
        }
        if batch.windowsMax > 1, !kind.isOfSeries {
            found.append("\(kind.rawValue) gets one window in a request")
        }
        if !(1...64).contains(maxInFlight) { found.append("1 to 64 requests may be on their way at once") }
        if takesAnyOrder, !kind.isRequesting || !wantsWindows {
            found.append("out of order go only summaries, and only to receivers with a URL")
        }
        if !(1...600_000).contains(connectTimeoutMs) || !(1...600_000).contains(timeoutMs) {
            found.append("timeouts must be 1 ms to 10 minutes")
        }
        if !(1...backoffCapMax).contains(backoff.capMs) || !(1...backoff.capMs).contains(backoff.baseMs) {
            found.append("backoff must be 1 ms to 1 hour, and its base not above its cap")
        }
        return found
    }

    private var backoffCapMax: Int64 { 3_600_000 }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    private static func problem(header: String, value: String, kind: EndpointKind) -> String? {
        let tokenMarks = Set("!#$%&'*+-.^_`|~".utf8)
        let isToken = header.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: tokenMarks.contains(byte)
            }
        }
        if header.isEmpty || !isToken { return "a header's name must be an HTTP token" }
        if isReserved(header: header, kind: kind) { return "header \(header) is the protocol's own" }
        // A line break would let a value add headers of its own. The value itself may be a secret: not shown.
        if value.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F }) {
            return "the value of header \(header) holds a control character"
        }
        return nil
    }
}
