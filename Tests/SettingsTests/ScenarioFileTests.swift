import Foundation
import Settings
import Simulation
import TestSupport
import Testing

@Suite(.computing) struct ScenarioFileTests {
    /// The least that is a scenario.
    static let least = """
        name: least
        start: 2024-05-03
        gpu_models:
          - {key: H100, name: H100, tdp_w: 700, memory_mib: 80_000, idle_clock_mhz: 345, max_clock_mhz: 1980, memory_clock_mhz: 2619}
        phases:
          - {name: one, days: 2, groups: [{model: H100, gpus: 64}]}
        power:
          curve: [{at: 2024-05-03, mw: 1}]
          kw_per_gpu: 1.4
        job: {name: job, start: 2024-05-03T12:00:00Z, checkpoint_s: 600, restart_s: 60}
        telemetry:
          idle_w: 85
          training_w: 650
          idle_c: 30
          training_c: 45
          loads:
            training: {engine: 1, tensor: 0.5, dram: 0.4, nvlink_mbps: 1000, pcie_bps: 1000, memory: 0.9, power: 1000}
        """

    static func failure(_ text: String) -> String {
        do throws(SettingsFailure) {
            _ = try parseScenario(text, file: "s.yaml")
            return ""
        } catch {
            return error.description
        }
    }

