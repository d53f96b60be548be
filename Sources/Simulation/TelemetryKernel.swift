import Telemetry

/// What is the same for all GPUs at one tick.
struct TickContext: Sendable {
    var timeMs: Int64
    var jobLoad: Scenario.Load
    var jobHeat: Float
    var jobIntegral: Int64
    /// How this instant of the training step differs from the mean; near 1, and the same for all members.
    var step: Float
    /// Coolant above its daily mean, °C.
    var ambient: Float
}

/// The physics of eight GPUs, the GPUs of a node, at once.
///
/// Every value is a closed form of (seed, GPU, tick time, node state): nothing is carried from tick to tick.
struct TelemetryKernel: Sendable {
    typealias Floats = SIMD8<Float>
    typealias Lanes = Philox.Lanes

    /// Number of fields, all default fields in the order of `FieldCatalog.defaults`.
    static let fieldCount = 25

    /// Rows of the output.
    private enum Row {
        static let smClock = 0, memoryClock = 1, memoryTemp = 2, gpuTemp = 3, power = 4, energy = 5
        static let replays = 6, utilization = 7, memoryUtilization = 8, encoder = 9, decoder = 10, xid = 11
        static let free = 12, used = 13, reserved = 14, uncorrectable = 15, correctable = 16
        static let remapFailed = 17, nvlink = 18, license = 19, engine = 20, tensor = 21, dram = 22
        static let pcieSent = 23, pcieReceived = 24
    }

    private static let ids: [UInt16] = [
        100, 101, 140, 150, 155, 156, 202, 203, 204, 206, 207, 230, 251, 252, 253, 393, 394, 395, 449, 526,
        1001, 1004, 1005, 1009, 1010,
    ]

    private let numbers: Scenario.GPUTelemetry
    private let models: [Scenario.GPUModel]
    private let risingWatts: Float

    init(_ scenario: Scenario) {
        precondition(
            FieldCatalog.defaults.map(\.field.id) == Self.ids, "the default fields are not what they were")
        numbers = scenario.telemetry
        models = scenario.gpuModels
        risingWatts = scenario.telemetry.trainingWatts - scenario.telemetry.idleWatts
    }

    func load(_ status: NodeStatus, _ tick: TickContext) -> Scenario.Load {
        switch status {
        case .training: tick.jobLoad
        case .burnIn: numbers.burnIn
        default: numbers.idle
        }
    }

    /// Writes the values of a node's GPUs into columns `column ..< column + 8` of rows of 64.
    @inline(__always)
    func fill(
        _ state: NodeState, model: Int, gpu: UInt32, decay: Float, tick: TickContext, philox: Philox,
        column: Int, into raw: inout MutableRawSpan
    ) {
        let model = models[model]
        let load = load(state.status, tick)
        let isMember = state.status == .training
        let step: Float = isMember ? tick.step : 1
        let silicon = philox.draw8(.silicon, first: gpu, counter: 0)
        let noise = philox.draw8(.tick, first: gpu, counter: tick.timeMs)
        let n0 = Self.noise(noise.0)
        let n1 = Self.noise(noise.1)
        let n2 = Self.noise(noise.2)
        let n3 = Self.noise(noise.3)

        // Load. A busy-waiting collective (engine 1) does not flicker.
        let flicker: Float = load.engine > 0 && load.engine < 1 ? 0.01 : 0
        let engine = Self.unit(n0 * flicker + load.engine)
        let tensor = Self.unit((n1 * 0.03 + 1) * (load.tensor * step))
        let dram = Self.unit((n2 * 0.03 + 1) * (load.dram * step))

        // Power follows the tensor pipe's noise, and the step of the whole job.
        let share = Float(load.powerPermille) * 0.001 * (0.5 + 0.5 * step)
        let idleWatts: Floats = Self.noise(silicon.0) * numbers.idleSpreadWatts + numbers.idleWatts
        let rise: Floats = (Self.noise(silicon.1) * 0.015 + 1) * risingWatts
        let wanted: Floats = (n1 * 0.02 + 1) * rise * share + idleWatts + n3
        let power = Self.lower(wanted, Floats(repeating: model.tdpWatts))
        store(power, Row.power, column, &raw)

        // Temperatures: what the state tends to, and what is left of the state before.
        let base: Float = isMember ? tick.jobHeat : (state.status == .burnIn ? share : 0)
        let heat = base + state.heat * decay
        let spread: Floats = Self.noise(silicon.2) * (0.4 * numbers.spreadCelsius)
        let warming: Floats = (spread + (numbers.trainingCelsius - numbers.idleCelsius)) * heat
        let temperature: Floats = warming + n2 * 0.4 + (numbers.idleCelsius + tick.ambient)
        let above =
            numbers.memoryIdleAboveCelsius
            + (numbers.memoryTrainingAboveCelsius - numbers.memoryIdleAboveCelsius) * heat
        store(Self.rounded(temperature), Row.gpuTemp, column, &raw)
        store(Self.rounded(temperature + above), Row.memoryTemp, column, &raw)

        clocks(load, model, power, temperature, column, &raw)
        shares(engine, tensor, dram, column, &raw)
        traffic(load, step, n0, n3, column, &raw)
        memory(load, model, silicon.3, column, &raw)
        counters(state, idleWatts, rise, silicon.3, tick, column, &raw)
    }

