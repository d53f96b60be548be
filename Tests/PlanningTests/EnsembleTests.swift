import Planning
import Settings
import Simulation
import TestSupport
import Testing

@Suite(.computing) struct EnsembleTests {
    static let folder =
        #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 } + "/Config/scenarios/"

    static func plan(_ name: String, change: (inout Scenario) -> Void = { _ in }) throws -> FleetPlan {
        var scenario = try loadScenario(path: folder + name)
        change(&scenario)
        return try FleetPlan(scenario)
    }

    @Test("the runs are the same however many threads make them")
    func threads() throws {
        let plan = try Self.plan("small-512.yaml")
        let one = Ensemble(plan: plan, runs: 50, workers: 1)
        let four = Ensemble(plan: plan, runs: 50, workers: 4)
        #expect(one.runs.map(\.trajectory.seed) == Array(1...50))
        #expect(one.runs.map(\.trajectory.gpuTime) == four.runs.map(\.trajectory.gpuTime))
        #expect(one.runs.map(\.trajectory.failuresByCause) == four.runs.map(\.trajectory.failuresByCause))
    }

    @Test("quantiles are those of a list that is known")
    func quantiles() {
        let values = (0...100).map(Double.init)
        #expect(quantile(values, 0.05) == 5 && quantile(values, 0.5) == 50 && quantile([1, 2], 0.25) == 1.25)
        #expect(Band([]) == nil)
        #expect(Band(values.reversed()) == Band(low: 5, median: 50, high: 95))
    }
}
