import ArgumentParser
import ControlAPI

struct TraceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract:
            "Where the last sample of a GPU's field is now: received, in a window, committed, delivered.",
        discussion: """
            Says of the measured stream which series tell of it, when and with what value, which windows hold it, \
            whether they are committed, and which endpoints have got them.

            Example:
              colossusctl trace node-17-3/5 DCGM_FI_DEV_GPU_TEMP
            """)

    @OptionGroup var global: GlobalOptions

    @Argument(help: "NODE/ORDINAL.")
    var gpu: String

    @Argument(help: "A field by its DCGM name.")
    var field: String

    func run() throws { try global.show(global.client().trace(TraceRequest(gpu: gpu, field: field))) }
}
