import Exchange
import Telemetry
import Testing

@testable import NATSExchange

@Suite("What JetStream says")
struct JetStreamTests {
    func acknowledgement(_ json: String) throws -> JetStream.Acknowledgement {
        try JetStream.decode(JetStream.Acknowledgement.self, Array(json.utf8)).get()
    }

    @Test("one refusal does not hide another, and each is over in its time")
    func refusals() {
        var refusals = NATSRefusals()
        #expect(refusals.words(nowMs: 0) == nil)
        refusals.add("no listening", isListening: true, nowMs: 0)
        refusals.add("no publishing", isListening: false, nowMs: 1_000_000)
        #expect(refusals.words(nowMs: 1_000_000) == "no listening; no publishing")
        refusals.add("listening again", isListening: true, nowMs: 1_000_001)
        #expect(refusals.words(nowMs: 1_000_000 + NATSRefusals.lastsMs) == "listening again")
        refusals.connectionLost()
        #expect(refusals.words(nowMs: 1_000_000 + NATSRefusals.lastsMs) == nil)
        #expect(refusals.words(nowMs: 1_000_000) == "no publishing" && refusals.count == 3)
    }

    @Test("a stored message has its sequence")
    func stored() throws {
        #expect(try acknowledgement(#"{"stream":"S","seq":42,"domain":"d"}"#).seq == 42)
    }

    @Test(
        "each refusal is told as what it means",
        arguments: [
            (10_071, 400, BusError.conflict), (10_164, 400, .ambiguous), (10_077, 503, .full),
            (10_008, 503, .unavailable), (0, 503, .unavailable),
            (10_025, 400, .failed("bad (JetStream error 10025)")),
        ])
    func refusals(code: Int, status: Int, error: BusError) throws {
        let json = #"{"error":{"code":\#(status),"err_code":\#(code),"description":"bad"},"seq":0}"#
        #expect(try acknowledgement(json).error?.busError == error)
    }

    @Test("when a message was stored is told in milliseconds, however many digits there are")
    func times() {
        #expect(JetStream.milliseconds("2023-11-14T22:13:20.123456789Z") == 1_700_000_000_123)
        #expect(JetStream.milliseconds("2023-11-14T22:13:20.5Z") == 1_700_000_000_500)
        #expect(JetStream.milliseconds("2023-11-14T22:13:20Z") == 1_700_000_000_000)
        #expect(JetStream.milliseconds("yesterday") == 0 && JetStream.milliseconds(nil) == 0)
    }

    @Test("anything else than JSON is a failure that says so")
    func nonsense() {
        let read = JetStream.decode(JetStream.Acknowledgement.self, Array("+OK".utf8))
        guard case .failure(.failed(let text)) = read else {
            Issue.record("\(read)")
            return
        }
        #expect(text.contains("JetStream"))
    }

    @Test("a delivered message tells its place, with a domain and without")
    func places() throws {
        let plain = try #require(JetStream.place("$JS.ACK.S.C.1.77.5.1700000000123456789.9"))
        #expect(plain == (77, 5, 1_700_000_000_123))
        let long = try #require(JetStream.place("$JS.ACK.hub.acc.S.C.1.77.5.1700000000123456789.9.tok"))
        #expect(long == (77, 5, 1_700_000_000_123))
        #expect(JetStream.place("$JS.ACK.S.C.1.x.5.1.9") == nil)
        #expect(JetStream.place("_INBOX.x.1") == nil)
    }

    @Test("requests end once: answered, refused by their subject, or given up")
    func requests() {
        let requests = NATSRequests()
        let outcomes = Locked<[String: [BusError?]]>([:])
        func add(_ name: String, _ subject: String) -> String {
            requests.add(subject, deadlineMs: 100) { result in
                var error: BusError?
                if case .failure(let failure) = result { error = failure }
                outcomes.withLock { $0[name, default: []].append(error) }
            }
        }
        let answered = add("answered", "a")
        _ = add("refused", "b")
        _ = add("late", "c")
        let message = NATSMessage(subject: "", reply: "", bytes: [], status: "", description: "")
        requests.answer(answered, .success(message))
        requests.answer(answered, .success(message))
        requests.refuse(subject: "b", "no")
        requests.expire(nowMs: 99)
        requests.expire(nowMs: 100)
        requests.endAll(.unavailable)
        let all = outcomes.withLock { $0 }
        #expect(all == ["answered": [nil], "refused": [.denied("no")], "late": [.ambiguous]])
    }

    @Test("a stream that another member made meanwhile is taken as it is there")
    func madeMeanwhile() async throws {
        let made = Locked<Set<String>>([])
        let ageNs = Locked<Int64>(3_600_000_000_000)
        let broker = FakeBroker { subject in
            guard subject.hasPrefix("$JS.API.STREAM.") else { return #"{"api":{"level":1}}"# }
            let name = String(subject.split(separator: ".").last ?? "")
            let error = #"{"error":{"code":400,"err_code":%,"description":"no"}}"#
            if subject.contains(".CREATE.") {
                made.withLock { _ = $0.insert(name) }
                return error.replacing("%", with: "10058")
            }
            guard made.withLock({ $0.contains(name) }) else { return error.replacing("%", with: "10059") }
            let age = ageNs.withLock { $0 }
            return #"{"config":{"max_age":\#(age),"max_bytes":1000}}"#
        }
        defer { broker.stop() }
        let options = NATSOptions(servers: ["nats://127.0.0.1:\(broker.port)"], name: "test")
        let bus = try NATSBus(options, streams: NATSStreams(cluster: "t", replicas: 1))
        #expect(bus.keepsMs(.partials) == 3_600_000)
        let told = try #require(bus.otherThanWanted)
        #expect(told.contains("CLSD_PART_t keeps partials for 3600 s and 1000 bytes"))
        #expect(told.contains("CLSD_FIN_t keeps finals for 3600 s"))
        // Somebody edits the stream; whoever measures it sees that.
        ageNs.withLock { $0 = 60_000_000_000 }
        await withCheckedContinuation { continuation in
            bus.measure(.partials) { _ in continuation.resume() }
        }
        #expect(bus.keepsMs(.partials) == 60_000 && bus.keepsMs(.finals) == 3_600_000)
        bus.close()
    }

    @Test("no broker is told as such, and files that cannot be used by their names")
    func connecting() {
        // Nothing listens on port 1 of loopback.
        var options = NATSOptions(servers: ["nats://127.0.0.1:1"], name: "test")
        #expect(throws: BusError.unavailable) {
            try NATSBus(options, streams: NATSStreams(cluster: "t", replicas: 1))
        }
        options.authorities = "/nonexistent/ca.pem"
        #expect { try NATSBus(options, streams: NATSStreams(cluster: "t", replicas: 1)) } throws: { error in
            guard case .failed(let text)? = error as? BusError else { return false }
            return text.contains("/nonexistent/ca.pem")
        }
    }
}
