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

@Suite struct ScenarioKeyTests {
    @Test(
        "a key is explained as --set takes it",
        arguments: [
            ("failures.repair.median_h", "failures.repair.median_h"),
            ("failures.causes.NIC.repair.max_h", "failures.causes.repair.max_h"),
            ("phases.0.groups.1.gpus", "phases.groups.gpus"), ("gpu_models.H100.tdp_w", "gpu_models.tdp_w"),
            ("job.mfu.0.mfu", "job.mfu.mfu"), ("telemetry.loads.hung.power", "telemetry.loads.hung.power"),
        ])
    func found(_ key: String, _ path: String) {
        #expect(ScenarioKey.find(key).map(\.path) == [path])
    }

    @Test(
        "a key that is mistyped within a list is not taken for an entry, and the right one is named",
        arguments: [
            ("gpu_models.tdp", "gpu_models.tdp_w"), ("phases.dyas", "phases.days"),
            ("failures.causes.xdi", "failures.causes.xid"), ("gpu_models.H100.tdpw", "gpu_models.tdp_w"),
            ("phases.model", "phases.groups.model"), ("phases.0.gruops.0.gpus", "phases.groups"),
            ("job.restrat_s", "job.restart_s"), ("job..start", "job.start"), ("seed.0", "seed"),
            ("phases.days.3", "phases.days"),
        ])
    func mistyped(_ key: String, _ near: String) {
        #expect(ScenarioKey.find(key).isEmpty)
        #expect(ScenarioKey.nearest(to: key) == near)
    }

    @Test(
        "every entry of the shipped scenarios is explained by its name", arguments: ScenarioShippedTests.names
    )
    func entries(name: String) throws {
        let scenario = try loadScenario(path: ScenarioShippedTests.path(name))
        let entries =
            scenario.gpuModels.map { ("gpu_models", $0.key, "tdp_w") }
            + scenario.phases.map { ("phases", $0.name, "days") }
            + scenario.failures.causes.map { ("failures.causes", $0.name, "xid") }
        for (list, entry, key) in entries where !entry.contains(".") {
            #expect(ScenarioKey.find("\(list).\(entry).\(key)").map(\.path) == ["\(list).\(key)"], "\(entry)")
            // A phase that is called "day" may as well be `days`, mistyped.
            #expect(ScenarioKey.find("\(list).\(entry)").isEmpty == (entry == "day"), "\(entry)")
        }
    }

    @Test("what no file has is not explained, and everything within a section is")
    func others() {
        for key in [
            "job.restrat_s", "job.0x.mfu", "failures.repair.hours", "nothing", "phases.a.b.c.days",
            "job.0.mfu",
            "seed.0", "phases.days.3", "job..start", "phases.-1.days", "phases..days", "job.",
            "milestones.x.at",
        ] {
            #expect(ScenarioKey.find(key).isEmpty, "\(key)")
        }
        #expect(ScenarioKey.find("") == ScenarioKey.all)
        #expect(ScenarioKey.find("failures.repair").count == 5)
        #expect(ScenarioKey.find("median_h").count == 2)
        #expect(ScenarioKey.find("telemetry.loads.idle.power").map(\.unit) == ["0"])
        // Each leaf is within a key that is explained, and none is there twice.
        let paths = (ScenarioKey.all + ScenarioKey.leaves).map(\.path)
        #expect(Set(paths).count == paths.count)
        #expect(ScenarioKey.leaves.filter { $0.path.hasPrefix("telemetry.loads.") }.count == 42)
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
            (
                "telemetry.training_w=800",
                "--set telemetry.training_w=800: `telemetry.training_w` is 800 W, more than H100 may draw"
            ),
            (
                "telemetry.idle_w=660",
                "--set telemetry.idle_w=660: `telemetry.idle_w` is 660 W, more than in training, expected 650 W at most"
            ),
            (
                "gpu_models.H200.tdp_w=600",
                "--set gpu_models.H200.tdp_w=600: `telemetry.training_w` is 650 W, more than H200 may draw"
            ),
            (
                "plan_until=2024-05-01",
                "--set plan_until=2024-05-01: `plan_until` does not fit, expected a time after the start"
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
