import NIOCore
import NIOHTTP1
import Telemetry
import WireFormats

/// What one event loop needs to decode requests, one after another: buffers that are used again.
final class DecodeLane {
    private let core: IngestCore
    private var unpacker: BodyUnpacker
    private var request = WriteRequest()
    private var page = ExpositionPage()
    private var router: SampleRouter

    /// - Parameter table: `nil`: the one that the lanes of the registry share.
    init(core: IngestCore, table: SeriesTable? = nil) {
        self.core = core
        unpacker = BodyUnpacker(limit: core.limits.bodyBytes)
        router = SampleRouter(
            .init(registry: core.registry, hasher: core.hasher, limits: core.limits), stream: core.stream,
            shardCount: core.sink.shardCount, table: table ?? core.registry.table)
    }

    /// Works off what the registry wants to be forgotten. To be called some times a second.
    func sweep(lane: Int) { router.tend(lane: lane, nowMs: core.clock.nowMs()) }

    /// The same of a lane that has a table of its own.
    func forgetIdle(nowMs: Int64) { router.forgetIdle(nowMs: nowMs) }

    /// Decodes a body. Throws the answer of a request that brings nothing; else there may be samples to deliver
    /// before the answer is given.
    func decode(
        _ plan: IngestPlan, _ body: ByteBuffer, sender: SenderID, arrivalMs: Int64,
        after place: inout LearnedPlace
    ) throws(Answer) -> Delivery {
        defer { unpacker.release() }
        let count: Int
        do {
            count = try unpacker.unpack(body, plan.encoding)
        } catch {
            switch error {
            case .tooLarge: throw core.rules.tooLarge
            case .corrupt(let what):
                let name = plan.encoding.rawValue
                let thing = plan.encoding == .snappy ? "block" : "body"
                throw .refused(.badRequest, "corrupt_\(name)", "The \(name) \(thing) is corrupt at \(what).")
            }
        }
        // An empty remote write message is a message; empty text is a mistake of whoever sends it.
        if count == 0, plan.route != .write {
            throw .refused(.badRequest, "empty", "The body is empty: \(plan.route.expectation).")
        }
        switch plan.route {
        case .write: return try remoteWrite(count, plan.isVersion2, sender, arrivalMs, &place)
        case .import: return try exposition(count, sender, arrivalMs, &place)
        case .events: return try eventLines(count, sender, arrivalMs)
        }
    }

    private func remoteWrite(
        _ count: Int, _ isVersion2: Bool, _ sender: SenderID, _ arrivalMs: Int64,
        _ place: inout LearnedPlace
    ) throws(Answer) -> Delivery {
        let bytes = unpacker.bytes
        let format = isVersion2 ? SeriesFormat.remoteWrite2 : .remoteWrite
        let isGood: Bool
        do throws(WireError) {
            let message = bytes.span.bytes.extracting(0..<count)
            let (salt, samplesMax) = (format.salt(sender), core.limits.samplesPerRequest)
            if isVersion2 {
                try RemoteWrite2Decoder.decode(
                    message, hasher: core.hasher, salt: salt, samplesMax: samplesMax, into: &request)
            } else {
                try RemoteWriteDecoder.decodeGuessing(
                    message, hasher: core.hasher, salt: salt, samplesMax: samplesMax, into: &request)
            }
            isGood = try router.route(
                request, in: message, format: format, sender: sender, arrivalMs: arrivalMs, after: &place)
        } catch {
            throw answer(to: error, "The remote write message is corrupt at \(error).")
        }
        guard isGood else { throw Self.scattered }
        core.metrics.folded.add(Int64(router.foldedCount))
        core.metrics.unwritten("histogram", request.histograms)
        core.metrics.unwritten("exemplar", request.exemplars)
        return Delivery(router.builder, answer: isVersion2 ? version2Answer() : .done)
    }

    /// What a sender of remote write 2.0 is told: how much was written, and 400 when some of it never can be. Samples
    /// that are none of ours (another metric, no GPU) are no error, but are not written either.
    private func version2Answer() -> Answer {
        let rejected = router.builder.rejected
        let headers = [
            ("X-Prometheus-Remote-Write-Samples-Written", String(router.builder.sampleCount)),
            ("X-Prometheus-Remote-Write-Histograms-Written", "0"),
            ("X-Prometheus-Remote-Write-Exemplars-Written", "0"),
        ]
        let reasons = [DropReason.badLabels, .future, .seriesLimit].filter { rejected[$0] > 0 }
        guard !reasons.isEmpty else { return Answer(status: .noContent, headers: headers) }
        let list = reasons.map { "\($0.label): \(rejected[$0])" }.joined(separator: ", ")
        return .refused(
            .badRequest, "partial_write",
            "Some samples were refused (\(list)); the others were written, do not send them again.",
            headers: headers)
    }

    private func exposition(
        _ count: Int, _ sender: SenderID, _ arrivalMs: Int64, _ place: inout LearnedPlace
    ) throws(Answer) -> Delivery {
        let all = unpacker.bytes
        let isGood: Bool
        do throws(WireError) {
            let text = all.span.bytes.extracting(0..<count)
            try ExpositionParser.parse(
                text, arrivalMs: arrivalMs, hasher: core.hasher,
                salt: SeriesFormat.exposition.salt(sender), samplesMax: core.limits.samplesPerRequest,
                into: &page)
            isGood = try router.route(
                page.request, in: text, format: .exposition, sender: sender,
                arrivalMs: arrivalMs, after: &place)
        } catch {
            throw answer(to: error, "The text cannot be read at \(error).")
        }
        guard isGood else { throw Self.scattered }
        core.metrics.folded.add(Int64(router.foldedCount))
        var report = LineReport()
        report.accepted = router.builder.sampleCount
        for reason in DropReason.allCases {
            report.reject(reason, Int(router.builder.rejected[reason]))
        }
        report.reject("bad_line", page.badLines)
        for error in page.errors { report.fail(error) }
        if page.request.runs.isEmpty, page.errors.isEmpty {
            report.fail(LineError(line: 1, what: "there is no sample in the text, only comments and blanks"))
        }
        guard !page.request.runs.isEmpty else { throw report.answer(isGood: false) }
        return Delivery(router.builder, answer: report.answer(isGood: true))
    }

    private func eventLines(
        _ count: Int, _ sender: SenderID, _ arrivalMs: Int64
    ) throws(Answer) -> Delivery {
        let parser = EventLineParser(stream: core.streamID, arrivalMs: arrivalMs, limits: core.limits)
        let parsed = parser.parse(unpacker.bytes[..<count])
        if let sentence = parsed.tooMany {
            throw .refused(.payloadTooLarge, "too_many_events", sentence)
        }
        core.metrics.refusedEvents(parsed.report.rejected)
        guard !parsed.events.isEmpty else { throw parsed.report.answer(isGood: false) }
        var delivery = Delivery(
            sender: sender, arrivalMs: arrivalMs, answer: parsed.report.answer(isGood: true))
        delivery.events = parsed.events
        return delivery
    }

    private static let scattered = Answer.refused(
        .badRequest, "scattered_times",
        "The timestamps of the request jump about by weeks; send it in the order of time.")

    private func answer(to error: WireError, _ sentence: String) -> Answer {
        switch error.reason {
        case .tooManySamples, .tooManySymbols:
            .refused(
                .payloadTooLarge, "too_many_samples",
                "There are more than \(core.limits.samplesPerRequest) samples; send them in parts.")
        case .tooLarge: core.rules.tooLarge
        default: .refused(.badRequest, "corrupt_message", sentence)
        }
    }
}
