import ControlAPI

/// Replies with something in every corner.
enum Samples {
    static var timelineRow: TimelineRow {
        var row = TimelineRow(time: UTCTime(ms: 1_721_692_800_000))  // 2024-07-23T00:00:00Z
        row.day = 80
        row.phase = "phase 1"
        row.phaseDay = 80
        row.phaseDays = 122
        row.announced = 100_000
        row.installed = 61_440
        row.powered = 32_000
        row.inTraining = 28_416
        row.utilization = 0.912
        row.megawatts = 43.06
        row.interruptions = 37
        row.ettr = 0.9421
        return row
    }

    static var simulation: SimulationStatus {
        var run = SimulationStatus(
            run: "colossus", scenario: "colossus", seed: 7, state: .running, speed: "1d/s",
            start: UTCTime(ms: 1_714_694_400_000), end: UTCTime(ms: 1_733_270_400_000), now: timelineRow)
        run.days = 214
        run.pace = 86_400
        run.tickSeconds = 3600
        run.windowSeconds = 3600
        run.progress = 80.0 / 214
        var first = MilestoneRow(
            time: UTCTime(ms: 1_721_692_800_000), what: "training started", claimed: 100_000,
            claims: "announced")
        first.installed = 61_440
        first.powered = 32_000
        first.inTraining = 28_416
        run.milestones = [
            first,
            MilestoneRow(
                time: UTCTime(ms: 1_725_321_600_000), what: "first phase done", claimed: 100_000,
                claims: "in_training"),
        ]
        return run
    }

    static var status: StatusReply {
        var reply = StatusReply(
            version: "0.1.0", pid: 42, started: UTCTime(ms: 1_725_321_600_000), uptimeSeconds: 11_110,
            state: .running, ready: true)
        var stream = StreamStatus(stream: "measured", kind: .measured, keepingUp: true, verdict: "keeping up")
        stream.watermark = UTCTime(ms: 1_725_332_700_000)
        stream.closedThrough = UTCTime(ms: 1_725_332_690_000)
        stream.lagSeconds = 15.5
        stream.series = 160
        stream.gpusExpected = 8
        stream.gpusReporting = 7
        stream.samples = SampleAccount(
            received: 1_234_567, aggregated: 1_234_000, dropped: ["late": 500, "out_of_order": 7],
            inFlight: 60)
        stream.samplesPerSecond = 123_456.7
        reply.streams = [stream]
        reply.simulations = [simulation]
        var endpoint = EndpointStatus(
            name: "victoria", kind: "remote_write", target: "http://127.0.0.1:8428/api/v1/write",
            state: .retrying)
        endpoint.pending = 12
        endpoint.lastError = "HTTP status 500"
        reply.endpoints = [endpoint]
        reply.store = StoreStatus(
            path: "/var/lib/colossusd/colossus.db", bytes: 1_200_000_000, bytesMax: 10_000_000_000)
        reply.ingestLog = IngestLogStatus(
            bytes: 120_000_000, bytesMax: 10_000_000_000, replayed: 0.45, records: 1_200, unreadable: 0)
        reply.shards = [ShardStatus(shard: 0, series: 80, creditFree: 60, creditTotal: 64)]
        reply.warnings = ["endpoint victoria has been failing for 3m"]
        return reply
    }

    static var topSeries: TopSeriesReply {
        var reply = TopSeriesReply(
            series: 4_000_000, seriesMax: 5_000_000, seriesPerSenderMax: 1_000_000, folded: 12_345,
            foldedSamples: 1_000_000)
        reply.rows = [
            TopSeriesRow(by: .sender, name: "ingest/10.0.0.7", series: 1_000_000, folded: 12_345),
            TopSeriesRow(by: .sender, name: "ingest/10.0.0.8", series: 160),
            TopSeriesRow(by: .field, name: "DCGM_FI_DEV_GPU_TEMP", series: 200_000),
            TopSeriesRow(by: .label, name: "UUID", series: 200_000),
        ]
        return reply
    }

    static var summary: SummaryReply {
        var reply = SummaryReply(
            stream: "measured", resolution: "10s", windowStart: UTCTime(ms: 1_725_332_680_000),
            windowEnd: UTCTime(ms: 1_725_332_690_000), level: "rack")
        reply.rows = [
            SummaryRow(
                entity: "rack-1", field: "DCGM_FI_DEV_POWER_USAGE", unit: "W", count: 64, mean: 512.345,
                min: 85,
                max: 700.25, p50: 600, p90: 690, p99: 700),
            SummaryRow(entity: "rack,\"2\"", field: "DCGM_FI_DEV_GPU_TEMP", unit: "C", count: 0),
        ]
        reply.gpus = [GPURow(entity: "rack-1", expected: 64, reporting: 63, silent: 1, inJob: 56, faulted: 2)]
        return reply
    }

    static var events: EventsReply {
        var event = EventRow(
            sequence: 9, stream: "measured", time: UTCTime(ms: 1_725_332_680_000), kind: "xid",
            message: "XID 79: the GPU has fallen off the bus", source: "detected")
        event.entity = "node-1"
        event.gpu = 3
        event.value = 79
        return EventsReply(events: [event], next: 9)
    }
}
