import NIOCore
import NIOHTTP1
import Telemetry
import WireFormats

/// What one event loop needs to decode requests, one after another: buffers that are used again.
final class DecodeLane {
    private let core: IngestCore
    private var decompressed: [UInt8] = []
    private var text: [UInt8] = []
    private var request = WriteRequest()
    private var page = ExpositionPage()
    private var router: SampleRouter

    /// Buffers that had to grow beyond this are given back after the request.
    private static let bytesKept = 4 << 20

    init(core: IngestCore) {
        self.core = core
        router = SampleRouter(
            .init(registry: core.registry, hasher: core.hasher, limits: core.limits), stream: core.stream,
            shardCount: core.sink.shardCount, identities: core.limits.identities / core.laneCount)
    }

    /// Decodes a body. Throws the answer of a request that brings nothing; else there may be samples to deliver
    /// before the answer is given.
    func decode(
        _ route: IngestRoute, _ body: ByteBuffer, sender: SenderID, arrivalMs: Int64,
        after place: inout LearnedPlace
    ) throws(Answer) -> Delivery {
        switch route {
        case .write: try remoteWrite(body, sender, arrivalMs, &place)
        case .import: try exposition(body, sender, arrivalMs, &place)
        case .events: try eventLines(body, sender, arrivalMs)
        }
    }

    private func remoteWrite(
        _ body: ByteBuffer, _ sender: SenderID, _ arrivalMs: Int64, _ place: inout LearnedPlace
    ) throws(Answer) -> Delivery {
        defer { if decompressed.count > Self.bytesKept { decompressed = [] } }
        let count: Int
        do {
            count = try Snappy.decode(
                body.readableBytesSpan, into: &decompressed, limit: core.limits.bodyBytes)
        } catch {
            if error.reason == .tooLarge { throw core.rules.tooLarge }
            throw .refused(.badRequest, "corrupt_snappy", "The snappy block is corrupt at \(error).")
        }
        let bytes = decompressed
        let isGood: Bool
        do throws(WireError) {
            let message = bytes.span.bytes.extracting(0..<count)
            try RemoteWriteDecoder.decodeGuessing(
                message, hasher: core.hasher, salt: SeriesFormat.remoteWrite.salt(sender),
                samplesMax: core.limits.samplesPerRequest, into: &request)
            isGood = try router.route(
                request, in: message, format: .remoteWrite, sender: sender, arrivalMs: arrivalMs,
                after: &place)
        } catch {
            throw answer(to: error, "The remote write message is corrupt at \(error).")
        }
        guard isGood else { throw Self.scattered }
        core.metrics.unwritten("histogram", request.histograms)
        core.metrics.unwritten("exemplar", request.exemplars)
        return Delivery(router.builder, answer: .done)
    }

    private func exposition(
        _ body: ByteBuffer, _ sender: SenderID, _ arrivalMs: Int64, _ place: inout LearnedPlace
    ) throws(Answer) -> Delivery {
        defer { if text.count > Self.bytesKept { text = [] } }
        text.removeAll(keepingCapacity: true)
        text.append(contentsOf: body.readableBytesView)
        let bytes = text
        let isGood: Bool
        do throws(WireError) {
            try ExpositionParser.parse(
                bytes.span.bytes, arrivalMs: arrivalMs, hasher: core.hasher,
                salt: SeriesFormat.exposition.salt(sender), samplesMax: core.limits.samplesPerRequest,
                into: &page)
            isGood = try router.route(
                page.request, in: bytes.span.bytes, format: .exposition, sender: sender,
                arrivalMs: arrivalMs, after: &place)
        } catch {
            throw answer(to: error, "The text cannot be read at \(error).")
        }
        guard isGood else { throw Self.scattered }
        var report = LineReport()
        report.accepted = router.builder.sampleCount
        for reason in DropReason.allCases {
            report.reject(reason.label, Int(router.builder.rejected[reason]))
        }
        report.reject("bad_line", page.badLines)
        for error in page.errors { report.fail(error) }
        guard !page.request.runs.isEmpty else { throw report.answer(isGood: false) }
        return Delivery(router.builder, answer: report.answer(isGood: true))
    }

    private func eventLines(
        _ body: ByteBuffer, _ sender: SenderID, _ arrivalMs: Int64
    ) throws(Answer) -> Delivery {
        let parser = EventLineParser(stream: core.streamID, arrivalMs: arrivalMs, limits: core.limits)
        let parsed = parser.parse(body.readableBytesView)
        if let sentence = parsed.tooMany {
            throw .refused(.payloadTooLarge, "too_many_events", sentence)
        }
        guard !parsed.events.isEmpty else { throw parsed.report.answer(isGood: false) }
        core.events.emit(parsed.events)
        return Delivery(sender: sender, arrivalMs: arrivalMs, answer: parsed.report.answer(isGood: true))
    }

    private static let scattered = Answer.refused(
        .badRequest, "scattered_times",
        "The timestamps of the request jump about by weeks; send it in the order of time.")

    private func answer(to error: WireError, _ sentence: String) -> Answer {
        switch error.reason {
        case .tooManySamples:
            .refused(
                .payloadTooLarge, "too_many_samples",
                "There are more than \(core.limits.samplesPerRequest) samples; send them in parts.")
        case .tooLarge: core.rules.tooLarge
        default: .refused(.badRequest, "corrupt_message", sentence)
        }
    }
}
