// What `colossusctl wait` and `colossusctl check` look at.
extension StatusReply {
    /// What is still on its way, in words; `nil` when everything is stored and delivered. Endpoints that somebody has
    /// paused, or that are disabled, get nothing until somebody acts: nothing is on its way to them.
    public var undrained: String? {
        if let stream = streams.first(where: { $0.samples.inFlight > 0 }) {
            return "\(Number.grouped(stream.samples.inFlight)) samples of \(stream.stream) are in flight"
        }
        if let endpoint = endpoints.first(where: {
            $0.pending > 0 && $0.state != .disabled && $0.state != .paused
        }) {
            return "\(Number.grouped(endpoint.pending)) windows wait for endpoint \(endpoint.name)"
        }
        return nil
    }

    /// Why a window up to a time is not closed, in words; `nil` when all are.
    public func unclosed(_ time: UTCTime, of name: String) -> String? {
        guard let stream = streams.first(where: { $0.stream == name }) else {
            return "there is no stream \(name)"
        }
        guard let closed = stream.closedThrough else { return "\(name) has no closed window" }
        return closed >= time ? nil : "\(name) is closed through \(closed)"
    }

    /// What a monitoring system is told, after the Nagios plug-in guidelines: a status, a line, and numbers.
    public var verdict: (status: Int32, line: String) {
        let measured = streams.first { $0.stream == "measured" }
        var numbers = ["uptime=\(Int64(uptimeSeconds))s"]
        if let measured {
            numbers.append("received=\(measured.samples.received)c")
            numbers.append("dropped=\(measured.samples.droppedTotal)c")
            if let lag = measured.lagSeconds { numbers.append("lag=\(Number.fixed(lag, 1))s") }
        }
        if let store { numbers.append("store=\(store.bytes)B") }
        numbers += endpoints.map { "'pending_\($0.name)'=\($0.pending)" }
        let data = " | " + numbers.joined(separator: " ")
        if !ready { return (2, "COLOSSUSD CRITICAL - not ready: \(reason ?? state.rawValue)" + data) }
        if let first = warnings.first {
            let more = warnings.count > 1 ? " (and \(warnings.count - 1) more)" : ""
            // A bar would begin the numbers.
            return (1, "COLOSSUSD WARNING - " + String(first.map { $0 == "|" ? "/" : $0 }) + more + data)
        }
        return (0, "COLOSSUSD OK - \(streams.count) streams, \(endpoints.count) endpoints" + data)
    }
}
