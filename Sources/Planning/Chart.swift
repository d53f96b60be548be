/// A line chart as inline SVG: bands, lines, axes with round numbers, and a title. No script, no fonts, no network.
struct Chart {
    struct Line {
        var name: String
        var color: String
        var values: [Double]
        /// The same length as `values`, or empty.
        var low: [Double] = []
        var high: [Double] = []
        var isDashed = false
    }

    var title: String
    var unit: String
    /// Unix milliseconds, rising.
    var times: [Int64]
    /// What the axis says at a time.
    var label: (Int64) -> String
    var lines: [Line]

    private static let width = 880.0
    private static let height = 320.0
    private static let left = 76.0
    private static let right = 12.0
    private static let top = 14.0
    private static let bottom = 30.0

    var svg: String {
        let highest = lines.flatMap { $0.values + $0.high }.max() ?? 0
        let step = Self.roundStep(max(highest, 1e-9) / 5)
        let top = (highest / step).rounded(.up) * step
        var parts: [String] = []
        for mark in stride(from: 0, through: top * 1.0001, by: step) {
            let y = Self.y(mark, top)
            parts.append(
                "<line class=\"grid\" x1=\"\(Self.left)\" x2=\"\(Self.width - Self.right)\" y1=\"\(y)\" y2=\"\(y)\"/>"
            )
            parts.append(
                "<text x=\"\(Self.left - 6)\" y=\"\(y + 4)\" text-anchor=\"end\">\(Self.number(mark))</text>")
        }
        for index in stride(from: 0, to: times.count, by: max(1, times.count / 7)) {
            let x = x(index)
            parts.append(
                "<text x=\"\(x)\" y=\"\(Self.height - 8)\" text-anchor=\"middle\">\(label(times[index]))</text>"
            )
        }
        for line in lines { parts += draw(line, top) }
        return
            "<figure><figcaption>\(Markup.escaped(title)) <small>\(Markup.escaped(unit))</small></figcaption>\(legend)"
            + "<svg viewBox=\"0 0 \(Self.width) \(Self.height)\" role=\"img\" aria-label=\"\(Markup.escaped(title))\">"
            + parts.joined() + "</svg></figure>"
    }

    private var legend: String {
        let entries = lines.map { line in
            "<span><i style=\"background:\(line.color)\"></i>\(Markup.escaped(line.name))</span>"
        }
        return "<div class=\"legend\">" + entries.joined() + "</div>"
    }

    private func draw(_ line: Line, _ top: Double) -> [String] {
        func point(_ index: Int, _ value: Double) -> String {
            "\(Self.short(x(index))),\(Self.short(Self.y(value, top)))"
        }
        var parts: [String] = []
        if !line.low.isEmpty {
            let upper = line.high.enumerated().map { point($0, $1) }
            let lower = line.low.enumerated().reversed().map { point($0, $1) }
            parts.append(
                "<polygon points=\"\((upper + lower).joined(separator: " "))\" fill=\"\(line.color)\" fill-opacity=\"0.2\"/>"
            )
        }
        let dash = line.isDashed ? " stroke-dasharray=\"5 4\"" : ""
        let points = line.values.enumerated().map { point($0, $1) }.joined(separator: " ")
        parts.append(
            "<polyline points=\"\(points)\" fill=\"none\" stroke=\"\(line.color)\" stroke-width=\"2\"\(dash)/>"
        )
        return parts
    }

    private func x(_ index: Int) -> Double {
        let share = times.count > 1 ? Double(index) / Double(times.count - 1) : 0
        return Self.left + share * (Self.width - Self.left - Self.right)
    }

    private static func y(_ value: Double, _ top: Double) -> Double {
        height - bottom - value / top * (height - self.top - bottom)
    }

    private static func short(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }

    /// 1, 2 or 5 times a power of ten, at least so much.
    static func roundStep(_ least: Double) -> Double {
        var power = 1.0
        while power * 10 <= least { power *= 10 }
        while power > least { power /= 10 }
        return [1, 2, 5, 10].first { $0 * power >= least }.map { $0 * power } ?? 10 * power
    }

    static func number(_ value: Double) -> String {
        if abs(value) >= 1e15 {
            var (mantissa, exponent) = (value, 0)
            while abs(mantissa) >= 10 {
                mantissa /= 10
                exponent += 1
            }
            return "\((mantissa * 10).rounded() / 10)e\(exponent)"
        }
        return value == value.rounded() ? PlanReport.grouped(Int(value)) : ScenarioSummary.short(value)
    }
}

enum Markup {
    /// Text for HTML and for attributes in double quotes.
    static func escaped(_ text: String) -> String {
        var out = ""
        for character in text {
            switch character {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            case "\"": out += "&quot;"
            case "'": out += "&#39;"
            default: out.append(character)
            }
        }
        return out
    }

    static func table(_ head: [String], _ rows: [[String]]) -> String {
        let header = head.map { "<th>\(escaped($0))</th>" }.joined()
        let body = rows.map { row in
            "<tr>" + row.map { "<td>\(escaped($0))</td>" }.joined() + "</tr>"
        }
        return "<table><thead><tr>\(header)</tr></thead><tbody>\(body.joined())</tbody></table>"
    }
}
