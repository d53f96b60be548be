import Foundation
import Receivers
import TLS
import Telemetry
import TestSupport
import Testing
import WireFormats

/// Senders that show a certificate, by curl.
@Suite(.serialized) struct CertificateTests {
    let certificates: TestCertificates

    init() throws {
        certificates = try TestCertificates()
        for name in ["prom-a", "slurm"] { try certificates.make(name) }
    }

    private func context(_ kind: TLSFiles.ClientCertificate) throws -> TLSContext {
        var files = TLSFiles(
            certificate: certificates.certificate("server"), key: certificates.key("server"))
        files.clientCA = certificates.certificate("ca")
        files.clientCertificate = kind
        return try TLSContext(files)
    }

    /// The status of the answer; 0 where there was none.
    private func post(
        _ port: Int, _ path: String, _ body: [UInt8], client: String?, _ more: [String] = []
    ) async throws -> Int {
        let file = certificates.folder + "/" + UUID().uuidString
        try Data(body).write(to: URL(filePath: file))
        var arguments = [
            "--silent", "--max-time", "90", "--cacert", certificates.certificate("ca"), "-o", "/dev/null",
            "-w",
            "%{http_code}", "--data-binary", "@" + file,
        ]
        if let client {
            arguments += ["--cert", certificates.certificate(client), "--key", certificates.key(client)]
        }
        let result = try await TestCertificates.runAside(
            "curl", arguments + more + ["https://localhost:\(port)\(path)"])
        return Int(result.output) ?? -1
    }

    private static let write =
        RawClient.writeHeaders.sorted { $0.key < $1.key }.flatMap { ["-H", "\($0.key): \($0.value)"] }

    @Test("a certificate is an identity: a sender of its own, who may send samples but tell no events")
    func vouched() async throws {
        let bench = Bench(access: BearerCheck(wantsCertificate: true), tls: try context(.required))
        try await bench.run { (port) async throws in
            let body = AccessTests.body(0)
            #expect(try await post(port, "/api/v1/write", body, client: "prom-a", Self.write) == 204)
            #expect(try await post(port, "/api/v1/write", body, client: nil, Self.write) == 0)
            #expect(try await post(port, "/api/v1/events", AccessTests.event, client: "prom-a") == 403)
        }
        #expect(bench.server.topSenders(5).map(\.name) == ["ingest/certificate:prom-a"])
    }

    @Test("a certificate that a token names has the rights of the token, and others have none")
    func listed() async throws {
        let access = BearerCheck([
            .init(name: "scheduler", certificates: ["slurm"], mayTellEvents: true),
            .init(name: "prom", secrets: [Array("prometheus-a-0123".utf8)]),
        ])
        let bench = Bench(access: access, tls: try context(.optional))
        try await bench.run { (port) async throws in
            #expect(try await post(port, "/api/v1/events", AccessTests.event, client: "slurm") == 200)
            let body = AccessTests.body(0)
            #expect(try await post(port, "/api/v1/write", body, client: "prom-a", Self.write) == 403)
            #expect(try await post(port, "/api/v1/write", body, client: nil, Self.write) == 401)
            let token = ["-H", "Authorization: Bearer prometheus-a-0123"]
            #expect(try await post(port, "/api/v1/write", body, client: nil, Self.write + token) == 204)
            #expect(try await post(port, "/api/v1/write", body, client: "slurm", Self.write) == 204)
        }
        #expect(bench.events.all.map(\.entity) == ["n1"])
        #expect(
            bench.server.topSenders(5).map(\.name).sorted() == [
                "ingest/token:prom", "ingest/token:scheduler",
            ])
    }

    @Test("a certificate that has run out since the handshake is good for no request more")
    func lapsed() async throws {
        let later = Int64(Date().timeIntervalSince1970 * 1_000) + 3 * 86_400_000
        let bench = Bench(
            access: BearerCheck(wantsCertificate: true), tls: try context(.required), tlsNowMs: later)
        try await bench.run { (port) async throws in
            let body = AccessTests.body(0)
            #expect(try await post(port, "/api/v1/write", body, client: "prom-a", Self.write) == 403)
        }
        #expect(bench.metric(#"colossus_ingest_rejected_requests_total{reason="certificate"} 1"#))
        #expect(bench.sink.sampleCount == 0)
    }

    @Test("megabytes of remote write come through TLS as they were sent")
    func large() async throws {
        var encoder = RemoteWriteEncoder()
        let times = (0..<1_500).map { Bench.nowMs - 60_000 + Int64($0) }
        // What cannot be compressed.
        var dice = SeededRandom(seed: 1)
        for gpu in 0..<8 {
            for node in 0..<80 {
                encoder.add(
                    labels: Body.gpu(gpu, node: "n\(node)").map { Label($0.key, $0.value) },
                    samples: times.map {
                        TimedValue(timeMs: $0, value: Double.random(in: 1...100, using: &dice))
                    })
            }
        }
        let body = encoder.finish()
        try #require(body.count > 8 << 20)
        let bench = Bench(tls: try context(.optional))
        try await bench.run { (port) async throws in
            #expect(try await post(port, "/api/v1/write", body, client: nil, Self.write) == 204)
        }
        #expect(bench.sink.sampleCount == 640 * 1_500)
    }
}