    /// SM clocks go in steps of 15 MHz: down a little near the power limit, and much when it is too hot.
    @inline(__always)
    private func clocks(
        _ load: Scenario.Load, _ model: Scenario.GPUModel, _ power: Floats, _ temperature: Floats,
        _ column: Int, _ raw: inout MutableRawSpan
    ) {
        var clock = Floats(repeating: model.idleClockMHz)
        if load.engine > 0 {
            let zero = Floats(repeating: 0)
            let near: Floats = Self.upper(power - 0.88 * model.tdpWatts, zero) * (60 / model.tdpWatts)
            let hot: Floats = Self.upper(temperature - numbers.throttleCelsius, zero) * 4
            let slowed: Floats = Self.rounded(near + hot) * -15 + model.maxClockMHz
            clock = Self.upper(slowed, clock)
        }
        store(clock, Row.smClock, column, &raw)
        store(Floats(repeating: model.memoryClockMHz), Row.memoryClock, column, &raw)
    }

    @inline(__always)
    private func shares(
        _ engine: Floats, _ tensor: Floats, _ dram: Floats, _ column: Int, _ raw: inout MutableRawSpan
    ) {
        store(engine, Row.engine, column, &raw)
        store(tensor, Row.tensor, column, &raw)
        store(dram, Row.dram, column, &raw)
        store(Self.rounded(engine * 100), Row.utilization, column, &raw)
        store(Self.rounded(dram * 100), Row.memoryUtilization, column, &raw)
        let zero = Floats(repeating: 0)
        store(zero, Row.encoder, column, &raw)
        store(zero, Row.decoder, column, &raw)
        store(zero, Row.license, column, &raw)
    }

    @inline(__always)
    private func traffic(
        _ load: Scenario.Load, _ step: Float, _ n0: Floats, _ n3: Floats, _ column: Int,
        _ raw: inout MutableRawSpan
    ) {
        store(Self.rounded((n0 * 0.04 + 1) * (load.nvlinkMBps * step)), Row.nvlink, column, &raw)
        store(Self.rounded((n3 * 0.1 + 1) * load.pcieBps), Row.pcieSent, column, &raw)
        store(Self.rounded((n0 * -0.1 + 1.05) * load.pcieBps), Row.pcieReceived, column, &raw)
    }

    /// Free, used and reserved make the whole.
    @inline(__always)
    private func memory(
        _ load: Scenario.Load, _ model: Scenario.GPUModel, _ word: Lanes, _ column: Int,
        _ raw: inout MutableRawSpan
    ) {
        let usable = model.memoryMiB - model.reservedMiB
        let used = Self.rounded((Self.noise(word) * 0.003 + 1) * (load.memory * usable))
        store(used, Row.used, column, &raw)
        store(Floats(repeating: usable) - used, Row.free, column, &raw)
        store(Floats(repeating: model.reservedMiB), Row.reserved, column, &raw)
    }

