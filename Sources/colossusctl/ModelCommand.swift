import ArgumentParser

struct ModelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model",
        abstract: "Holds the model against what has been published; needs no running daemon.",
        subcommands: [])
}
