import ArgumentParser
import ControlAPI
import Settings

/// Finds verbs that do not exist before the parser does: it takes `help nope` for `help`, and has no suggestions.
enum VerbCheck {
    static func check(_ arguments: [String], root: any ParsableCommand.Type) throws(ControlError) {
        var words = words(of: arguments)[...]
        if words.first == "help" { words.removeFirst() }
        var command = root
        var path = [root._commandName]
        while let word = words.popFirst() {
            let verbs = command.configuration.subcommands
            // The rest are arguments of a verb.
            if verbs.isEmpty { return }
            guard let next = verbs.first(where: { $0._commandName == word }) else {
                // `endpoints` alone means `endpoints list`, which has no arguments.
                throw unknown(word, path, verbs.map { $0._commandName })
            }
            command = next
            path.append(word)
        }
    }

    /// What is no option and no option's value, up to the first option that not every verb has.
    static func words(of arguments: [String]) -> [String] {
        var words: [String] = []
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "--socket", "--output", "-o", "--watch": rest = rest.dropFirst()
            case _
            where argument.hasPrefix("--socket=") || argument.hasPrefix("--output=")
                || argument.hasPrefix("--watch="):
                continue
            case _ where argument.hasPrefix("-"): return words
            default: words.append(argument)
            }
        }
        return words
    }

    private static func unknown(_ word: String, _ path: [String], _ verbs: [String]) -> ControlError {
        let near = Suggestion.nearest(to: word, in: verbs).map { " Did you mean `\($0)`?" } ?? ""
        let whole = path.joined(separator: " ")
        return ControlError(
            .badRequest, "There is no `\(whole) \(word)`.\(near)",
            hint: "There are: \(verbs.joined(separator: ", ")). See `\(whole) --help`.")
    }
}
