public import Simulation
import Telemetry

/// Reads a scenario file; `Config/scenarios/README.md` explains every key.
///
/// - Parameter seed: takes the place of the file's own.
/// - Throws: everything that is wrong with it, each as `FILE:LINE:COL: what, and what was expected`.
public func loadScenario(path: String, seed: UInt64? = nil) throws(SettingsFailure) -> Scenario {
    var scenario = try StrictYAML.decode(file: path, ScenarioFile.decode)
    if let seed { scenario.seed = seed }
    return scenario
}

/// Reads the text of a scenario file.
///
/// - Parameter file: how errors name it.
public func parseScenario(_ text: String, file: String, seed: UInt64? = nil) throws(SettingsFailure)
    -> Scenario
{
    var scenario = try StrictYAML.decode(text, file: file, ScenarioFile.decode)
    if let seed { scenario.seed = seed }
    return scenario
}

/// The form of a scenario file.
enum ScenarioFile {
    static func decode(_ root: YAMLValue) -> Scenario? {
        root.read(.mapping("a scenario: a mapping of keys to values", scenario))
    }

    private static func scenario(_ m: YAMLMapping) -> Scenario? {
        let name = m.required("name", .runName)
        let speed = m.optional("speed", .double(in: 0.001...1e9), default: 1)
        let site = m.optional("site", .text(max: 64), default: "site")
        let seed = m.optional("seed", .int(), default: 1)
        let start = m.required("start", .date)
        let layout = m.optional("layout", .record(layout), default: .init())
        let models = m.required("gpu_models", .list(of: .record(model), min: 1, max: 16))
        let phases = m.required("phases", .list(of: .record(phase), min: 1, max: 16))
        let power = m.required("power", .record(power))
        let bringUp = m.optional("bring_up", .record(bringUp), default: .none)
        let failures = m.optional("failures", .record(ScenarioOperationFile.failures), default: .none)
        let job = m.required("job", .record(ScenarioOperationFile.job))
        let telemetry = m.required("telemetry", .record(ScenarioTelemetryFile.telemetry))
        let milestones = m.optional("milestones", .list(of: .record(milestone), max: 200), default: [])
        let planUntil = m.optional("plan_until", .endOfDate)
        guard let name, let start, let models, let phases, let power, let job, let telemetry else {
            return nil
        }
        if start % UTC.dayMs != 0 {
            m.fail("start", "the time of day is not midnight", expected: "a UTC date")
        }
        let scenario = Scenario(
            name: name, speed: speed, site: site, seed: UInt64(seed), startMs: start, layout: layout,
            gpuModels: models, phases: phases, power: power, bringUp: bringUp, failures: failures, job: job,
            telemetry: telemetry, milestones: milestones.sorted { $0.timeMs < $1.timeMs },
            planUntilMs: planUntil)
        do throws(ScenarioProblem) {
            try scenario.check()
        } catch {
            report(error, m)
        }
        return scenario
    }

    private static func report(_ problem: ScenarioProblem, _ m: YAMLMapping) {
        m.fail(at: problem.key, "`\(problem.key)` \(problem.found)", expected: problem.expected)
    }

    private static func layout(_ m: YAMLMapping) -> Scenario.Layout {
        let standard = Scenario.Layout()
        return Scenario.Layout(
            nodesPerRack: m.optional("nodes_per_rack", .int(in: 1...8), default: standard.nodesPerRack),
            racksPerArray: m.optional(
                "racks_per_array", .int(in: 1...1_000), default: standard.racksPerArray),
            gpusPerHall: m.optional("gpus_per_hall", .int(in: 8...4_000_000), default: standard.gpusPerHall))
    }

    private static func model(_ m: YAMLMapping) -> Scenario.GPUModel {
        let clock = YAMLType<Double>.double(in: 15...10_000)
        let memory = YAMLType<Double>.double(in: 0...4_000_000)
        return Scenario.GPUModel(
            key: m.required("key", .text(max: 32), placeholder: ""),
            name: m.required("name", .text(max: 64), placeholder: ""),
            // The most: what is wrong here is no reason to find fault with what GPUs draw.
            tdpWatts: m.required("tdp_w", .float(in: 1...10_000), placeholder: 10_000),
            memoryMiB: m.required("memory_mib", memory.float, placeholder: 1),
            reservedMiB: m.optional("reserved_mib", memory.float, default: 0),
            idleClockMHz: m.required("idle_clock_mhz", clock.float, placeholder: 15),
            maxClockMHz: m.required("max_clock_mhz", clock.float, placeholder: 15),
            memoryClockMHz: m.required("memory_clock_mhz", clock.float, placeholder: 15),
            peakTFLOPs: m.optional("peak_tflops", .double(in: 0...100_000), default: 0))
    }

    private static func phase(_ m: YAMLMapping) -> Scenario.Phase {
        let group = YAMLType<Scenario.Phase.Group>.mapping { group in
            Scenario.Phase.Group(
                model: group.required("model", .text(max: 32), placeholder: ""),
                gpus: group.required("gpus", .int(in: 8...4_000_000), placeholder: 8))
        }
        return Scenario.Phase(
            name: m.required("name", .text(max: 64), placeholder: ""),
            days: m.required("days", .int(in: 1...36_500), placeholder: 1),
            groups: m.required("groups", .list(of: group, min: 1, max: 64), placeholder: []),
            curve: m.optional("curve", .record(curve), default: .immediate),
            retireMs: m.optional("retire", .endOfDate))
    }

