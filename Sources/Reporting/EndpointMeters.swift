import Telemetry

/// The self-metrics of one endpoint.
struct EndpointMeters {
    private let delivered: Counter
    private let cut: Counter
    private let dead: Counter
    private let samples: Counter
    private let retries: Counter
    private let deadLetters: Counter
    private let fallbacks: Counter
    private let dropped: [EndpointStateMachine.DropReason: Counter]
    private let pending: Gauge
    private let isOpen: Gauge
    private let seconds: Gauge
    private let inFlight: Gauge
    private let inFlightMax: Gauge
    private let gaps: Gauge

    init(_ metrics: Metrics, endpoint: String) {
        func counter(_ name: String, _ help: String) -> Counter {
            metrics.counter(name, help, ["endpoint": endpoint])
        }
        func parts(_ result: String) -> Counter {
            metrics.counter(
                "colossus_report_parts_total",
                "Parts of windows that are settled: delivered, partial (some rows refused), dead.",
                ["endpoint": endpoint, "result": result]
            )
        }
        delivered = parts("delivered")
        cut = parts("partial")
        dead = parts("dead")
        samples = counter("colossus_report_samples_total", "Numbers that the endpoint has taken.")
        retries = counter("colossus_report_retries_total", "Attempts that failed and are made again.")
        deadLetters = counter("colossus_report_dead_letters_total", "Refused for good, and kept.")
        fallbacks = counter(
            "colossus_report_fallbacks_total", "Times that a simpler form was taken: version or compression.")
        dropped = Dictionary(
            uniqueKeysWithValues: EndpointStateMachine.DropReason.allCases.map { reason in
                let counter = metrics.counter(
                    "colossus_report_dropped_samples_total", "Selected and not sent, by reason.",
                    ["endpoint": endpoint, "reason": reason.rawValue]
                )
                return (reason, counter)
            })
        pending = metrics.gauge(
            "colossus_report_pending_windows", "Windows behind the newest one.", ["endpoint": endpoint]
        )
        isOpen = metrics.gauge(
            "colossus_report_circuit_open", "1 while the endpoint does not work.", ["endpoint": endpoint]
        )
        func gauge(_ name: String, _ help: String) -> Gauge {
            metrics.gauge(name, help, ["endpoint": endpoint])
        }
        inFlight = gauge("colossus_report_in_flight_requests", "Requests that are on their way.")
        inFlightMax = gauge(
            "colossus_report_in_flight_requests_max", "Requests that may be on their way at once, by now.")
        gaps = gauge(
            "colossus_report_gaps",
            "Stretches of windows that wait while later ones were sent: the backlog's.")
        seconds = metrics.gauge(
            "colossus_report_seconds", "Duration of the last attempt, in seconds.", ["endpoint": endpoint]
        )
    }

    /// Adds what changed since the account was last looked at.
    func count(_ old: EndpointAccount, _ new: EndpointAccount) {
        delivered.add(Int64(new.partsDelivered - old.partsDelivered))
        cut.add(Int64(new.partsCut - old.partsCut))
        dead.add(Int64(new.partsDead - old.partsDead))
        samples.add(Int64(new.samples - old.samples))
        retries.add(Int64(new.retries - old.retries))
        deadLetters.add(Int64(new.deadLetters - old.deadLetters))
        fallbacks.add(Int64(new.fallbacks - old.fallbacks))
        for (reason, counter) in dropped {
            counter.add(Int64(new.dropped[reason, default: 0] - old.dropped[reason, default: 0]))
        }
    }

    func show(_ lanes: EndpointLanes) {
        pending.set(Double(lanes.pendingWindows))
        isOpen.set(lanes.isCircuitOpen ? 1 : 0)
        inFlight.set(Double(lanes.inFlight.count))
        inFlightMax.set(Double(lanes.limit.now))
        gaps.set(Double(lanes.gaps.count))
    }

    func took(seconds value: Double) { seconds.set(value) }
}
