import Settings
import Telemetry
import TestSupport
import Testing

/// What an endpoint of the configuration may say.
@Suite(.computing) struct EndpointSettingsTests {
    private func endpoint(_ text: String) throws -> DaemonSettings.Endpoint {
        let settings = try ConfigFolder(["c.yaml": "endpoints:\n  - " + text]).load()
        return try #require(settings.endpoints.first)
    }

    @Test("every key of every kind is read")
    func keys() throws {
        let write = try endpoint(
            """
            {name: a, kind: remote_write, url: "https://a/w", version: "2.0", histograms: true, compression: zstd,
              stale_after: 2m, statistics: [avg, p99], gpu_counts: false, labels: {add: {cluster: c}, rename: {node: instance}},
              batch: {samples: 10, bytes: 2KiB}, retry: {max: 2m},
              basic: {user: u, password_file: "credential:pw"}, header_files: {X-Key: "credential:key"},
              tls: {ca_file: "credential:ca", cert_file: "credential:cert", key_file: "credential:key", min_version: "1.3"}}
            """)
        #expect(write.destination == .remoteWrite(url: "https://a/w") && write.version == 2)
        #expect(write.histograms == true && write.compression == .zstd && write.staleAfterMs == 120_000)
        #expect(write.statistics == [.avg, .p99] && !write.gpuCounts)
        #expect(write.labelsAdded == ["cluster": "c"] && write.labelsRenamed == ["node": "instance"])
        #expect(write.batchSamples == 10 && write.batchBytes == 2_048)
        #expect(write.retryMinMs == 1_000 && write.retryMaxMs == 120_000)
        #expect(write.basicUser == "u" && write.basicPasswordFile == "credential:pw")
        #expect(write.headerFiles == ["X-Key": "credential:key"])
        #expect(
            write.tls.caFile == "credential:ca" && write.tls.keyFile == "credential:key" && write.tls.isTLS13)
        let otlp = try endpoint("{name: a, kind: otlp, url: http://a, encoding: json, compression: none}")
        #expect(otlp.isJSON && otlp.compression == DaemonSettings.Endpoint.Compression.none)
        #expect(otlp.histograms == nil)
        let influx = try endpoint("{name: a, kind: influx, url: http://a, org: o, bucket: b}")
        #expect(influx.org == "o" && influx.bucket == "b")
        let hook = try endpoint(
            "{name: a, kind: webhook, url: http://a, format: batch, handshake_origin: us.example}")
        #expect(hook.format == .batch && hook.handshakeOrigin == "us.example")
        let file = try endpoint(
            "{name: a, kind: file, path: f, rotate: {bytes: 1MiB, files: 2}, fsync: true}")
        #expect(file.rotateBytes == 1 << 20 && file.rotateFiles == 2 && file.fsync)
        #expect(try endpoint("{name: a, kind: stdout}").destination == .stdout)
    }

    @Test(
        "a key of another kind is an unknown one",
        arguments: [
            "kind: file, path: x, compression: gzip", "kind: file, path: x, tls: {}", "kind: stdout, path: x",
            "kind: stdout, rotate: {}", "kind: webhook, url: http://a, version: \"2.0\"",
            "kind: influx, url: http://a, histograms: true", "kind: otlp, url: http://a, stale_after: 1m",
            "kind: otlp, url: http://a, org: x",
            "kind: remote_write, url: http://a, signing_key_file: x",
        ])
    func otherKinds(text: String) throws {
        let errors = try ConfigFolder(["c.yaml": "endpoints: [{name: a, \(text)}]"]).errors()
        #expect(errors.count == 1 && errors[0].contains("unknown key"), "\(errors)")
    }

    @Test("order and requests at once are said by those that can have them, and fit each other")
    func order() throws {
        let any = try endpoint(
            "{name: a, kind: remote_write, url: http://a, out_of_order: accepted, max_in_flight: 8}")
        #expect(any.takesAnyOrder && any.maxInFlight == 8)
        let batch = try endpoint("{name: a, kind: influx, url: http://a, batch: {windows: 16, wait: 5s}}")
        #expect(batch.batchWindows == 16 && batch.batchWaitMs == 5_000 && batch.batchSamples == 5_000)
        let strict = try endpoint("{name: a, kind: remote_write, url: http://a, out_of_order: refused}")
        #expect(!strict.takesAnyOrder && strict.maxInFlight == 4)
        #expect(!strict.takesCoarser)
        #expect(try endpoint("{name: a, kind: file, path: x, coarser: accepted}").takesCoarser)
        for (text, problem) in [
            ("kind: file, path: x, out_of_order: accepted", "unknown key"),
            ("kind: alertmanager, url: http://a, max_in_flight: 2", "unknown key"),
            ("kind: otlp, url: http://a, out_of_order: true", "expected one of: refused, accepted"),
            ("kind: otlp, url: http://a, max_in_flight: 2", "one request is on its way at a time"),
            ("kind: otlp, url: http://a, out_of_order: accepted, max_in_flight: 65", "from 1 to 64"),
            ("kind: webhook, url: http://a, batch: {windows: 2}", "gets one window in a request"),
            ("kind: otlp, url: http://a, batch: {wait: 1s}", "has nothing to wait for"),
            ("kind: otlp, url: http://a, batch: {windows: 65}", "from 1 to 64"),
            (
                "kind: webhook, url: http://a, events: [all], summaries: false, out_of_order: accepted",
                "events alone"
            ),
        ] {
            let errors = try ConfigFolder(["c.yaml": "endpoints: [{name: a, \(text)}]"]).errors()
            #expect(errors.count == 1 && errors[0].contains(problem), "\(errors)")
        }
    }

    @Test("files of secrets must be there; credentials are the service's business")
    func files() throws {
        for text in [
            "basic: {user: u, password_file: none}", "header_files: {X-A: none}", "tls: {ca_file: none}",
        ] {
            let errors = try ConfigFolder([
                "c.yaml": "endpoints: [{name: a, kind: otlp, url: http://a, \(text)}]"
            ])
            .errors()
            #expect(errors.count == 1 && errors[0].contains("cannot be read"), "\(errors)")
        }
    }
}
