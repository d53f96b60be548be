/// The figures of one benchmark over the rounds.
struct Series {
    let unit: String
    private(set) var values: [Double] = []
    private(set) var calibrations: [Double] = []

    init(unit: String) { self.unit = unit }

    mutating func add(_ result: Benchmark.Result, _ calibration: Double) {
        values.append(result.value)
        calibrations.append(calibration)
    }

    static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        guard let last = sorted.last else { return 0 }
        let middle = sorted.count / 2
        return sorted.count % 2 == 1
            ? sorted[middle] : (sorted[middle - 1] + (middle < sorted.count ? sorted[middle] : last)) / 2
    }
}

/// Results as people and programs read them.
enum Report {
    static func table(_ results: [(String, Series)]) -> String {
        var lines = ["| what | median | min | max | unit | calibration |", "|---|--:|--:|--:|---|--:|"]
        for (name, series) in results {
            let numbers = [Series.median(series.values), series.values.min() ?? 0, series.values.max() ?? 0]
            let cells =
                [name] + numbers.map(number) + [series.unit, number(Series.median(series.calibrations))]
            lines.append("| " + cells.joined(separator: " | ") + " |")
        }
        lines.append("")
        lines.append("calibration: million SplitMix64 steps a second on one core, just before each figure")
        return lines.joined(separator: "\n")
    }

    static func json(_ results: [(String, Series)]) -> String {
        results.map { name, series in
            let values = series.values.map { "\($0)" }.joined(separator: ",")
            let calibrations = series.calibrations.map { "\($0)" }.joined(separator: ",")
            return #"{"schema":"colossus.bench/v1","name":"\#(name)","unit":"\#(series.unit)","#
                + #""median":\#(Series.median(series.values)),"values":[\#(values)],"#
                + #""calibration":[\#(calibrations)]}"#
        }.joined(separator: "\n")
    }

    /// Three digits that count.
    private static func number(_ value: Double) -> String {
        switch abs(value) {
        case 100...: String(Int64(value.rounded()))
        case 10..<100: String((value * 10).rounded() / 10)
        default: String((value * 1_000).rounded() / 1_000)
        }
    }
}
