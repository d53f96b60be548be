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
    private var routes: [Route] = []

    /// Buffers that had to grow beyond this are given back after the request.
    private static let bytesKept = 4 << 20

    init(core: IngestCore) { self.core = core }

    /// Decodes a body. Throws the answer of a request that brings nothing; else there may be samples to deliver
    /// before the answer is given.
    func decode(
        _ route: IngestRoute, _ body: ByteBuffer, sender: SenderID, arrivalMs: Int64
    ) throws(Answer) -> Delivery {
        switch route {
        case .write: try remoteWrite(body, sender, arrivalMs)
        case .import: try exposition(body, sender, arrivalMs)
        case .events: try eventLines(body, sender, arrivalMs)
        }
    }

    private func remoteWrite(
        _ body: ByteBuffer, _ sender: SenderID, _ arrivalMs: Int64
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
        do throws(WireError) {
            try RemoteWriteDecoder.decode(
                bytes.span.bytes.extracting(0..<count), hasher: core.hasher,
                salt: SeriesFormat.remoteWrite.salt(sender), samplesMax: core.limits.samplesPerRequest,
                into: &request)
            try core.registry.resolve(
                request, in: bytes, format: .remoteWrite, sender: sender, arrivalMs: arrivalMs, into: &routes)
        } catch {
            throw answer(to: error, "The remote write message is corrupt at \(error).")
        }
        core.metrics.unwritten("histogram", request.histograms)
        core.metrics.unwritten("exemplar", request.exemplars)
        return Delivery(try batches(request, sender, arrivalMs), answer: .done)
    }

    private func exposition(
        _ body: ByteBuffer, _ sender: SenderID, _ arrivalMs: Int64
    ) throws(Answer) -> Delivery {
        defer { if text.count > Self.bytesKept { text = [] } }
        text.removeAll(keepingCapacity: true)
        text.append(contentsOf: body.readableBytesView)
        let bytes = text
        do throws(WireError) {
            try ExpositionParser.parse(
                bytes.span.bytes, arrivalMs: arrivalMs, hasher: core.hasher,
                salt: SeriesFormat.exposition.salt(sender), samplesMax: core.limits.samplesPerRequest,
                into: &page)
            try core.registry.resolve(
                page.request, in: bytes, format: .exposition, sender: sender, arrivalMs: arrivalMs,
                into: &routes)
        } catch {
            throw answer(to: error, "The text cannot be read at \(error).")
        }
        let built = try batches(page.request, sender, arrivalMs)
        var report = LineReport()
        report.accepted = built.sampleCount
        for reason in DropReason.allCases { report.reject(reason.label, Int(built.rejected[reason])) }
        report.reject("bad_line", page.badLines)
        for error in page.errors { report.fail(error) }
        guard !page.request.runs.isEmpty else { throw report.answer(isGood: false) }
        return Delivery(built, answer: report.answer(isGood: true))
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
        return Delivery(
            try batches(WriteRequest(), sender, arrivalMs), answer: parsed.report.answer(isGood: true))
    }

    /// The samples of a request whose routes have just been resolved.
    private func batches(
        _ request: WriteRequest, _ sender: SenderID, _ arrivalMs: Int64
    ) throws(Answer) -> BatchBuilder {
        var builder = BatchBuilder(
            stream: core.stream, sender: sender, arrivalMs: arrivalMs, aheadMs: core.limits.aheadMs,
            shardCount: core.sink.shardCount, expected: request.samples.count)
        for (run, route) in zip(request.runs, routes) {
            builder.add(request.samples[run.samples], route)
            if builder.batches.count > core.limits.batchesPerRequest { break }
        }
        builder.finish()
        guard builder.batches.count <= core.limits.batchesPerRequest else {
            throw .refused(
                .badRequest, "scattered_times",
                "The timestamps of the request jump about by weeks; send it in the order of time.")
        }
        return builder
    }

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
