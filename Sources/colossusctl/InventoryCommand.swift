import ArgumentParser
import ControlAPI

struct InventoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inventory",
        abstract: "Where nodes stand, now or in the windows of some time.",
        discussion: """
            A reload takes a changed inventory.file at once: nodes move, and nobody waits for those that it has not any \
            more. Windows that were closed before stay with the racks that nodes stood in then; --at shows those. \
            Standing: listed by the inventory, heard of without one, or removed by a later one.

            Examples:
              colossusctl inventory --limit 10
              colossusctl inventory --entity rack-17 --at=-1d
              colossusctl inventory --removed -o csv
            """)

    @OptionGroup var global: GlobalOptions

    @Option(help: "measured, or sim/RUN. Default: measured if it has windows, else the simulated one.")
    var stream: String?

    @Option(
        help:
            "The fleet of the newest window that ends then or before: a time, a date (its end), or --at=-1h for an hour ago."
    )
    var at: TimeArgument?

    @Option(help: "The nodes of this rack, array or hall, or this node.")
    var entity: String?

    @Flag(help: "Only nodes that a later inventory has not any more.")
    var removed = false

    @Option(help: "Most rows, 1 to 100000.")
    var limit = ControlLimits.rowsDefault

    func run() throws {
        var request = InventoryRequest()
        request.stream = stream
        request.at = at?.time
        request.entity = entity
        request.removed = removed
        request.limit = limit
        try global.show(global.client().inventory(request))
    }
}
