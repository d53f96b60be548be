import CCurl

/// One request on its way: an easy handle, and what has to stay where it is while libcurl works on it.
final class Transfer {
    let id: Int
    let handle: UnsafeMutableRawPointer
    let done: @Sendable (HTTPResult) -> Void
    var head: ResponseHead
    /// libcurl reads the body from here and copies nothing: it must not move until the transfer is over.
    private let body: UnsafeMutableBufferPointer<UInt8>
    private var headers: UnsafeMutablePointer<curl_slist>?

    /// - Parameter multi: what the socket callbacks get.
    init?(
        id: Int, _ request: HTTPRequest, multi: UnsafeMutableRawPointer,
        done: @escaping @Sendable (HTTPResult) -> Void
    ) {
        guard let handle = curl_easy_init() else { return nil }
        self.id = id
        self.handle = handle
        self.done = done
        head = ResponseHead(hidden: request.hidden)
        body = .allocate(capacity: max(1, request.body.count))
        _ = body.initialize(from: request.body)
        setUp(request, multi)
    }

    /// The handle must have been removed from its multi handle.
    deinit {
        curl_easy_cleanup(handle)
        curl_slist_free_all(headers)
        body.deallocate()
    }

    private func setUp(_ request: HTTPRequest, _ multi: UnsafeMutableRawPointer) {
        setAddress(request)
        setBody(request)
        setTimeouts(request)
        setCallbacks(multi)
    }

    private func setAddress(_ request: HTTPRequest) {
        _ = ccurl_setopt_string(handle, CURLOPT_URL, request.url)
        _ = ccurl_setopt_string(handle, CURLOPT_PROTOCOLS_STR, "http,https")
        // A redirection could carry a token to somebody else.
        _ = ccurl_setopt_long(handle, CURLOPT_FOLLOWLOCATION, 0)
        // Only what is configured decides where data goes, not the environment.
        _ = ccurl_setopt_string(handle, CURLOPT_PROXY, "")
        _ = ccurl_setopt_long(handle, CURLOPT_NETRC, 0)
        setTLS(request.tls)
    }

    private func setTLS(_ tls: EndpointTLS) {
        _ = ccurl_setopt_long(handle, CURLOPT_SSL_VERIFYPEER, 1)
        _ = ccurl_setopt_long(handle, CURLOPT_SSL_VERIFYHOST, 2)
        let lowest = tls.minimumVersion == .tls13 ? ccurl_tls13 : ccurl_tls12
        _ = ccurl_setopt_long(handle, CURLOPT_SSLVERSION, lowest)
        if let caFile = tls.caFile {
            _ = ccurl_setopt_string(handle, CURLOPT_CAINFO, caFile)
            // In place of the system's, and not beside them: Debian's libcurl looks into a folder as well.
            _ = ccurl_setopt_string(handle, CURLOPT_CAPATH, nil)
        }
        // Certificates that were replaced count from the next connection on.
        ccurl_setopt_ca_cache_off(handle)
        if let file = tls.certificateFile { _ = ccurl_setopt_string(handle, CURLOPT_SSLCERT, file) }
        if let file = tls.keyFile { _ = ccurl_setopt_string(handle, CURLOPT_SSLKEY, file) }
    }

    private func setBody(_ request: HTTPRequest) {
        // No round trip for "100-continue" with each request.
        headers = curl_slist_append(nil, "Expect:")
        for header in request.headers {
            // "Name;" is libcurl's way to write a header without a value.
            let line = header.value.isEmpty ? header.name + ";" : "\(header.name): \(header.value)"
            headers = curl_slist_append(headers, line)
        }
        _ = ccurl_setopt_slist(handle, CURLOPT_HTTPHEADER, headers)
        _ = ccurl_setopt_string(handle, CURLOPT_USERAGENT, "colossusd/1")
        _ = ccurl_setopt_long(handle, CURLOPT_POST, 1)
        if request.method != .post {
            _ = ccurl_setopt_string(handle, CURLOPT_CUSTOMREQUEST, request.method.rawValue)
        }
        _ = ccurl_setopt_off(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(request.body.count))
        _ = ccurl_setopt_pointer(handle, CURLOPT_POSTFIELDS, UnsafeMutableRawPointer(body.baseAddress))
    }

    private func setTimeouts(_ request: HTTPRequest) {
        _ = ccurl_setopt_long(handle, CURLOPT_CONNECTTIMEOUT_MS, Int(request.connectTimeoutMs))
        _ = ccurl_setopt_long(handle, CURLOPT_TIMEOUT_MS, Int(request.timeoutMs))
        // No signals: there are other threads. And no waiting for a resolver's thread on our queue.
        _ = ccurl_setopt_long(handle, CURLOPT_NOSIGNAL, 1)
        _ = ccurl_setopt_quick_exit(handle)
    }

    private func setCallbacks(_ multi: UnsafeMutableRawPointer) {
        // `CurlMulti` holds this object until the handle has left libcurl, so that the pointer is good in callbacks.
        let this = Unmanaged.passUnretained(self).toOpaque()
        _ = ccurl_setopt_pointer(handle, CURLOPT_PRIVATE, this)
        _ = ccurl_setopt_pointer(handle, CURLOPT_HEADERDATA, this)
        _ = ccurl_setopt_data(handle, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
            guard let bytes, let context else { return 0 }
            let line = UnsafeRawBufferPointer(start: bytes, count: size * count)
            Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue().head.headerLine(line)
            return size * count
        }
        _ = ccurl_setopt_pointer(handle, CURLOPT_WRITEDATA, this)
        _ = ccurl_setopt_data(handle, CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
            guard let bytes, let context else { return 0 }
            let part = UnsafeRawBufferPointer(start: bytes, count: size * count)
            let wantsMore = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue().head.bodyBytes(part)
            return wantsMore ? size * count : 0
        }
        _ = ccurl_setopt_pointer(handle, CURLOPT_OPENSOCKETDATA, multi)
        _ = ccurl_setopt_opensocket(handle, CurlMulti.openSocket)
    }
}

extension AttemptFailure {
    /// Which of our few kinds one of libcurl's hundred codes is.
    init(_ code: CURLcode) {
        switch code {
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: self = .resolve
        case CURLE_COULDNT_CONNECT: self = .connect
        case CURLE_OPERATION_TIMEDOUT: self = .timeout
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE,
            CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_INVALIDCERTSTATUS:
            self = .tls
        default: self = .transfer
        }
    }
}
