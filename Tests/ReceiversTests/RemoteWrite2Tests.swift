import CZlib
import CZstd
import Receivers
import Telemetry
import TestSupport
import Testing
import WireFormats

/// Compressors to compare with: the libraries' own.
private enum Packed {
    static func gzip(_ bytes: [UInt8]) -> [UInt8] {
        var stream = z_stream()
        _ = czlib_deflate_gzip(&stream)
        defer { deflateEnd(&stream) }
        var bytes = bytes
        var output = [UInt8](repeating: 0, count: bytes.count + 1_024)
        let (inputCount, outputCount) = (bytes.count, output.count)
        bytes.withUnsafeMutableBufferPointer { input in
            output.withUnsafeMutableBufferPointer { output in
                stream.next_in = input.baseAddress
                stream.avail_in = UInt32(inputCount)
                stream.next_out = output.baseAddress
                stream.avail_out = UInt32(outputCount)
                _ = deflate(&stream, Z_FINISH)
            }
        }
        return Array(output.prefix(Int(stream.total_out)))
    }

    static func zstd(_ bytes: [UInt8]) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: ZSTD_compressBound(bytes.count))
        let count = ZSTD_compress(&output, output.count, bytes, bytes.count, 3)
        return Array(output.prefix(count))
    }
}

@Suite(.serialized) struct RemoteWrite2Tests {
    private static let version2 = [
        "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        "X-Prometheus-Remote-Write-Version": "2.0.0",
    ]
    private static let names = ["samples", "histograms", "exemplars"].map {
        "x-prometheus-remote-write-\($0)-written"
    }

    private func written(_ reply: RawClient.Reply?) -> [String?] { Self.names.map { reply?.headers[$0] } }

    @Test(
        "a request arrives, and the answer tells what was written", arguments: [false, true], [false, true])
    func arrives(symbolsLast: Bool, packed: Bool) async throws {
        let bench = Bench()
        let now = Bench.nowMs
        try await bench.run { port in
            let client = try RawClient(port: port)
            var message = Message2(symbolsLast: symbolsLast)
            message.add(Body.gpu(0), [(now - 15_000, 50), (now, 51)], packed: packed)
            message.add(Body.gpu(1), [(now, 61)], packed: packed)
            for _ in 0..<2 {
                let reply = await client.write(Snappy.encode(message.bytes), Self.version2)
                #expect(reply?.status == 204 && written(reply) == ["3", "0", "0"])
            }
            // The same series in 1.0, and under other numbers of its strings.
            #expect(await client.write(Body.write([(Body.gpu(0), [(now + 1, 52)])]))?.status == 204)
            var other = Message2(symbols: ["", "unused", "n1"])
            other.add(Body.gpu(0), [(now + 2, 53)])
            #expect(written(await client.write(Snappy.encode(other.bytes), Self.version2))[0] == "1")
        }
        #expect(bench.sink.series.count == 2 && bench.sink.sampleCount == 8)
        let values = bench.sink.samples.sorted { $0.timeMs < $1.timeMs }.suffix(2).map(\.value)
        #expect(values == [52, 53])
    }

    @Test("histograms and exemplars are accepted, counted, and not written")
    func unwritten() async throws {
        let bench = Bench()
        try await bench.run { port in
            let client = try RawClient(port: port)
            var message = Message2()
            let more = Message2.field(3, [0x08, 1]) + Message2.field(4, []) + Message2.field(4, [0x08, 0])
            message.add(
                Body.gpu(0), [(Bench.nowMs, 1)], more: more + Message2.field(5, [0x08, 2]) + [0x30, 9])
            message.add(Body.gpu(1), [], more: Message2.field(3, []))
            let reply = await client.write(Snappy.encode(message.bytes), Self.version2)
            #expect(reply?.status == 204 && written(reply) == ["1", "0", "0"])
        }
        #expect(bench.metric(#"colossus_ingest_unwritten_total{kind="histogram"} 2"#))
        #expect(bench.metric(#"colossus_ingest_unwritten_total{kind="exemplar"} 2"#))
    }

    @Test("what can never be written is 400 with counts, and the good samples are written")
    func partial() async throws {
        let bench = Bench { $0.limits.labels.valueBytes = 30 }
        let now = Bench.nowMs
        try await bench.run { port in
            let client = try RawClient(port: port)
            var message = Message2()
            message.add(Body.gpu(0), [(now, 1), (now + 3_600_000, 2)])
            message.add(Body.gpu(1, ["x": String(repeating: "y", count: 31)]), [(now, 1)])
            message.add(["__name__": "up"], [(now, 1)])
            message.add(Body.gpu(2), [(now, 1)])
            let reply = await client.write(Snappy.encode(message.bytes), Self.version2)
            #expect(reply?.status == 400 && written(reply) == ["2", "0", "0"])
            #expect(reply?.body.contains("bad_labels: 1, future: 1") == true)
            var foreign = Message2()
            foreign.add(["__name__": "up"], [(now, 1)])
            let other = await client.write(Snappy.encode(foreign.bytes), Self.version2)
            #expect(other?.status == 204 && written(other) == ["0", "0", "0"])
        }
        #expect(bench.sink.sampleCount == 2)
        #expect(bench.ledger.value.received == 4 && bench.ledger.value[.unknownField] == 2)
    }

    @Test("references that lead nowhere, or have no partner, refuse the request")
    func references() async throws {
        let bench = Bench()
        try await bench.run { port in
            let client = try RawClient(port: port)
            for references in [[0x07, 0x00], [0x00], [0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0x00]] as [[UInt8]] {
                let series = Message2.field(5, Message2.field(1, references) + [0x12, 0x02, 0x10, 0x01])
                let reply = await client.write(
                    Snappy.encode(Message2.field(4, []) + series), Self.version2)
                #expect(reply?.status == 400 && written(reply) == [nil, nil, nil])
            }
        }
        #expect(bench.sink.sampleCount == 0 && bench.ledger.value == Ledger())
    }

    @Test(
        "bodies come in snappy, gzip, zstd or as they are", arguments: ["snappy", "gzip", "zstd", "identity"])
    func encodings(name: String) async throws {
        let bench = Bench { $0.limits.bodyBytes = 1 << 20 }
        func pack(_ bytes: [UInt8]) -> [UInt8] {
            switch name {
            case "snappy": Snappy.encode(bytes)
            case "gzip": Packed.gzip(bytes)
            case "zstd": Packed.zstd(bytes)
            default: bytes
            }
        }
        let headers = ["Content-Encoding": name]
        try await bench.run { port in
            let client = try RawClient(port: port)
            let message = try Snappy.decode(Body.write([(Body.gpu(0), [(Bench.nowMs, 7)])]), limit: 1 << 20)
            #expect(await client.write(pack(message), headers)?.status == 204)
            let page = Array("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",hostname=\"n1\"} 40\n".utf8)
            #expect(await client.post("/api/v1/import", pack(page), headers)?.status == 200)
            if name != "identity" {
                #expect(await client.write(pack(message).dropLast(3) + [], headers)?.status == 400)
                #expect(await client.write(pack(message) + [0x11, 0x22], headers)?.status == 400)
                let bomb = pack([UInt8](repeating: 0, count: (1 << 20) + 1))
                #expect(await client.write(bomb, headers)?.status == 413)
                // Exactly at the limit it is read, and found to be no message.
                #expect(
                    await client.write(pack([UInt8](repeating: 0, count: 1 << 20)), headers)?.status == 400)
            }
        }
        #expect(bench.sink.sampleCount == 2)
    }
}
