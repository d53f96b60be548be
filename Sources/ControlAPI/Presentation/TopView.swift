/// What `colossusctl top` draws: lines on the terminal's other screen. Pure: it makes bytes.
public struct TopView: Sendable {
    /// Weights and colours (ECMA-48 SGR).
    public var isStyled: Bool

    public init(isStyled: Bool) { self.isStyled = isStyled }

    /// The other screen, without a cursor; and back.
    public static let open = "\u{1B}[?1049h\u{1B}[?25l"
    public static let close = "\u{1B}[?25h\u{1B}[?1049l"

    /// The whole screen anew, without flicker: each line is overwritten, then the rest is cleared. What does not fit is
    /// left out, and the last line says so.
    public func frame(_ lines: [String], width: Int, height: Int) -> String {
        let room = max(2, height)
        var shown = lines.map { $0.cut(to: max(1, width)) }
        if shown.count > room {
            let more = shown.count - room + 1
            shown = Array(shown.prefix(room - 1)) + ["... \(more) more lines".cut(to: max(1, width))]
        }
        let text = shown.map { styled($0) + "\u{1B}[K" }.joined(separator: "\r\n")
        return "\u{1B}[H" + text + "\u{1B}[J"
    }

    private func styled(_ line: String) -> String {
        guard isStyled else { return line }
        if line.hasPrefix("warning: ") { return "\u{1B}[33m" + line + "\u{1B}[0m" }
        // Titles of tables are in capitals.
        let isTitle = line.contains("  ") && !line.contains { $0.isLowercase || $0.isNumber }
        return isTitle ? "\u{1B}[1m" + line + "\u{1B}[0m" : line
    }
}
