import Dispatch
public import Exchange
import Glibc
import Telemetry

/// The bus over NATS JetStream.
///
/// Everything is a message with a reply subject, so that nothing waits in a thread: publishing (the acknowledgement is
/// the reply), reading the last message of a subject from the stream's leader (`STREAM.MSG.GET`, never a direct get,
/// which any replica may answer from an old copy), and pulling.
public final class NATSBus: Bus {
    let connection: NATSConnection
    let requests = NATSRequests()
    private let streams: NATSStreams
    private let options: NATSOptions
    private let inbox: String
    private let answers: Locked<NATSConnection.Subscription?>
    private let timer: Locked<(any DispatchSourceTimer)?>
    private let readers = Locked<[Int: WeakReader]>([:])
    private let readerCount = Locked(0)
    private let refusals = Locked(NATSRefusals())
    private let made = Locked<[BusStream: JetStream.Created.Configuration]>([:])

    private struct WeakReader { weak var reader: NATSReader? }

    /// Connects, checks the servers' version and makes the streams that are missing. Blocks for some seconds at most.
    ///
    /// - Throws: `denied` for wrong credentials or permissions, `failed` for old servers or unusable files,
    ///   `unavailable` when no broker is there.
    public init(_ options: NATSOptions, streams: NATSStreams) throws(BusError) {
        self.options = options
        self.streams = streams
        var random = SystemRandomNumberGenerator()
        inbox = "_INBOX." + String(random.next(), radix: 36) + String(random.next(), radix: 36)
        connection = try NATSConnection(options)
        answers = Locked(nil)
        timer = Locked(nil)
        let requests = requests
        let prefix = inbox.utf8.count + 1
        let subscription = try connection.subscribe(inbox + ".*") { message in
            let token = String(message.subject.dropFirst(prefix))
            // "No responders": nobody listens on the subject, so nothing was stored.
            let isNobody = message.status == "503"
            requests.answer(token, isNobody ? .failure(.unavailable) : .success(message))
        }
        answers.withLock { $0 = subscription }
        connection.onRefusal { [weak self] text in self?.wasRefused(text) }
        connection.onLoss { [weak self] in self?.refusals.withLock { $0.connectionLost() } }
        startTimer()
        try checkVersion()
        try makeStreams()
    }

    /// Ends everything that waits. The bus cannot be used any more.
    public func close() {
        timer.withLock { timer in
            timer?.cancel()
            timer = nil
        }
        requests.endAll(.unavailable)
        answers.withLock { $0 = nil }
    }

    deinit { timer.withLock { $0?.cancel() } }

    public var isConnected: Bool { connection.isConnected }

    /// What the broker refused, how often, and in its words.
    public var refused: (count: UInt64, last: String?) {
        let now = Self.nowMs()
        return refusals.withLock { ($0.count, $0.words(nowMs: now)) }
    }

    private static let purge = "$JS.API.STREAM.PURGE."

    static func nowMs() -> Int64 { Int64(DispatchTime.now().uptimeNanoseconds / 1_000_000) }

    private func startTimer() {
        // No target: a callback may take a while, and must not hold up the pool.
        let queue = DispatchQueue(label: "colossus.exchange.timer")
        let source = DispatchSource.makeTimerSource(queue: queue)
        source.schedule(deadline: .now() + .milliseconds(100), repeating: .milliseconds(100))
        source.setEventHandler { @Sendable [weak self] in self?.tick() }
        source.resume()
        timer.withLock { $0 = source }
    }

    private func tick() {
        let now = Self.nowMs()
        requests.expire(nowMs: now)
        let all = readers.withLock { readers in
            readers = readers.filter { $0.value.reader != nil }
            return readers.values.compactMap(\.reader)
        }
        for reader in all { reader.tick(nowMs: now) }
    }