    private static func curve(_ m: YAMLMapping) -> Scenario.InstallCurve? {
        enum Kind: String, CaseIterable { case logistic, immediate, steps }
        guard let kind = m.required("kind", .oneOf(Kind.self)) else { return nil }
        switch kind {
        case .immediate: return .immediate
        case .steps: return .steps(m.required("steps", .list(of: step, min: 1, max: 1_000), placeholder: []))
        case .logistic: break
        }
        let waves = YAMLType<Scenario.Waves>.mapping { waves in
            Scenario.Waves(
                periodDays: waves.required("period_days", .double(in: 0.1...365), placeholder: 1),
                strength: waves.required("strength", .double(in: 0...1), placeholder: 0))
        }
        return .logistic(
            perDay: m.required("per_day", .double(in: 0.0001...100), placeholder: 1),
            midpointDay: m.required("midpoint_day", .double(in: -1_000...36_500), placeholder: 1),
            waves: m.optional("waves", waves))
    }

    private static var step: YAMLType<Scenario.Step> {
        .mapping { step in
            Scenario.Step(
                day: step.required("day", .double(in: 0...36_500), placeholder: 0),
                share: step.required("share", .double(in: 0...1), placeholder: 1))
        }
    }

    private static func power(_ m: YAMLMapping) -> Scenario.SitePower {
        let point = YAMLType<Scenario.SitePower.Point>.mapping { point in
            Scenario.SitePower.Point(
                timeMs: point.required("at", .endOfDate, placeholder: 0),
                megawatts: point.required("mw", .double(in: 0...100_000), placeholder: 0))
        }
        return Scenario.SitePower(
            curve: m.required("curve", .list(of: point, min: 1, max: 1_000), placeholder: []),
            kilowattsPerGPU: m.required("kw_per_gpu", .double(in: 0.01...100), placeholder: 1),
            baseMegawatts: m.optional("base_mw", .double(in: 0...100_000), default: 0),
            hostWattsPerGPU: m.optional("host_w_per_gpu", .double(in: 0...10_000), default: 0),
            networkShare: m.optional("network_share", .double(in: 0...10), default: 0),
            pue: m.optional("pue", .double(in: 1...10), default: 1))
    }

    private static func bringUp(_ m: YAMLMapping) -> Scenario.BringUp {
        let hours = YAMLType<Double>.double(in: 0...8_760)
        return Scenario.BringUp(
            energiseHours: m.optional("energise_h", hours, default: 0),
            checkHours: m.optional("check_h", hours, default: 0),
            burnInHours: m.optional("burn_in_h", hours, default: 0),
            rejectedShare: m.optional("rejected_share", .double(in: 0...1), default: 0))
    }

    private static func milestone(_ m: YAMLMapping) -> Scenario.Milestone {
        let count = m.optional("counts", .oneOf(Scenario.Milestone.Count.self))
        let gpus = m.optional("gpus", .int(in: 0...100_000_000))
        if (count == nil) != (gpus == nil) {
            m.fail(
                count == nil ? "gpus" : "counts", "a claim is incomplete",
                expected: "both `counts` and `gpus`")
        }
        return Scenario.Milestone(
            timeMs: m.required("at", .endOfDate, placeholder: 0),
            text: m.required("what", .text(max: 256), placeholder: ""),
            claim: count.flatMap { count in gpus.map { .init(count, gpus: $0) } },
            source: m.optional("source", .text(max: 256), default: ""))
    }
}

extension Scenario.Layout {
    init() { self.init(nodesPerRack: 8, racksPerArray: 8, gpusPerHall: 25_000) }
}

extension Scenario.BringUp {
    /// Racks are ready as soon as there is power.
    static var none: Self { Self(energiseHours: 0, checkHours: 0, burnInHours: 0, rejectedShare: 0) }
}

extension Scenario.Failures {
    /// Nothing ever breaks.
    static var none: Self {
        Self(
            perGPUDay: 0, causes: [], drainMinutes: 15,
            repair: .init(medianHours: 1, sigma: 0, minHours: 0, maxHours: 87_600))
    }
}

extension YAMLType<String> {
    /// What a run may be called.
    static var runName: YAMLType<String> {
        YAMLType<String>.text().checked("1 to 64 characters out of a-z A-Z 0-9 . _ -") {
            StreamID.isRunName($0) ? $0 : nil
        }
    }
}

extension YAMLType<Int64> {
    /// A time; a bare date stands for the end of that day.
    static var endOfDate: YAMLType<Int64> {
        let expected = YAMLType<Int64>.date.expected
        return YAMLType<Int64>(expected) { value in
            guard let timeMs = value.read(.date), let text = value.plain(expected) else { return nil }
            return text.utf8.count == 10 ? timeMs + UTC.dayMs : timeMs
        }
    }
}

extension YAMLType<Double> {
    /// The same number with the model's precision.
    var float: YAMLType<Float> { checked(expected) { Float($0) } }
}

extension YAMLType<Float> {
    static func float(in range: ClosedRange<Double>) -> YAMLType<Float> {
        YAMLType<Double>.double(in: range).float
    }
}

extension YAMLType {
    /// A mapping that a function reads.
    static func record(_ decode: @escaping (YAMLMapping) -> Value?) -> YAMLType<Value> {
        .mapping { decode($0) }
    }
}
