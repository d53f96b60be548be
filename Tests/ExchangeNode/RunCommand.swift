import ArgumentParser
import Dispatch
import Exchange
import Glibc
import NATSExchange
import Telemetry

/// The wall clock's scheduler.
struct QueueScheduler: Scheduler {
    let queue = DispatchQueue(label: "chaos")
    var nowMs: Int64 { steadyMs() }
    func after(_ delayMs: Int64, _ body: @escaping @Sendable () -> Void) {
        queue.asyncAfter(deadline: .now() + .milliseconds(Int(max(0, delayMs))), execute: body)
    }
}

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Works until SIGTERM, then hands over and prints what it did as JSON.")

    @OptionGroup var cluster: ClusterOptions
    @Option(help: "worker or rollup") var role: String
    @Option var name: String
    @Option var windows: Int64
    @Option var leaseMs: Int64 = 3_000
    @Option var graceMs: Int64 = 20_000
    @Flag(help: "Sends copies, loses acknowledgements and reads old values, besides what the brokers do.")
    var chaos = false

    func run() throws {
        signal(SIGTERM, SIG_IGN)
        let term = DispatchSource.makeSignalSource(signal: SIGTERM, queue: .main)
        let fleet = try cluster.fleet()
        let nats = try cluster.bus(name)
        var bus: any Bus = nats
        if chaos {
            var faults = ChaosBus.Faults()
            faults.lostRequest = 0
            faults.delayMsMax = 20
            faults.copy = 0.2
            faults.timeoutMs = 2_500
            bus = ChaosBus(
                nats, scheduler: QueueScheduler(), random: SystemRandomNumberGenerator(), faults: faults)
        }
        let incarnation = UInt64.random(in: 1...UInt64.max)
        if role == "worker" {
            let machine = WorkerMachine(
                name: name, incarnation: incarnation, fleet: fleet, leaseMs: leaseMs,
                source: TestSamples(fleet: fleet, windows: windows))
            serve(
                NodeShell(machine, bus: bus, clock: steadyMs), term, drain: { $0.drain() },
                isDrained: { $0.status(nowMs: steadyMs()).slices.isEmpty }
            ) { machine in
                let status = machine.status(nowMs: steadyMs())
                return "\"published\":\(status.published),\"retried\":\(status.retried),"
                    + "\"fenced\":\(status.fenced),\"lease_losses\":\(status.leaseLosses),"
                    + "\"regressions\":\(status.leaseRegressions)"
            }
        } else {
            let machine = RollupMachine(
                name: name, incarnation: incarnation, fleet: fleet, leaseMs: leaseMs, graceMs: graceMs)
            serve(
                NodeShell(machine, bus: bus, clock: steadyMs), term, drain: { $0.drain() },
                isDrained: { $0.status(nowMs: steadyMs()).partitions.isEmpty }
            ) { machine in
                let status = machine.status(nowMs: steadyMs())
                return "\"closed\":\(status.closed),\"incomplete\":\(status.incomplete),"
                    + "\"adopted\":\(status.adopted),\"recovered\":\(status.recovered),"
                    + "\"lease_losses\":\(status.leaseLosses),\"regressions\":\(status.regressions)"
            }
        }
    }

    private func serve<Machine: NodeMachine>(
        _ shell: NodeShell<Machine>, _ term: any DispatchSourceSignal,
        drain: @escaping @Sendable (inout Machine) -> Void,
        isDrained: @escaping @Sendable (Machine) -> Bool, summary: @escaping @Sendable (Machine) -> String
    ) {
        let timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "tick"))
        timer.schedule(deadline: .now(), repeating: .milliseconds(100))
        timer.setEventHandler { @Sendable in shell.tick() }
        timer.resume()
        let label = "\"role\":\"\(role)\",\"name\":\"\(name)\""
        term.setEventHandler { @Sendable in
            let text = shell.withMachine { machine in
                drain(&machine)
                return summary(machine)
            }
            let deadline = steadyMs() + 5_000
            while steadyMs() < deadline, !shell.withMachine({ isDrained($0) }) { usleep(50_000) }
            print("{\(label),\(text)}")
            Glibc.exit(0)
        }
        term.resume()
        print("{\(label),\"running\":true}")
        fflush(nil)
        dispatchMain()
    }
}