    /// `Permissions Violation for Publish to "SUBJECT"`, or `… for Subscription to "SUBJECT"`.
    private func wasRefused(_ text: String) {
        let parts = text.split(separator: "\"", omittingEmptySubsequences: false)
        let subject = parts.count >= 2 ? String(parts[1]) : ""
        // Whoever asks for that says so; all else goes on without it.
        let isOptional = subject.hasPrefix(Self.purge)
        if !isOptional {
            let isListening = parts.first?.contains("Subscription") == true
            refusals.withLock { $0.add(text, isListening: isListening, nowMs: Self.nowMs()) }
        }
        guard !subject.isEmpty else { return }
        if subject.hasPrefix(inbox) {
            requests.endAll(.denied(text))
        } else {
            requests.refuse(subject: subject, text)
        }
    }

    /// One message out, one answer back.
    func ask(
        _ subject: String, headers: [(String, String)] = [], _ bytes: [UInt8], timeoutMs: Int64? = nil,
        done: @escaping @Sendable (Result<NATSMessage, BusError>) -> Void
    ) {
        guard connection.isConnected else { return done(.failure(.unavailable)) }
        let deadline = Self.nowMs() + (timeoutMs ?? options.timeoutMs)
        let token = requests.add(subject, deadlineMs: deadline, done: done)
        if !connection.publish(subject, reply: "\(inbox).\(token)", headers: headers, bytes) {
            requests.answer(token, .failure(.unavailable))
        }
    }

    public func publish(
        _ message: BusMessage, expecting: Expectation,
        done: @escaping @Sendable (Result<UInt64, BusError>) -> Void
    ) {
        var headers: [(String, String)] = []
        if let id = message.id { headers.append(("Nats-Msg-Id", id)) }
        if case .lastSequence(let sequence) = expecting {
            headers.append(("Nats-Expected-Last-Subject-Sequence", String(sequence)))
        }
        ask(message.subject.text, headers: headers, message.bytes) { answer in
            done(
                answer.flatMap { JetStream.decode(JetStream.Acknowledgement.self, $0.bytes) }.flatMap { ack in
                    if let error = ack.error { return .failure(error.busError) }
                    // "A copy of what I have", but it has none: the broker took our message's id for one that it
                    // never stored.
                    guard let sequence = ack.seq, sequence > 0 else { return .failure(.ambiguous) }
                    return .success(sequence)
                })
        }
    }

    public func last(
        _ stream: BusStream, _ subject: Subject,
        done: @escaping @Sendable (Result<StoredMessage?, BusError>) -> Void
    ) {
        let request = JetStream.encode(JetStream.LastBySubject(last_by_subj: subject.text))
        ask("$JS.API.STREAM.MSG.GET.\(name(of: stream))", request) { answer in
            done(
                answer.flatMap { JetStream.decode(JetStream.Stored.self, $0.bytes) }.flatMap { stored in
                    if let error = stored.error {
                        return error.err_code == 10_037 ? .success(nil) : .failure(error.busError)
                    }
                    guard let message = stored.message, let bytes = JetStream.base64(message.data ?? "")
                    else { return .failure(.failed("the broker's answer has no message")) }
                    return .success(
                        StoredMessage(
                            subject: Subject(message.subject), bytes: bytes, sequence: message.seq,
                            timestampMs: JetStream.milliseconds(message.time)))
                })
        }
    }

    public func trim(
        _ stream: BusStream, _ filter: Subject, before sequence: UInt64,
        done: @escaping @Sendable (Result<UInt64, BusError>) -> Void
    ) {
        let request = JetStream.encode(JetStream.Purge(filter: filter.text, seq: sequence))
        ask(Self.purge + name(of: stream), request) { answer in
            done(
                answer.flatMap { JetStream.decode(JetStream.Purged.self, $0.bytes) }.flatMap { purged in
                    purged.error.map { .failure($0.busError) } ?? .success(purged.purged ?? 0)
                })
        }
    }

    public func open(
        _ stream: BusStream, _ filter: Subject, from start: BusStart,
        deliver: @escaping @Sendable (BusDelivery) -> Void
    ) -> any BusCursor {
        let reader = NATSReader(
            bus: self, stream: name(of: stream), filter: filter.text, start: start, deliver: deliver)
        let number = readerCount.withLock { count in
            count += 1
            return count
        }
        readers.withLock { $0[number] = WeakReader(reader: reader) }
        reader.tick(nowMs: Self.nowMs())
        return reader
    }