    /// What only grows: sums of the node's history, each at the GPU's own rate.
    @inline(__always)
    private func counters(
        _ state: NodeState, _ idleWatts: Floats, _ rise: Floats, _ word: Lanes, _ tick: TickContext,
        _ column: Int, _ raw: inout MutableRawSpan
    ) {
        let elapsed = tick.timeMs - state.sinceMs
        let upMs = state.upMs + elapsed
        let integral: Int64
        switch state.status {
        case .training: integral = state.load + tick.jobIntegral
        case .burnIn: integral = state.load + elapsed * Int64(numbers.burnIn.powerPermille)
        default: integral = state.load + elapsed * Int64(numbers.idle.powerPermille)
        }
        // Watts times milliseconds are millijoules. Both sums never fall, and rounding down keeps it so.
        let energy: SIMD8<Double> =
            SIMD8<Double>(idleWatts) * Double(upMs) + SIMD8<Double>(rise) * (Double(integral) * 0.001)
        raw.storeBytes(
            of: Self.whole(energy), toByteOffset: (Row.energy * 64 + column) * 8, as: SIMD8<Double>.self)

        let days = Float(upMs) * (1 / 86_400_000)
        let low = Floats(word & 0xffff) * (1 / 65_536)
        let high = Floats(word &>> 16) * (1 / 65_536)
        store(
            Self.events(low, numbers.flakyLinkShare, numbers.replaysPerDay * days), Row.replays, column, &raw)
        store(
            Self.events(high, numbers.remapShare, numbers.remapsPerYear * days * (1 / 365)),
            Row.correctable, column, &raw)
        let xids = Floats(SIMD8<UInt32>(truncatingIfNeeded: state.xids))
        store(xids, Row.xid, column, &raw)
        store(Floats(SIMD8<UInt32>(truncatingIfNeeded: state.remaps)), Row.uncorrectable, column, &raw)
        let failed = Floats(repeating: 0).replacing(with: 1, where: xids .== Float(XIDClass.remapFailure))
        store(failed, Row.remapFailed, column, &raw)
    }

    // MARK: Arithmetic that compiles to plain vector instructions on the baseline processor

    @inline(__always)
    private func store(_ values: Floats, _ row: Int, _ column: Int, _ raw: inout MutableRawSpan) {
        raw.storeBytes(
            of: SIMD8<Double>(values), toByteOffset: (row * 64 + column) * 8, as: SIMD8<Double>.self)
    }

    /// Mean 0, standard deviation 1, within ±2.45: the sum of two 16-bit uniforms.
    @inline(__always)
    private static func noise(_ word: Lanes) -> Floats {
        (Floats((word & 0xffff) &+ (word &>> 16)) - 65_535) * (1 / 26_754.9)
    }

    /// To the nearest integer for |x| < 2^22, to some integer near by above. `.rounded()` would call the C library
    /// once a lane.
    @inline(__always)
    private static func rounded(_ x: Floats) -> Floats { (x + 12_582_912) - 12_582_912 }

    /// A share of the GPUs, told by a uniform number of each, has an ever growing number of events, at rates between
    /// 0 and the highest.
    @inline(__always)
    private static func events(_ uniform: Floats, _ share: Float, _ most: Float) -> Floats {
        guard share > 0 else { return Floats(repeating: 0) }
        let count = Self.rounded(upper(uniform * (most / share) - 0.5, Floats(repeating: 0)))
        return count.replacing(with: 0, where: uniform .>= share)
    }

    /// Rounds down, for 0 <= x < 2^51.
    @inline(__always)
    private static func whole(_ x: SIMD8<Double>) -> SIMD8<Double> {
        let near = (x + 0x1.8p52) - 0x1.8p52
        return near.replacing(with: near - 1, where: near .> x)
    }

    @inline(__always)
    private static func lower(_ a: Floats, _ b: Floats) -> Floats { a.replacing(with: b, where: b .< a) }
    @inline(__always)
    private static func upper(_ a: Floats, _ b: Floats) -> Floats { a.replacing(with: b, where: b .> a) }
    @inline(__always)
    private static func unit(_ x: Floats) -> Floats {
        lower(upper(x, Floats(repeating: 0)), Floats(repeating: 1))
    }
}