    @Test("what may be left out has the documented default")
    func defaults() throws {
        let scenario = try parseScenario(Self.least, file: "s.yaml")
        #expect((scenario.seed, scenario.speed, scenario.site) == (1, 1, "site"))
        #expect(scenario.layout == .init(nodesPerRack: 8, racksPerArray: 8, gpusPerHall: 25_000))
        #expect(scenario.phases[0].curve == .immediate)
        #expect(scenario.failures.perGPUDay == 0 && scenario.milestones.isEmpty)
        #expect(scenario.bringUp == .init(energiseHours: 0, checkHours: 0, burnInHours: 0, rejectedShare: 0))
        #expect(scenario.telemetry.burnIn == scenario.telemetry.training)
        #expect(
            scenario.telemetry.hung == scenario.telemetry.idle && scenario.telemetry.idle.powerPermille == 0)
        #expect(scenario.job.resizeHours == 6 && scenario.telemetry.throttleCelsius == 87)
    }

    @Test("the first day starts at its midnight; elsewhere a bare date is the end of its day")
    func dates() throws {
        let scenario = try parseScenario(Self.least, file: "s.yaml")
        #expect(scenario.startMs == 1_714_694_400_000)
        #expect(scenario.power.curve[0].timeMs == 1_714_694_400_000 + 86_400_000)
        #expect(scenario.job.startMs == 1_714_694_400_000 + 43_200_000)
    }

    @Test("a seed from elsewhere takes the place of the file's")
    func seed() throws {
        #expect(try parseScenario(Self.least, file: "s.yaml", seed: 99).seed == 99)
    }

    @Test(
        "what is wrong is named with its place and what was expected",
        arguments: [
            (
                "seed: -1", "name: least",
                "s.yaml:2:7: `-1` is not allowed here, expected a whole number from 0"
            ),
            ("sead: 1", "name: least", "s.yaml:2:1: unknown key `sead`; did you mean `seed`?"),
        ])
    func places(_ added: String, _ after: String, _ expected: String) {
        let text = Self.least.replacing(after, with: after + "\n" + added)
        #expect(Self.failure(text).hasPrefix(expected), "\(Self.failure(text))")
    }

    @Test(
        "a value that does not fit is refused",
        arguments: [
            (
                "days: 2", "days: many",
                "s.yaml:6:23: `many` is not allowed here, expected a whole number from 1 to 36500"
            ),
            (
                "gpus: 64", "gpus: 63",
                "s.yaml:6:55: `phases[0].groups[0].gpus` does not fit, expected a multiple of 8 GPUs"
            ),
            (
                "model: H100", "model: B200",
                "s.yaml:6:43: `phases[0].groups[0].model` does not fit, expected a key of gpu_models"
            ),
            (
                "kw_per_gpu: 1.4", "pue: 1.4",
                "s.yaml:8:3: `kw_per_gpu` is missing, expected a number from 0.01 to 100.0"
            ),
            (
                "start: 2024-05-03\n", "start: 2024-05-03T01:00:00Z\n",
                "s.yaml:2:8: the time of day is not midnight, expected a UTC date"
            ),
            (
                "name: least", "name: the least",
                "s.yaml:1:7: `the least` is not allowed here, expected 1 to 64 characters"
            ),
            (
                "engine: 1,", "engine: 1.5,",
                "s.yaml:17:24: `1.5` is not allowed here, expected a number from 0.0 to 1.0"
            ),
        ])
    func refused(_ old: String, _ new: String, _ expected: String) {
        let text = Self.least.replacing(old, with: new)
        #expect(Self.failure(text).hasPrefix(expected), "\(Self.failure(text))")
    }

    @Test(
        "a power that is missing or no number is one error, and no reason to find fault with the other",
        arguments: ["idle_w", "training_w"], ["", "lots"])
    func oneError(_ key: String, _ value: String) throws {
        let path = ScenarioColossusTests.folder + "small-64.yaml"
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        let changed = lines.compactMap { line in
            line.contains("  \(key): ") ? (value.isEmpty ? nil : "  \(key): \(value)") : String(line)
        }
        #expect(lines.filter { $0.contains("  \(key): ") }.count == 1)
        let failure = #expect(throws: SettingsFailure.self) {
            try parseScenario(changed.joined(separator: "\n"), file: "a.yaml")
        }
        #expect(failure?.errors.count == 1, "\(failure?.description ?? "")")
    }

    @Test("a claim needs both its count and its GPUs")
    func claims() {
        let text = Self.least + "\nmilestones:\n  - {at: 2024-05-04, what: something, gpus: 8}\n"
        #expect(
            Self.failure(text) == "s.yaml:19:45: a claim is incomplete, expected both `counts` and `gpus`")
    }

    @Test("a file that is not there is an error of the file")
    func missing() {
        let failure = #expect(throws: SettingsFailure.self) { try loadScenario(path: "/nonexistent/s.yaml") }
        #expect(failure?.description.hasPrefix("/nonexistent/s.yaml: cannot be opened") == true)
    }

    @Test(
        "what does not fit together is reported at its own place",
        arguments: [
            ("minimum_gpus: 32", "minimum_gpus: 72", "job.minimum_gpus"),
            ("{model: H100, gpus: 64}", "{model: H100, gpus: 60}", "phases[0].groups[0].gpus"),
            ("{model: H100, gpus: 64}", "{model: H900, gpus: 64}", "phases[0].groups[0].model"),
            ("training_w: 650", "training_w: 701", "telemetry.training_w"),
            ("idle_w: 85", "idle_w: 701", "telemetry.idle_w"),
            ("idle_w: 85", "idle_w: 660", "telemetry.idle_w"),
        ])
    func places(old: String, new: String, key: String) throws {
        let path = ScenarioColossusTests.folder + "small-64.yaml"
        let text = try String(contentsOfFile: path, encoding: .utf8).replacingOccurrences(of: old, with: new)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let line = try #require(lines.firstIndex { $0.contains(new) }) + 1
        let last = try #require(key.split(separator: ".").last)
        let found = try #require(lines[line - 1].range(of: "\(last): "))
        let column = lines[line - 1].distance(from: lines[line - 1].startIndex, to: found.upperBound) + 1
        do {
            _ = try parseScenario(text, file: "a.yaml")
            Issue.record("it was taken")
        } catch {
            let shown = error.errors.map(\.description)
            #expect(shown.contains { $0.hasPrefix("a.yaml:\(line):\(column): `\(key)`") }, "\(shown)")
        }
    }
}