    public func request(
        _ subject: Subject, _ bytes: [UInt8], timeoutMs: Int64,
        done: @escaping @Sendable (Result<[UInt8], BusError>) -> Void
    ) {
        ask(subject.text, bytes, timeoutMs: timeoutMs) { done($0.map(\.bytes)) }
    }

    private final class Responder: BusCursor {
        private let subscription: Locked<NATSConnection.Subscription?>
        init(_ subscription: NATSConnection.Subscription?) { self.subscription = Locked(subscription) }
        func close() { subscription.withLock { $0 = nil } }
    }

    public func respond(
        _ subject: Subject, group: String?, answer: @escaping @Sendable ([UInt8]) -> [UInt8]
    ) -> any BusCursor {
        let connection = connection
        let subscription = try? connection.subscribe(subject.text, group: group) {
            [weak connection] message in
            guard !message.reply.isEmpty else { return }
            _ = connection?.publish(message.reply, reply: nil, answer(message.bytes))
        }
        return Responder(subscription)
    }
}

extension NATSBus {
    func name(of stream: BusStream) -> String {
        switch stream {
        case .partials: "CLSD_PART_\(streams.cluster)"
        case .finals: "CLSD_FIN_\(streams.cluster)"
        case .leases: "CLSD_LEASE_\(streams.cluster)"
        }
    }

    /// Waits for an answer; only while the bus is made, on the caller's thread.
    private func wait(_ subject: String, _ bytes: [UInt8], timeoutMs: Int64) -> Result<NATSMessage, BusError>
    {
        let arrived = DispatchSemaphore(value: 0)
        let answer = Locked<Result<NATSMessage, BusError>>(.failure(.ambiguous))
        ask(subject, bytes, timeoutMs: timeoutMs) { result in
            answer.withLock { $0 = result }
            arrived.signal()
        }
        arrived.wait()
        return answer.withLock { $0 }
    }

    /// Again and again while the brokers elect their leaders; up to 20 s.
    private func insist<Value: Decodable>(
        _ type: Value.Type, _ subject: String, _ bytes: [UInt8], _ isGood: (Value) -> BusError?
    ) throws(BusError) -> Value {
        let deadline = Self.nowMs() + 20_000
        while true {
            let result = wait(subject, bytes, timeoutMs: 3_000).flatMap { JetStream.decode(type, $0.bytes) }
            let error: BusError
            switch result {
            case .success(let value):
                guard let bad = isGood(value) else { return value }
                error = bad
            case .failure(let failure): error = failure
            }
            switch error {
            case .denied, .failed, .conflict: throw error
            case .ambiguous, .full, .unavailable: break
            }
            guard Self.nowMs() < deadline else { throw error }
            usleep(100_000)
        }
    }

    private func checkVersion() throws(BusError) {
        let information = try insist(JetStream.AccountInformation.self, "$JS.API.INFO", []) {
            $0.error?.busError
        }
        // Servers tell the level of their API since 2.11, where it is 1.
        guard (information.api?.level ?? 0) >= 1 || options.allowsOldServers else {
            throw .failed(
                "the NATS servers are older than 2.11, whose replicas may disagree about leases; "
                    + "use 2.11 or later")
        }
    }

    private func makeStreams() throws(BusError) {
        let second: Int64 = 1_000_000_000
        let prefix = "clsd.v1.\(streams.cluster)"
        var partials = JetStream.StreamConfiguration(
            name: name(of: .partials), subjects: [prefix + ".part.>"], num_replicas: streams.replicas,
            max_age: streams.partialAgeS * second)
        partials.max_bytes = streams.partialBytesMax
        // Never longer than messages are kept.
        partials.duplicate_window = min(partials.duplicate_window, partials.max_age)
        let finals = JetStream.StreamConfiguration(
            name: name(of: .finals), subjects: [prefix + ".fin.>"], num_replicas: streams.replicas,
            max_age: streams.finalAgeS * second)
        var leases = JetStream.StreamConfiguration(
            name: name(of: .leases), subjects: [prefix + ".lease.>"], num_replicas: streams.replicas,
            max_age: 0)
        leases.max_msgs_per_subject = 1
        // With one message a subject the new one takes the old one's place.
        leases.discard = "old"
        for (stream, wanted) in [(BusStream.partials, partials), (.finals, finals), (.leases, leases)] {
            let found = try make(wanted)
            made.withLock { $0[stream] = found }
        }
    }

