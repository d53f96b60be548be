import CCurl
import Dispatch
import QueueIsolation
public import Simulation
import Synchronization
public import Telemetry
import WireFormats

/// Sends the ticks of some nodes to a remote write receiver, as a Prometheus that scrapes their exporters would.
///
/// It has a thread of its own, which may wait for the network. One tick is on its way at a time and one waits; what comes
/// besides is dropped and counted: a load source does not hold the run up, and does not repeat.
public final class RemoteWriteExport: TickTaker {
    /// Nodes in one request: about 500 series each.
    static let nodesPerRequest = 16
    static let timeoutMs = 10_000
    static let connectTimeoutMs = 5_000
    static let waitingMax = 2

    private struct State: Sendable {
        var counts = ExportCounts()
        var waiting = 0
        var isStopped = false
    }

    private let plan: FleetPlan
    private let nodes: Range<Int>
    private let url: String
    private let showsJob: Bool
    private let showsTime: Bool
    private let clock: WallClock
    private let state = Mutex(State())
    private let sender: Sender

    /// - Parameters:
    ///   - showsTime: samples have the simulated time; otherwise the time at which they are sent.
    public init(
        plan: FleetPlan, nodes: Range<Int>, url: String, name: String, showsJob: Bool, showsTime: Bool,
        clock: WallClock
    ) {
        self.plan = plan
        self.nodes = nodes
        self.url = url
        self.showsJob = showsJob
        self.showsTime = showsTime
        self.clock = clock
        sender = Sender(label: "colossus.export.\(name)")
    }

    public var counts: ExportCounts { state.withLock { $0.counts } }

    /// Sends nothing more once what is on its way is done.
    public func stop() { state.withLock { $0.isStopped = true } }

    public func take(_ tick: SimulatedTick) {
        let isTaken = state.withLock { state in
            guard !state.isStopped else { return false }
            guard state.waiting < Self.waitingMax else {
                state.counts.dropped += 1
                return false
            }
            state.waiting += 1
            return true
        }
        guard isTaken else { return }
        sender.perform { @Sendable [weak self] sender in self?.send(tick, sender) }
    }

    private func send(_ tick: SimulatedTick, _ sender: isolated Sender) {
        let timeMs = showsTime ? tick.timeMs : clock.nowMs()
        var first = nodes.lowerBound
        while first < nodes.upperBound, !state.withLock({ $0.isStopped }) {
            let part = first..<min(first + Self.nodesPerRequest, nodes.upperBound)
            first = part.upperBound
            let (body, samples) = message(tick, part, timeMs)
            guard samples > 0 else { continue }
            let problem = sender.post(body, to: url)
            state.withLock { state in
                state.counts.requests += 1
                state.counts.bytes += Int64(body.count)
                if let problem {
                    state.counts.failed += 1
                    state.counts.lastError = problem
                } else {
                    state.counts.samples += Int64(samples)
                }
            }
        }
        state.withLock { $0.waiting -= 1 }
    }

    /// The labels are those that a Prometheus would have after a scrape: the exporter's, the target's and `job`.
    func message(_ tick: SimulatedTick, _ nodes: Range<Int>, _ timeMs: Int64) -> (body: [UInt8], samples: Int)
    {
        var encoder = RemoteWriteEncoder()
        for node in nodes {
            let job = showsJob ? tick.job(ofNode: node) : nil
            for gpu in (8 * node)..<(8 * node + 8) {
                guard let values = tick.values(ofGPU: gpu) else { continue }
                let known = plan.labels(gpu: gpu, job: job).map { Label($0.0, $0.1) }
                let labels =
                    known + [Label("instance", plan.nodeName(node) + ":9400"), Label("job", "dcgm-exporter")]
                for (field, value) in zip(tick.fields, values) {
                    var own = [Label("__name__", field.field.name)]
                    if field == .xidErrors {
                        let text = XID.text(Int(value)) ?? "Unknown Error"
                        own += [Label("err_code", String(Int(value))), Label("err_msg", text)]
                    }
                    encoder.add(
                        labels: own + labels,
                        samples: [TimedValue(timeMs: timeMs, value: value)])
                }
            }
        }
        let samples = encoder.sampleCount
        return (samples > 0 ? encoder.finish() : [], samples)
    }
}

/// One connection of libcurl, on a queue that may block.
private actor Sender {
    private let executor: QueueExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private var handle: UnsafeMutableRawPointer?

    init(label: String) { executor = QueueExecutor(label: label, target: nil) }

    // The handle is libcurl's: nobody else has it when the actor goes.
    isolated deinit {
        if let handle { curl_easy_cleanup(handle) }
    }

    nonisolated func perform(_ work: @escaping @Sendable (isolated Sender) -> Void) {
        executor.queue.async { @Sendable in self.assumeIsolated { work($0) } }
    }

    /// What went wrong; `nil` when the receiver took it.
    func post(_ body: [UInt8], to url: String) -> String? {
        guard let handle = handle ?? curl_easy_init() else { return "libcurl cannot start" }
        self.handle = handle
        // Forgets the options and keeps the connection.
        curl_easy_reset(handle)
        var headers: UnsafeMutablePointer<curl_slist>?
        let (version, number) = RemoteWriteEncoder.versionHeader
        for line in [
            "Expect:", "Content-Type: " + RemoteWriteEncoder.contentType,
            "Content-Encoding: " + RemoteWriteEncoder.contentEncoding, "\(version): \(number)",
        ] { headers = curl_slist_append(headers, line) }
        defer { curl_slist_free_all(headers) }
        setOptions(handle, url)
        _ = ccurl_setopt_slist(handle, CURLOPT_HTTPHEADER, headers)
        _ = ccurl_setopt_off(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count))
        var bytes = body
        let code = bytes.withUnsafeMutableBytes { body in
            // libcurl reads from here until `curl_easy_perform` returns.
            _ = ccurl_setopt_pointer(handle, CURLOPT_POSTFIELDS, body.baseAddress)
            return curl_easy_perform(handle)
        }
        guard code == CURLE_OK else { return String(cString: curl_easy_strerror(code)) }
        var status = 0
        _ = ccurl_getinfo_long(handle, CURLINFO_RESPONSE_CODE, &status)
        return (200...299).contains(status) ? nil : "HTTP status \(status)"
    }

    private func setOptions(_ handle: UnsafeMutableRawPointer, _ url: String) {
        _ = ccurl_setopt_string(handle, CURLOPT_URL, url)
        _ = ccurl_setopt_string(handle, CURLOPT_PROTOCOLS_STR, "http,https")
        _ = ccurl_setopt_long(handle, CURLOPT_FOLLOWLOCATION, 0)
        _ = ccurl_setopt_string(handle, CURLOPT_PROXY, "")
        _ = ccurl_setopt_string(handle, CURLOPT_USERAGENT, "colossusd/1")
        _ = ccurl_setopt_long(handle, CURLOPT_POST, 1)
        _ = ccurl_setopt_long(handle, CURLOPT_CONNECTTIMEOUT_MS, RemoteWriteExport.connectTimeoutMs)
        _ = ccurl_setopt_long(handle, CURLOPT_TIMEOUT_MS, RemoteWriteExport.timeoutMs)
        _ = ccurl_setopt_long(handle, CURLOPT_NOSIGNAL, 1)
        // What the receiver says besides its status is not kept.
        _ = ccurl_setopt_data(handle, CURLOPT_WRITEFUNCTION) { _, size, count, _ in size * count }
    }
}
