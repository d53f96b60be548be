import CCurl

/// A URL that libcurl understands as `http` or `https` with a host.
struct DestinationURL {
    /// Scheme, host, port and path: without user, password and query, which may be secrets.
    let display: String
    /// Those: the password, the query as it is written, and its values.
    let hidden: [String]

    init?(_ text: String) {
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }), text.utf8.count <= 8_192,
            let handle = curl_url()
        else { return nil }
        defer { curl_url_cleanup(handle) }
        guard curl_url_set(handle, CURLUPART_URL, text, 0) == CURLUE_OK,
            let scheme = Self.part(CURLUPART_SCHEME, of: handle), ["http", "https"].contains(scheme),
            let host = Self.part(CURLUPART_HOST, of: handle), !host.isEmpty
        else { return nil }
        let port = Self.part(CURLUPART_PORT, of: handle).map { ":" + $0 } ?? ""
        let query = Self.part(CURLUPART_QUERY, of: handle) ?? ""
        let values = query.split(separator: "&").compactMap { pair in
            pair.firstIndex(of: "=").map { String(pair[pair.index(after: $0)...]) }
        }
        hidden = [Self.part(CURLUPART_PASSWORD, of: handle) ?? "", query] + values
        display = scheme + "://" + host + port + (Self.part(CURLUPART_PATH, of: handle) ?? "/")
    }

    private static func part(_ which: CURLUPart, of handle: OpaquePointer) -> String? {
        var text: UnsafeMutablePointer<CChar>?
        // The text is libcurl's and freed by its own function.
        guard curl_url_get(handle, which, &text, 0) == CURLUE_OK, let text else { return nil }
        defer { curl_free(text) }
        return String(cString: text)
    }
}
