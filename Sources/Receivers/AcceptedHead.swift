import NIOHTTP1

/// The head of a request that was found good, by which the next one with the same head is recognised.
struct AcceptedHead {
    let plan: IngestPlan
    private let uri: String
    private let headers: [(name: String, value: String)]
    private let version: HTTPVersion
    private let method: HTTPMethod
    /// Of the tokens that it was judged by.
    let generation: Int

    init(_ head: HTTPRequestHead, _ plan: IngestPlan, generation: Int) {
        self.plan = plan
        self.generation = generation
        uri = head.uri
        method = head.method
        version = head.version
        headers = head.headers.map { ($0.name, $0.value) }
    }

    /// Whether a head says the same, but for the length of its body.
    func isLike(_ head: HTTPRequestHead) -> Bool {
        guard head.method == method, head.version == version, head.uri == uri,
            head.headers.count == headers.count
        else { return false }
        var place = 0
        for (name, value) in head.headers {
            let known = headers[place]
            place += 1
            guard name == known.name, value == known.value || HTTPRequestHead.isLength(name) else {
                return false
            }
        }
        return true
    }
}

extension HTTPRequestHead {
    static func isLength(_ name: String) -> Bool {
        name.utf8.count == 14 && name.lowercased() == "content-length"
    }

    /// What `Content-Length` says, or 0.
    var announcedLength: Int {
        for (name, value) in headers where Self.isLength(name) { return Int(value) ?? 0 }
        return 0
    }
}
