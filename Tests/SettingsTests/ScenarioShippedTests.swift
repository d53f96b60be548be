import Settings
import Simulation
import Telemetry
import TestSupport
import Testing

#if canImport(FoundationEssentials)
    import FoundationEssentials
#endif

@Suite(.computing) struct ScenarioShippedTests {
    static let names = [
        "abilene", "acme", "b200-504", "bloom-176b", "colossus", "colossus-2", "colossus-slow", "deepseek-v3",
        "grok-1",
        "grok-2", "live-200k", "llama3-405b", "megascale", "opt-175b", "rsc-1", "rsc-2", "small-512",
        "small-64",
    ]

    static func path(_ name: String) -> String { ScenarioColossusTests.folder + name + ".yaml" }

    @Test("every shipped scenario is right, and is called what its file is called", arguments: names)
    func shipped(name: String) throws {
        let scenario = try loadScenario(path: Self.path(name))
        #expect(scenario.name == name)
        #expect(try FleetPlan(scenario).gpuCount == scenario.gpuCount)
    }

    @Test("all files of the folder are in the list")
    func complete() throws {
        let files = try FileManager.default.contentsOfDirectory(atPath: ScenarioColossusTests.folder)
        #expect(Set(files.filter { $0.hasSuffix(".yaml") }) == Set(Self.names.map { $0 + ".yaml" }))
    }

    @Test("every trajectory of them adds up to the millisecond", arguments: names)
    func sums(name: String) throws {
        var runner = TrajectoryRunner(plan: try FleetPlan(try loadScenario(path: Self.path(name))))
        let run = runner.run(seed: 1)
        #expect(run.gpuTime.total == run.installedNodeMs)
        #expect(run.ettr > 0.3 && run.ettr < 1)
    }

    @Test("every key that is explained is in the README, and the other way round")
    func keys() throws {
        let data = try #require(
            FileManager.default.contents(atPath: ScenarioColossusTests.folder + "README.md"))
        let text = String(decoding: data, as: UTF8.self)
        for key in ScenarioKey.all {
            let names = [key.path, key.path.split(separator: ".").dropFirst().joined(separator: ".")]
            let last = String(key.path.split(separator: ".").last ?? "")
            #expect((names + [last]).contains { text.contains("| `\($0)` |") }, "\(key.path)")
        }
        #expect(
            text.split(separator: "\n").filter { $0.hasPrefix("| `") && !$0.contains(".yaml") }.count
                == ScenarioKey.all.count)
    }
}

@Suite(.computing) struct ScenarioChangeTests {
    @Test("a change takes the place of a value, by position or by name, or adds one that was left out")
    func changes() throws {
        let texts = [
            "failures.per_gpu_day=1e-3", "phases.0.days=100", "gpu_models.H200.tdp_w=650",
            "failures.causes.NIC.weight=70", "job.checkpoint_policy=daly",
            "failures.lemons={share: 0.01, factor: 5}",
        ]
        let scenario = try loadScenario(
            path: ScenarioShippedTests.path("colossus"), changes: texts.compactMap(ScenarioChange.init))
        #expect(scenario.failures.perGPUDay == 1e-3 && scenario.phases[0].days == 100)
        #expect(scenario.gpuModels[1].tdpWatts == 650 && scenario.gpuModels[0].tdpWatts == 700)
        #expect(scenario.failures.causes.first { $0.name == "NIC" }?.weight == 70)
        #expect(
            scenario.job.checkpointPolicy == .daly
                && scenario.failures.lemons == .init(share: 0.01, factor: 5))
    }

    @Test(
        "a change that leads nowhere or does not fit is named",
        arguments: [
            ("job.restrat_s=1", "--set job.restrat_s=1: unknown key `restrat_s`; did you mean `restart_s`?"),
            ("phases.7.days=1", "--set phases.7.days=1: there is no `phases.7.days`"),
            ("job.restart_s=soon", "--set job.restart_s=soon: `soon` is not allowed here"),
            (
                "phases.0.groups.0.gpus=12",
                "--set phases.0.groups.0.gpus=12: `phases[0].groups[0].gpus` does not fit"
            ),
        ])
    func refused(_ text: String, _ expected: String) throws {
        let change = try #require(ScenarioChange(text))
        let failure = #expect(throws: SettingsFailure.self) {
            try loadScenario(path: ScenarioShippedTests.path("colossus"), changes: [change])
        }
        #expect(failure?.description.hasPrefix(expected) == true, "\(failure?.description ?? "")")
        #expect(ScenarioChange("no equals sign") == nil && ScenarioChange("=1") == nil)
    }
}