    /// How long the brokers keep the messages of a stream, whoever has made it; 0: for ever.
    public func keepsMs(_ stream: BusStream) -> Int64 {
        made.withLock { $0[stream]?.max_age ?? 0 } / 1_000_000
    }

    /// What the streams that others have made have otherwise than is wanted here, in words.
    public var otherThanWanted: String? {
        let all = [otherPartials, otherFinals].compactMap { $0 }
        return all.isEmpty ? nil : all.joined(separator: "; ")
    }

    private var otherFinals: String? {
        guard let age = made.withLock({ $0[.finals] })?.max_age, age != streams.finalAgeS * 1_000_000_000
        else { return nil }
        return
            "\(name(of: .finals)) keeps finals for \(age / 1_000_000_000) s, not for \(streams.finalAgeS) s: "
            + "nats stream edit \(name(of: .finals)) --max-age \(streams.finalAgeS)s"
    }

    private var otherPartials: String? {
        let known = made.withLock { $0[.partials] }
        guard let age = known?.max_age, let bytes = known?.max_bytes else { return nil }
        let wantedAge = streams.partialAgeS * 1_000_000_000
        guard age != wantedAge || bytes != streams.partialBytesMax else { return nil }
        return
            "\(name(of: .partials)) keeps partials for \(age / 1_000_000_000) s and \(bytes) bytes, not for "
            + "\(streams.partialAgeS) s and \(streams.partialBytesMax) bytes: nats stream edit \(name(of: .partials)) "
            + "--max-age \(streams.partialAgeS)s --max-bytes \(streams.partialBytesMax)"
    }

    private func make(
        _ stream: JetStream.StreamConfiguration
    ) throws(BusError) -> JetStream.Created.Configuration? {
        let known = try insist(JetStream.Created.self, "$JS.API.STREAM.INFO.\(stream.name)", []) { answer in
            answer.error.flatMap { $0.err_code == 10_059 ? nil : $0.busError }
        }
        if known.error == nil { return known.config }
        let created = try insist(
            JetStream.Created.self, "$JS.API.STREAM.CREATE.\(stream.name)", JetStream.encode(stream)
        ) { answer in
            // 10058: another member was faster.
            answer.error.flatMap { $0.err_code == 10_058 ? nil : $0.busError }
        }
        if created.error == nil { return created.config }
        // As the other has made it.
        return try insist(JetStream.Created.self, "$JS.API.STREAM.INFO.\(stream.name)", []) { answer in
            answer.error.map { $0.err_code == 10_059 ? .unavailable : $0.busError }
        }.config
    }

    /// How a stream is.
    public struct Measure: Sendable {
        /// How far each copy is behind the leader, in messages.
        public var lag: [String: UInt64] = [:]
        public var bytes: Int64 = 0
        /// Of the stream itself; the brokers may have less. -1: as much as they have.
        public var bytesMax: Int64 = -1
    }

    /// Also what `keepsMs` says from then on.
    public func measure(
        _ stream: BusStream, done: @escaping @Sendable (Result<Measure, BusError>) -> Void
    ) {
        ask("$JS.API.STREAM.INFO.\(name(of: stream))", []) { [made] answer in
            done(
                answer.flatMap { JetStream.decode(JetStream.Created.self, $0.bytes) }.flatMap { created in
                    if let error = created.error { return .failure(error.busError) }
                    var measure = Measure()
                    for peer in created.cluster?.replicas ?? [] { measure.lag[peer.name] = peer.lag ?? 0 }
                    measure.bytes = created.state?.bytes ?? 0
                    measure.bytesMax = created.config?.max_bytes ?? -1
                    if let now = created.config { made.withLock { $0[stream] = now } }
                    return .success(measure)
                })
        }
    }
}
