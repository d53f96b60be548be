import ArgumentParser
import Dispatch
import Exchange
import NATSExchange
import Telemetry

struct Measure: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Publishes partials as fast as they are stored; prints rate and latencies as JSON.")

    @OptionGroup var cluster: ClusterOptions
    @Option var messages = 20_000
    @Option var bytes = 16_384
    @Option(help: "Messages on their way at once.") var window = 256

    func run() throws {
        let bus = try cluster.bus("measure")
        let subject = Subject("clsd.v1.\(cluster.cluster).part.0.0")
        let payload = [UInt8](repeating: 7, count: bytes)
        let free = DispatchSemaphore(value: window)
        let latencies = Locked<[Int64]>([])
        let failed = Locked(0)
        let began = nanoseconds()
        for _ in 0..<messages {
            free.wait()
            let sent = nanoseconds()
            let message = BusMessage(stream: .partials, subject: subject, bytes: payload)
            bus.publish(message, expecting: .none) { [self] result in
                let took = nanoseconds() - sent
                if case .failure = result { failed.withLock { $0 += 1 } }
                latencies.withLock { $0.append(took) }
                free.signal()
            }
        }
        for _ in 0..<window { free.wait() }
        let seconds = Double(nanoseconds() - began) / 1e9
        let sorted = latencies.withLock { $0 }.sorted()
        func percentile(_ share: Double) -> Double {
            Double(sorted[Int(Double(sorted.count - 1) * share)] / 10_000) / 100
        }
        let rate = Int(Double(messages) / seconds)
        let megabytes = Int(Double(messages * bytes) / seconds / 1e6)
        print(
            "{\"messages_per_s\":\(rate),\"mb_per_s\":\(megabytes),\"bytes\":\(bytes),\"window\":\(window),"
                + "\"p50_ms\":\(percentile(0.5)),\"p99_ms\":\(percentile(0.99)),"
                + "\"failed\":\(failed.withLock { $0 })}")
    }

    private func nanoseconds() -> Int64 { Int64(DispatchTime.now().uptimeNanoseconds) }
}
