import Foundation
import Logging
import Store
import Telemetry
import Testing

@testable import Reporting

/// Versions and compressions that a receiver does not know.
@Suite struct NegotiationTests {
    private static let clock = WallClock { Int64(Date().timeIntervalSince1970 * 1_000) }

    private func run(
        _ kind: EndpointKind, windows: Int = 2, _ change: (inout EndpointConfiguration) -> Void = { _ in },
        answer: @escaping @Sendable (ScriptedServer.Request) -> ScriptedServer.Answer
    ) async throws -> (requests: [ScriptedServer.Request], store: FakeStore.State, metrics: String) {
        let server = try ScriptedServer(answer: answer)
        defer { server.stop() }
        let store = FakeStore()
        store.commit(
            (0..<windows).map { Windows.window($0, racks: 2) }, Windows.topology(racks: 2))
        let metrics = Metrics()
        let reporter = Reporter(
            store: store, clock: Self.clock, metrics: metrics,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, seed: 7)
        var endpoint = EndpointConfiguration.test(kind, url: server.url("/in"))
        change(&endpoint)
        try await reporter.apply([endpoint])
        try await eventually("the cursor reaches the end") { store.cursor("e")?.sequence == Int64(windows) }
        await reporter.drain(within: .seconds(30))
        return (server.requests, store.snapshot, metrics.exposition())
    }

    private static let written = [
        "X-Prometheus-Remote-Write-Samples-Written: 26", "X-Prometheus-Remote-Write-Histograms-Written: 0",
    ]
    private static let version = "x-prometheus-remote-write-version"

