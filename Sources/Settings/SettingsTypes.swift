import Telemetry

extension YAMLType<DaemonSettings.Listen> {
    /// `127.0.0.1:9480`. What other machines reach needs more: `SettingsChecks`.
    static var listen: YAMLType<DaemonSettings.Listen> {
        let expected = "an address and a port: 127.0.0.1:9480 or [::1]:9480"
        return YAMLType<DaemonSettings.Listen>(expected) { value in
            guard let text = value.read(.text(max: 300)) else { return nil }
            guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]),
                let host = address(text[..<colon])
            else {
                return value.refuse(expected)
            }
            return DaemonSettings.Listen(host: host, port: Int(port))
        }
    }

    /// An address without its brackets; names other than `localhost` say too little about who can reach them.
    private static func address(_ text: Substring) -> String? {
        if text == "localhost" { return String(text) }
        if text.hasPrefix("["), text.hasSuffix("]") {
            let bare = text.dropFirst().dropLast()
            let isAddress =
                bare.contains(":")
                && bare.utf8.allSatisfy { byte in
                    (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte | 0x20) || byte == 0x3A
                        || byte == 0x2E
                }
            return isAddress ? String(bare) : nil
        }
        let octets = text.split(separator: ".", omittingEmptySubsequences: false)
        return octets.count == 4 && octets.allSatisfy { UInt8($0) != nil } ? String(text) : nil
    }
}

extension YAMLType<String> {
    /// A name that is safe in paths, labels and URLs.
    static var name: YAMLType<String> {
        let expected = "a name of 1 to 64 characters out of a-z A-Z 0-9 . _ -"
        return text().checked(expected) { StreamID.isRunName($0) ? $0 : nil }
    }

    /// A name in a certificate: a common name, a DNS name or a URI.
    static var certificateName: YAMLType<String> {
        let expected = "a name in a client's certificate, of 1 to 200 printable ASCII characters"
        return text(max: 200).checked(expected) { text in
            !text.isEmpty && text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } ? text : nil
        }
    }

    /// A name of a host, as `Host` gives it, without a port.
    static var host: YAMLType<String> {
        let expected = "the name or address of a host, without scheme, port or path"
        return text(max: 253).checked(expected) { text in
            let bare = text.hasPrefix("[") && text.hasSuffix("]") ? "x" : text
            return bare.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"/:@?#".utf8.contains($0) }
                ? text.lowercased() : nil
        }
    }

    /// A URL of an endpoint. Secrets have no place in it.
    static var url: YAMLType<String> {
        let expected = "a URL as http://host:port/path, without user, password or fragment"
        return text(max: 2_048).checked(expected) { text in
            let schemes = ["http://", "https://"]
            guard let scheme = schemes.first(where: { text.hasPrefix($0) }) else { return nil }
            let authority = text.dropFirst(scheme.count).prefix { !"/?#".contains($0) }
            let host = authority.prefix { $0 != ":" }
            let printable = text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
            guard printable, !host.isEmpty, !authority.contains("@"), !text.contains("#") else { return nil }
            guard host.hasPrefix("[") || portIsValid(authority) else { return nil }
            return text
        }
    }

    private static func portIsValid(_ authority: Substring) -> Bool {
        let parts = authority.split(separator: ":", omittingEmptySubsequences: false)
        return parts.count == 1 || parts.count == 2 && UInt16(parts[1]).map { $0 > 0 } == true
    }
}

extension YAMLType<FieldIndex> {
    /// A DCGM field by any of its names.
    static var field: YAMLType<FieldIndex> {
        let expected = "the name of a DCGM field, as DCGM_FI_DEV_GPU_UTIL"
        return YAMLType<FieldIndex>(expected) { value in
            guard let name = value.read(.text(max: 128)) else { return nil }
            if let field = FieldCatalog.find(name: name) { return field }
            let near = Suggestion.nearest(to: name, in: FieldCatalog.all.map(\.name))
            let hint = near.map { "; did you mean `\($0)`?" } ?? ""
            value.fail("`\(name)` is not a known field\(hint)", expected: expected)
            return nil
        }
    }
}

extension YAMLType<DaemonSettings.SimulationRun.Speed> {
    /// `1`, `86400` or `max`.
    static var speed: YAMLType<DaemonSettings.SimulationRun.Speed> {
        let expected = "simulated seconds a second, from 0.001 to 1e9, or max"
        return YAMLType<String>.text(max: 32).checked(expected) { text in
            if text == "max" { return .max }
            guard let factor = Double(text), factor.isFinite, (0.001...1e9).contains(factor) else {
                return nil
            }
            return .times(factor)
        }
    }
}

extension YAMLType<DaemonSettings.Endpoint.Streams> {
    /// `measured`, `simulated`, `all`, or a list of streams.
    static var streams: YAMLType<DaemonSettings.Endpoint.Streams> {
        let expected = "measured, simulated, all, or a list of streams as [measured, sim/colossus]"
        let stream = YAMLType<String>.text().checked("a stream: measured or sim/RUN") { StreamID($0) }
        return YAMLType<DaemonSettings.Endpoint.Streams>(expected) { value in
            if value.isList { return value.read(.list(of: stream, min: 1)).map { .named($0) } }
            return value.read(.oneOf([("measured", .measured), ("simulated", .simulated), ("all", .all)]))
        }
    }
}

extension YAMLType<DaemonSettings.Header> {
    /// Checks one `name: value` of the headers.
    static func header(_ name: String) -> YAMLType<DaemonSettings.Header> {
        let owned = [
            "authorization", "connection", "content-encoding", "content-length", "content-type", "expect",
            "host",
            "idempotency-key", "transfer-encoding", "user-agent",
        ]
        let families = ["ce-", "x-prometheus-remote-write-"]
        let expected = "the value of a header, printable ASCII"
        return YAMLType<DaemonSettings.Header>(expected) { value in
            guard let text = value.read(.text(min: 0)) else { return nil }
            let token = name.utf8.allSatisfy { byte in
                StreamID.isRunName(String(decoding: [byte], as: UTF8.self)) && byte != UInt8(ascii: ".")
            }
            guard token, !name.isEmpty, name.utf8.count <= 64 else {
                value.fail("`\(name)` is not the name of a header", expected: "letters, digits, - and _")
                return nil
            }
            let lower = name.lowercased()
            guard !owned.contains(lower), !families.contains(where: { lower.hasPrefix($0) }) else {
                value.fail(
                    "`\(name)` is not set by hand",
                    expected: "bearer_token_file for a token, or another header")
                return nil
            }
            guard text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else { return value.refuse(expected) }
            return DaemonSettings.Header(name: name, value: text)
        }
    }
}
