import NIOHTTP1

/// What a request asks for.
enum IngestRoute: String, CaseIterable {
    case write = "/api/v1/write"
    case `import` = "/api/v1/import"
    case events = "/api/v1/events"

    /// What a body should hold.
    var expectation: String {
        switch self {
        case .write: "send a Prometheus remote write message"
        case .import: "send lines of exposition text, `DCGM_FI_DEV_GPU_TEMP{Hostname=\"n1\",gpu=\"0\"} 45`"
        case .events: "send one JSON object a line, `{\"kind\": \"node_down\", \"entity\": \"n1\"}`"
        }
    }
}

/// What is to be done with a body.
struct IngestPlan {
    var route: IngestRoute
    var encoding: BodyEncoding
    /// Remote write 2.0, and not 1.0.
    var isVersion2 = false
    /// `token:NAME` or `certificate:NAME`; `nil` where nobody is asked.
    var identity: String?
}

/// Judges requests by their head alone.
struct RequestRules: Sendable {
    private let hosts: Set<String>
    private let bodyBytes: Int
    private let access: IngestAccess

    /// - Parameter hosts: names besides the loopback ones.
    init(hosts: [String], bodyBytes: Int, access: IngestAccess) {
        self.access = access
        self.hosts = Set(["localhost", "127.0.0.1", "::1"] + hosts.map { Self.canonical($0) })
        self.bodyBytes = bodyBytes
    }

    /// - Parameter certificate: the names in the sender's certificate.
    func plan(_ head: HTTPRequestHead, certificate: [String]? = nil) throws(Answer) -> IngestPlan {
        // A browser that some page has sent here says so; nothing that pushes telemetry is a page.
        guard !head.headers.contains(name: "origin") else {
            throw .refused(
                .forbidden, "origin",
                "Requests with an Origin header are refused: this is no service for web pages.")
        }
        // A page can also make its own name resolve to this machine; then the name in `Host` is the page's.
        let names = head.headers["host"]
        guard names.count == 1, hosts.contains(Self.host(names[0])) else {
            throw .refused(
                .forbidden, "host",
                "The Host header names none of the names that this service is configured to have.")
        }
        let path = head.uri.prefix { $0 != "?" }
        // Before anything is said about what there is.
        let identity = try access.identity(
            head, IngestRoute(rawValue: String(path)), certificate: certificate)
        guard let route = IngestRoute(rawValue: String(path)) else {
            throw .refused(
                .notFound, "path",
                "There is nothing here. Telemetry goes to /api/v1/write, /api/v1/import or /api/v1/events.")
        }
        guard head.method == .POST else {
            throw .refused(.methodNotAllowed, "method", "\(path) wants POST.", headers: [("Allow", "POST")])
        }
        var plan = try plan(route, content: head.headers)
        plan.identity = identity
        if let length = head.headers.first(name: "content-length").flatMap({ Int($0) }), length > bodyBytes {
            throw tooLarge
        }
        return plan
    }

    var tooLarge: Answer {
        .refused(
            .payloadTooLarge, "too_large",
            "The body is larger than \(bodyBytes >> 20) MiB (\(bodyBytes) bytes); send it in parts.")
    }

    private func plan(_ route: IngestRoute, content headers: HTTPHeaders) throws(Answer) -> IngestPlan {
        let type = MediaType(headers.first(name: "content-type") ?? "")
        // What says nothing is as the format is usually sent.
        var plan = IngestPlan(
            route: route, encoding: try encoding(headers) ?? (route == .write ? .snappy : .identity))
        switch route {
        case .write:
            guard type.name.isEmpty || type.name == "application/x-protobuf" else {
                throw unsupported("Remote write is application/x-protobuf, not \(type.name).")
            }
            switch type.parameters["proto"] ?? "prometheus.WriteRequest" {
            case "prometheus.WriteRequest": break
            case "io.prometheus.write.v2.Request": plan.isVersion2 = true
            case let other:
                throw unsupported(
                    "Remote write 1.0 (prometheus.WriteRequest) and 2.0 (io.prometheus.write.v2.Request) are read here, not \(other)."
                )
            }
        case .import:
            let isText = ["", "text/plain", "application/x-www-form-urlencoded"].contains(type.name)
            guard isText, ["", "0.0.4"].contains(type.parameters["version"] ?? "") else {
                throw unsupported("Only the text format 0.0.4 is read here (text/plain; version=0.0.4).")
            }
        case .events:
            let names = ["", "application/json", "application/jsonl", "application/x-ndjson", "text/plain"]
            guard (names + ["application/x-www-form-urlencoded"]).contains(type.name) else {
                throw unsupported("Events are lines of JSON (application/x-ndjson), not \(type.name).")
            }
        }
        return plan
    }

    private func encoding(_ headers: HTTPHeaders) throws(Answer) -> BodyEncoding? {
        let names = headers["content-encoding"]
        guard let name = names.first?.lowercased(), names.count > 1 || !name.isEmpty else { return nil }
        guard names.count == 1, let encoding = BodyEncoding(rawValue: name) else {
            let known = BodyEncoding.allCases.map(\.rawValue).joined(separator: ", ")
            throw unsupported("A body is one of \(known), not \(names.joined(separator: ", ")).")
        }
        return encoding
    }

    private func unsupported(_ sentence: String) -> Answer {
        .refused(.unsupportedMediaType, "media_type", sentence)
    }

    /// The name in a `Host` header, without the port.
    private static func host(_ header: String) -> String {
        if header.hasPrefix("["), let end = header.firstIndex(of: "]") {
            let rest = header[header.index(after: end)...]
            guard rest.isEmpty || isPort(rest) else { return "" }
            return canonical(String(header[header.index(after: header.startIndex)..<end]))
        }
        guard let colon = header.firstIndex(of: ":") else { return canonical(header) }
        return isPort(header[colon...]) ? canonical(String(header[..<colon])) : ""
    }

    private static func isPort(_ text: Substring) -> Bool {
        text.first == ":" && text.dropFirst().utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
    }

    private static func canonical(_ name: String) -> String {
        let name = name.lowercased()
        return name.hasSuffix(".") ? String(name.dropLast()) : name
    }
}

/// `type/subtype; name=value; …`
struct MediaType {
    var name: String
    var parameters: [String: String] = [:]

    init(_ header: String) {
        let pieces = header.split(separator: ";", omittingEmptySubsequences: false).map(Self.trimmed)
        name = (pieces.first ?? "").lowercased()
        for piece in pieces.dropFirst() {
            guard let equals = piece.firstIndex(of: "=") else { continue }
            let value = Self.trimmed(piece[piece.index(after: equals)...])
            let isQuoted = value.count >= 2 && value.hasPrefix("\"") && value.hasSuffix("\"")
            let key = Self.trimmed(piece[..<equals]).lowercased()
            parameters[key] = isQuoted ? String(value.dropFirst().dropLast()) : value
        }
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        let start = text.drop { $0 == " " || $0 == "\t" }
        return String(start.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
    }
}