    @Test("remote write 2.0: a receiver that knows it gets it, and says so with the headers")
    func understood() async throws {
        let (requests, store, metrics) = try await run(.remoteWrite, { $0.protocolVersion = 2 }) { _ in
            .status(204, headers: Self.written)
        }
        #expect(requests.count == 2 && store.dead.isEmpty)
        for request in requests {
            #expect(request.headers[Self.version] == "2.0.0")
            #expect(
                request.headers["content-type"]
                    == "application/x-protobuf;proto=io.prometheus.write.v2.Request")
            #expect(request.headers["content-encoding"] == "snappy")
            #expect(try RemoteWriteReader.series2(request.body).count == 26)
        }
        #expect(metrics.contains("colossus_report_fallbacks_total{endpoint=\"e\"} 0\n"))
    }

    @Test(
        "remote write 2.0: 415, 400 to the first request, and 204 without headers lead to 1.0, which is remembered",
        arguments: [415, 400, 204, 200])
    func fallback(status: Int) async throws {
        let (requests, store, metrics) = try await run(.remoteWrite, windows: 3, { $0.protocolVersion = 2 }) {
            // A receiver of 1.0: it finds nothing that it knows in 2.0, and stores nothing.
            $0.headers[Self.version] == "2.0.0" ? .status(status) : .status(204)
        }
        #expect(requests.map { $0.headers[Self.version] } == ["2.0.0", "0.1.0", "0.1.0", "0.1.0"])
        #expect(store.dead.isEmpty && store.samples["e"] == 78)
        let taken = try requests.dropFirst().flatMap { try RemoteWriteReader.series($0.body) }
        #expect(taken.count == 78)
        #expect(metrics.contains("colossus_report_fallbacks_total{endpoint=\"e\"} 1\n"))
    }

    @Test("remote write 2.0: 400 of a receiver that knows it is about the data")
    func refused() async throws {
        let (requests, store, _) = try await run(.remoteWrite, windows: 1, { $0.protocolVersion = 2 }) {
            request in
            let series = (try? RemoteWriteReader.series2(request.body)) ?? []
            let isBad = series.contains { $0.labels["rack"] == "r1" && $0.name.hasSuffix(":max") }
            return .status(isBad ? 400 : 204, headers: Self.written, body: isBad ? "out of order" : "")
        }
        #expect(requests.allSatisfy { $0.headers[Self.version] == "2.0.0" })
        #expect(store.dead.count == 1 && store.dead.first?.samples == 1 && store.samples["e"] == 25)
    }

    @Test("zstd refused: snappy from then on, of the same version")
    func zstd() async throws {
        let (requests, _, _) = try await run(
            .remoteWrite, windows: 3,
            {
                $0.protocolVersion = 2
                $0.compression = .zstd
            },
            answer: {
                $0.headers["content-encoding"] == "snappy"
                    ? .status(204, headers: Self.written) : .status(415)
            })
        #expect(requests.map { $0.headers["content-encoding"] } == ["zstd", "snappy", "snappy", "snappy"])
        #expect(requests.allSatisfy { $0.headers[Self.version] == "2.0.0" })
        #expect(requests[0].body.prefix(4) == [0x28, 0xB5, 0x2F, 0xFD])
        #expect(try RemoteWriteReader.series2(requests[1].body).count == 26)
    }

    @Test("gzip refused: plain from then on", arguments: [EndpointKind.otlp, .influx, .webhook])
    func gzip(kind: EndpointKind) async throws {
        let (requests, store, _) = try await run(kind, windows: 2, { $0.compression = .gzip }) {
            $0.headers["content-encoding"] == nil ? .status(200) : .status(415)
        }
        #expect(requests.map { $0.headers["content-encoding"] } == ["gzip", nil, nil])
        #expect(
            requests[0].body.prefix(2) == [0x1F, 0x8B] && requests[0].body.count < requests[1].body.count)
        #expect(store.dead.isEmpty && store.samples["e"] == 52)
    }

    @Test("OTLP: a partial success is final, and kept to be read", arguments: [false, true])
    func partial(json: Bool) async throws {
        // ExportMetricsServiceResponse { partial_success { rejected_data_points: 3, error_message: "no" } }
        let proto = String(
            decoding: [0x0A, 0x06, 0x08, 0x03, 0x12, 0x02, 0x6E, 0x6F] as [UInt8], as: UTF8.self)
        let body =
            json ? "{\"partialSuccess\":{\"rejectedDataPoints\":\"3\",\"errorMessage\":\"no\"}}" : proto
        let (requests, store, _) = try await run(.otlp, windows: 1, { $0.payload = json ? .json : .protobuf })
        { _ in
            .status(200, body: body)
        }
        #expect(requests.count == 1)
        #expect(requests[0].headers["content-type"] == (json ? "application/json" : "application/x-protobuf"))
        #expect(store.dead.count == 1 && store.dead.first?.isReplayable == false)
        #expect(store.dead.first?.response == Array(body.utf8))
        // Each number counts once.
        #expect(store.dead.first?.samples == 3 && store.samples["e"] == 23)
    }

    @Test("OTLP: how many were rejected is read however long the message is that comes before")
    func longMessage() async throws {
        let message = String(repeating: "no such metric; ", count: 1_000)
        let body = "{\"partialSuccess\":{\"errorMessage\":\"\(message)\",\"rejectedDataPoints\":\"3\"}}"
        let (_, store, _) = try await run(.otlp, windows: 1, { $0.payload = .json }) { _ in
            .status(200, body: body)
        }
        #expect(store.dead.first?.samples == 3 && store.samples["e"] == 23)
        #expect(store.dead.first?.response.count == 4_096)
    }

    @Test("OTLP: what a receiver says of what it took is told once")
    func warned() {
        // ExportMetricsServiceResponse { partial_success { error_message: "hm" } }
        let proto: [UInt8] = [0x0A, 0x04, 0x12, 0x02, 0x68, 0x6D]
        let json = Array("{\"partialSuccess\":{\"errorMessage\":\"hm\"}}".utf8)
        for body in [proto, json] {
            let windows = (0..<3).map {
                StoredWindow(
                    sequence: Int64($0) + 1, summary: Windows.window($0, racks: 2),
                    topology: Windows.topology(racks: 2))
            }
            var driver = MachineDriver(.test(.otlp), windows) { _, _ in
                .response(status: 200, retryAfterMs: nil, reason: "", details: ResponseDetails(body: body))
            }
            driver.run()
            #expect(driver.notices == [.warned("hm")] && driver.dead.isEmpty)
        }
    }

    @Test("400 that no simpler form changes is about the data: the form that was meant stays")
    func dataAlone() async throws {
        let (requests, store, _) = try await run(.remoteWrite, windows: 2, { $0.protocolVersion = 2 }) {
            request in
            let isNew = request.headers[Self.version] == "2.0.0"
            let names: [(String, String?)]
            if isNew {
                names = ((try? RemoteWriteReader.series2(request.body)) ?? []).map {
                    ($0.name, $0.labels["rack"])
                }
            } else {
                names = ((try? RemoteWriteReader.series(request.body)) ?? []).map {
                    ($0.name, $0.label("rack"))
                }
            }
            // It says nothing of what it has written where it refuses.
            let isBad = names.contains { $0.0.hasSuffix(":DCGM_FI_DEV_POWER_USAGE:max") && $0.1 == "r1" }
            return isBad ? .status(400, body: "duplicate") : .status(204, headers: Self.written)
        }
        let versions = requests.map { $0.headers[Self.version] ?? "" }
        #expect(Array(versions.prefix(3)) == ["2.0.0", "0.1.0", "2.0.0"])
        #expect(versions.dropFirst(2).allSatisfy { $0 == "2.0.0" })
        #expect(store.dead.map(\.samples) == [1, 1] && store.samples["e"] == 50)
    }

    @Test(
        "zstd called malformed by who does not know it: snappy, then 1.0; and nothing becomes a dead letter")
    func malformed() async throws {
        for version in [1, 2] {
            let (requests, store, _) = try await run(
                .remoteWrite, windows: 2,
                {
                    $0.protocolVersion = version
                    $0.compression = .zstd
                },
                answer: { request in
                    // As Prometheus did before 2.0 was known: it looks at neither header, and takes all for snappy of 1.0.
                    let isKnown =
                        request.headers["content-encoding"] == "snappy"
                        && request.headers[Self.version] == "0.1.0"
                    return .status(isKnown ? 204 : 400, body: isKnown ? "" : "snappy: corrupt input")
                })
            let forms = requests.map {
                "\($0.headers[Self.version] ?? "") \($0.headers["content-encoding"] ?? "")"
            }
            let tried = version == 2 ? ["2.0.0 zstd", "2.0.0 snappy"] : ["0.1.0 zstd"]
            #expect(forms == tried + ["0.1.0 snappy", "0.1.0 snappy"])
            #expect(store.dead.isEmpty && store.samples["e"] == 52)
        }
    }

    @Test("OTLP: a warning without rejected points is a success, and so is a body that nobody can read")
    func warning() async throws {
        for body in ["{\"partialSuccess\":{\"errorMessage\":\"slow down\"}}", "{}", "", "{", "ok\u{FF}"] {
            let (_, store, _) = try await run(.otlp, windows: 1) { _ in .status(200, body: body) }
            #expect(store.dead.isEmpty && store.samples["e"] == 26)
        }
    }

    @Test("a google.rpc.Status in protocol buffers is told as text")
    func status() async throws {
        // { code: 3, message: "bad point" }
        let body = String(decoding: [0x08, 0x03, 0x12, 0x09] + Array("bad point".utf8), as: UTF8.self)
        let (_, store, _) = try await run(.otlp, windows: 1) { _ in
            .status(401, headers: ["Content-Type: application/x-protobuf"], body: body)
        }
        #expect(store.dead.map(\.reason) == ["HTTP 401: bad point"])
    }
}
