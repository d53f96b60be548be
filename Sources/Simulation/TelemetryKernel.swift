import Telemetry

/// What is the same for all GPUs at one tick.
struct TickContext: Sendable {
    var timeMs: Int64
    var jobLoad: Scenario.Load
    /// Members, and slow ones, for which the others wait.
    var member: MemberTick
    var slow: MemberTick
    /// Coolant above its daily mean, °C.
    var ambient: Float
    /// What the warmth of the day takes off the clocks, 0...1.
    var slowing: Float
}

/// What is the same for all members, or for all slow ones.
struct MemberTick: Sendable {
    var heat: Float
    /// Power above idle; 1 is the mean of training.
    var power: Float
    var integral: Int64
    /// Where in a training step they are.
    var step: TrainingStep.Factors

    init(_ job: JobState, _ timing: JobTiming, at timeMs: Int64, isSlow: Bool) {
        heat = timing.heat(job, at: timeMs, isSlow: isSlow)
        power = timing.power(job, at: timeMs, isSlow: isSlow)
        integral = timing.load(job, at: timeMs, isSlow: isSlow)
        step = timing.factors(job, at: timeMs, isSlow: isSlow)
    }
}

/// What is left in one node of the state before.
struct Fading: Sendable {
    /// Of the surplus of temperature and of power, 0...1.
    var heat: Float = 0
    var power: Float = 0
    /// Integral of the surplus of power since the state began, thousandths times milliseconds.
    var integral: Int64 = 0
}

/// What sets the eight GPUs of a node apart, the same at every tick.
struct NodeSilicon: Sendable {
    /// Power at rest, and what the silicon asks for above it in training, watts.
    var idleWatts: SIMD8<Float>
    var asked: SIMD8<Float>
    /// Warmer than others by so much in training, °C.
    var spread: SIMD8<Float>
    /// What decides how much memory it uses, and which counters grow how fast.
    var word: Philox.Lanes
}

/// The physics of eight GPUs, the GPUs of a node, at once.
///
/// Every value is a closed form of (seed, GPU, tick time, node state): nothing is carried from tick to tick.
struct TelemetryKernel: Sendable {
    typealias Floats = SIMD8<Float>
    typealias Lanes = Philox.Lanes

    /// The numbers of a GPU model, without its names: copying those would count references at every node.
    private struct ModelNumbers: Sendable {
        var tdpWatts: Float
        var memoryMiB: Float
        var reservedMiB: Float
        var idleClockMHz: Float
        var maxClockMHz: Float
        var memoryClockMHz: Float

        init(_ model: Scenario.GPUModel) {
            tdpWatts = model.tdpWatts
            memoryMiB = model.memoryMiB
            reservedMiB = model.reservedMiB
            idleClockMHz = model.idleClockMHz
            maxClockMHz = model.maxClockMHz
            memoryClockMHz = model.memoryClockMHz
        }
    }

    /// Rows of the output: the default fields by id, then the others.
    private enum Row {
        static let smClock = 0, memoryClock = 1, memoryTemp = 2, gpuTemp = 3, power = 4, energy = 5
        static let replays = 6, utilization = 7, memoryUtilization = 8, encoder = 9, decoder = 10, xid = 11
        static let free = 12, used = 13, reserved = 14, uncorrectable = 15, correctable = 16
        static let remapFailed = 17, nvlink = 18, license = 19, engine = 20, tensor = 21, dram = 22
        static let pcieSent = 23, pcieReceived = 24
        static let reasons = 25, powerViolation = 26, thermalViolation = 27, sbeVolatile = 28
        static let dbeVolatile = 29, sbeTotal = 30, dbeTotal = 31, remapPending = 32, flitErrors = 33
        static let dataErrors = 34, linkReplays = 35, linkRecoveries = 36
    }

    private static let defaultIDs: [UInt16] = [
        100, 101, 140, 150, 155, 156, 202, 203, 204, 206, 207, 230, 251, 252, 253, 393, 394, 395, 449, 526,
        1001, 1004, 1005, 1009, 1010,
    ]
    /// Violations, ECC, row remapping and NVLink errors: what dcgm-exporter sends when they are switched on.
    private static let otherIDs: [UInt16] = [112, 240, 241, 310, 311, 312, 313, 396, 409, 419, 429, 439]

    /// The fields in the order of the rows.
    let fields: [FieldIndex]

    private let numbers: Scenario.GPUTelemetry
    private let models: [ModelNumbers]
    private let risingWatts: Float
    /// The highest power above idle that any load asks for; 1 is the mean of training.
    private let peak: Float
    private let hasAllFields: Bool

    init(_ scenario: Scenario) {
        precondition(
            FieldCatalog.defaults.map(\.field.id) == Self.defaultIDs,
            "the default fields are not what they were")
        numbers = scenario.telemetry
        models = scenario.gpuModels.map { ModelNumbers($0) }
        risingWatts = scenario.telemetry.trainingWatts - scenario.telemetry.idleWatts
        let loads = [numbers.idle, numbers.burnIn, numbers.checkpointing, numbers.hung, numbers.restarting]
        let training = Float(numbers.training.powerPermille) * TrainingStep(seconds: numbers.stepSeconds).peak
        peak = max(loads.map { Float($0.powerPermille) }.max() ?? 0, training) / 1_000
        hasAllFields = numbers.fields == .all
        fields =
            FieldCatalog.defaults
            + (hasAllFields ? Self.otherIDs.compactMap { FieldCatalog.find(id: $0) } : [])
    }

    /// The draws of a node that never change.
    func silicon(gpu: UInt32, philox: Philox) -> NodeSilicon {
        let draw = philox.draw8(.silicon, first: gpu, counter: 0)
        return NodeSilicon(
            idleWatts: LaneMath.noise(draw.0) * numbers.idleSpreadWatts + numbers.idleWatts,
            asked: (LaneMath.noise(draw.1) * 0.015 + 1) * risingWatts,
            spread: LaneMath.noise(draw.2) * (0.4 * numbers.spreadCelsius), word: draw.3)
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
        _ state: NodeState, silicon: NodeSilicon, model: Int, gpu: UInt32, fading: Fading, tick: TickContext,
        philox: Philox, column: Int, into raw: inout MutableRawSpan
    ) {
        let model = models[model]
        let load = load(state.status, tick)
        let isMember = state.status == .training
        let member = state.isSlow ? tick.slow : tick.member
        let step = isMember ? member.step : .mean
        let pace: Float = 1 - tick.slowing
        let noise = philox.draw8(.tick, first: gpu, counter: tick.timeMs, rounds: 7)
        let n0 = LaneMath.noise(noise.0)
        let n1 = LaneMath.noise(noise.1)
        let n2 = LaneMath.noise(noise.2)
        let n3 = LaneMath.noise(noise.3)

        // Load. A busy-waiting collective (engine 1) does not flicker.
        let flicker: Float = load.engine > 0 && load.engine < 1 ? 0.01 : 0
        let engine = LaneMath.unit(n0 * flicker + load.engine)
        let tensor = LaneMath.unit((n1 * 0.03 + 1) * (load.tensor * step.tensor * pace))
        let dram = LaneMath.unit((n2 * 0.03 + 1) * (load.dram * step.dram * pace))

        // Power: what the silicon asks for, held down to where its highest load meets the limit. Noise is even around the
        // mean and ends at the limit, so that energy stays the integral of power.
        let burning: Float = state.status == .burnIn ? Float(numbers.burnIn.powerPermille) * 0.001 : 0
        let share = (isMember ? member.power : burning) + state.surge * fading.power
        let (idleWatts, asked) = (silicon.idleWatts, silicon.asked)
        let most: Floats = (Floats(repeating: model.tdpWatts - 1) - idleWatts) * (1 / max(peak, 0.001))
        let rise = LaneMath.lower(asked, most)
        let mean: Floats = rise * share + idleWatts
        let room: Floats = (Floats(repeating: model.tdpWatts) - mean) * (1 / 2.46)
        let power: Floats = n1 * LaneMath.lower(rise * (0.02 * share) + 1, room) + mean
        store(power, Row.power, column, &raw)

        // Temperatures: what the state tends to, and what is left of the state before.
        let base: Float = isMember ? member.heat : burning
        let heat = base + state.heat * fading.heat
        var warming: Floats = (silicon.spread + (numbers.trainingCelsius - numbers.idleCelsius)) * heat
        if state.hot < 8 {
            // Four degrees too hot under full load, whatever the others are.
            warming[Int(state.hot)] = (numbers.throttleCelsius + 4 - numbers.idleCelsius) * heat
        }
        let temperature: Floats = warming + n2 * 0.4 + (numbers.idleCelsius + tick.ambient)
        let above =
            numbers.memoryIdleAboveCelsius
            + (numbers.memoryTrainingAboveCelsius - numbers.memoryIdleAboveCelsius) * heat
        store(LaneMath.rounded(temperature), Row.gpuTemp, column, &raw)
        store(LaneMath.rounded(temperature + above), Row.memoryTemp, column, &raw)

        clocks(load, model, power, temperature, tick.slowing, column, &raw)
        shares(engine, tensor, dram, column, &raw)
        traffic(load, step, pace, n0, n3, column, &raw)
        memory(load, model, silicon.word, column, &raw)
        let integral = integral(state, fading, tick)
        counters(state, integral, idleWatts, rise, silicon.word, tick, column, &raw)
        guard hasAllFields else { return }
        let limited: Floats = LaneMath.unit((asked - rise) * (25 / max(risingWatts, 1)))
        violations(state, integral, load, limited, temperature, column, &raw)
        errors(state, silicon.word, tick, column, &raw)
    }

    /// SM clocks go in steps of 15 MHz: down a little near the power limit and by day, and much when it is too hot.
    @inline(__always)
    private func clocks(
        _ load: Scenario.Load, _ model: ModelNumbers, _ power: Floats, _ temperature: Floats,
        _ slowing: Float, _ column: Int, _ raw: inout MutableRawSpan
    ) {
        var clock = Floats(repeating: model.idleClockMHz)
        if load.engine > 0 {
            let zero = Floats(repeating: 0)
            let near: Floats = LaneMath.upper(power - 0.88 * model.tdpWatts, zero) * (60 / model.tdpWatts)
            let hot: Floats = LaneMath.upper(temperature - numbers.throttleCelsius, zero) * 4
            let byDay = slowing * model.maxClockMHz * (1 / 15)
            let slowed: Floats = LaneMath.rounded(near + hot + byDay) * -15 + model.maxClockMHz
            clock = LaneMath.upper(slowed, clock)
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
        store(LaneMath.rounded(engine * 100), Row.utilization, column, &raw)
        store(LaneMath.rounded(dram * 100), Row.memoryUtilization, column, &raw)
        let zero = Floats(repeating: 0)
        store(zero, Row.encoder, column, &raw)
        store(zero, Row.decoder, column, &raw)
        store(zero, Row.license, column, &raw)
    }

    @inline(__always)
    private func traffic(
        _ load: Scenario.Load, _ step: TrainingStep.Factors, _ pace: Float, _ n0: Floats, _ n3: Floats,
        _ column: Int, _ raw: inout MutableRawSpan
    ) {
        let nvlink = load.nvlinkMBps * step.nvlink * pace
        let pcie = load.pcieBps * step.pcie * pace
        store(LaneMath.rounded((n0 * 0.04 + 1) * nvlink), Row.nvlink, column, &raw)
        store(LaneMath.rounded((n3 * 0.1 + 1) * pcie), Row.pcieSent, column, &raw)
        store(LaneMath.rounded((n0 * -0.1 + 1.05) * pcie), Row.pcieReceived, column, &raw)
    }

    /// Free, used and reserved make the whole.
    @inline(__always)
    private func memory(
        _ load: Scenario.Load, _ model: ModelNumbers, _ word: Lanes, _ column: Int,
        _ raw: inout MutableRawSpan
    ) {
        let usable = model.memoryMiB - model.reservedMiB
        let used = LaneMath.rounded((LaneMath.noise(word) * 0.003 + 1) * (load.memory * usable))
        store(used, Row.used, column, &raw)
        store(Floats(repeating: usable) - used, Row.free, column, &raw)
        store(Floats(repeating: model.reservedMiB), Row.reserved, column, &raw)
    }

    /// The power above idle, in thousandths of that of training, summed over milliseconds.
    @inline(__always)
    private func integral(_ state: NodeState, _ fading: Fading, _ tick: TickContext) -> Int64 {
        let own = state.load + fading.integral
        let elapsed = tick.timeMs - state.sinceMs
        switch state.status {
        case .training: return own + (state.isSlow ? tick.slow.integral : tick.member.integral)
        case .burnIn: return own + elapsed * Int64(numbers.burnIn.powerPermille)
        default: return own
        }
    }

    /// What only grows: sums of the node's history, each at the GPU's own rate.
    @inline(__always)
    private func counters(
        _ state: NodeState, _ integral: Int64, _ idleWatts: Floats, _ rise: Floats, _ word: Lanes,
        _ tick: TickContext, _ column: Int, _ raw: inout MutableRawSpan
    ) {
        let upMs = state.upMs + tick.timeMs - state.sinceMs
        // Watts times milliseconds are millijoules. Both sums never fall, and rounding down keeps it so.
        let energy: SIMD8<Double> =
            SIMD8<Double>(idleWatts) * Double(upMs) + SIMD8<Double>(rise) * (Double(integral) * 0.001)
        store(LaneMath.whole(energy), Row.energy, column, &raw)

        let days = Float(upMs) * (1 / 86_400_000)
        store(
            LaneMath.events(LaneMath.low(word), numbers.flakyLinkShare, numbers.replaysPerDay * days),
            Row.replays, column, &raw)
        store(
            LaneMath.events(
                LaneMath.high(word), numbers.remapShare, numbers.remapsPerYear * days * (1 / 365)),
            Row.correctable, column, &raw)
        let xids = Floats(SIMD8<UInt32>(truncatingIfNeeded: state.xids))
        store(xids, Row.xid, column, &raw)
        store(Floats(SIMD8<UInt32>(truncatingIfNeeded: state.remaps)), Row.uncorrectable, column, &raw)
        let failed = Floats(repeating: 0).replacing(with: 1, where: xids .== Float(XIDClass.remapFailure))
        store(failed, Row.remapFailed, column, &raw)
    }

    /// Time of throttling, nanoseconds, and why the clocks are where they are (DCGM_CLOCKS_EVENT_REASON_*).
    @inline(__always)
    private func violations(
        _ state: NodeState, _ integral: Int64, _ load: Scenario.Load, _ limited: Floats,
        _ temperature: Floats, _ column: Int, _ raw: inout MutableRawSpan
    ) {
        // A GPU whose silicon asks for more than the limit is held back in proportion, whenever it is under load. The
        // integral is in thousandths of milliseconds: a microsecond at full load.
        let busy = Double(max(0, integral))
        store(
            LaneMath.whole(SIMD8<Double>(limited) * (busy * 1_000)), Row.powerViolation, column, &raw)
        var hot = SIMD8<Double>(state.hotMs) * 1e6
        if state.hot < 8 { hot[Int(state.hot)] += Double(max(0, integral - state.hotLoad)) * 1_000 }
        store(hot, Row.thermalViolation, column, &raw)

        var reasons = Floats(repeating: load.engine > 0 ? 0 : 1)
        if load.engine > 0 {
            reasons.replace(with: 4, where: limited .> 0)
            reasons.replace(with: 32, where: temperature .> numbers.throttleCelsius)
        }
        store(reasons, Row.reasons, column, &raw)
    }

    /// Memory errors that were corrected and that were not, and errors of NVLinks.
    @inline(__always)
    private func errors(
        _ state: NodeState, _ word: Lanes, _ tick: TickContext, _ column: Int, _ raw: inout MutableRawSpan
    ) {
        let upMs = state.upMs + tick.timeMs - state.sinceMs
        // Other bits of the same draw: a multiplicative hash spreads them over the whole word.
        let mixed = word &* 0x9e37_79b1
        let (memory, link) = (LaneMath.high(mixed), LaneMath.high(mixed ^ (mixed &<< 13)))
        let perDay = numbers.sbesPerDay * (1 / 86_400_000)
        let ever = LaneMath.events(memory, numbers.sbeShare, perDay * Float(upMs))
        let before = LaneMath.events(memory, numbers.sbeShare, perDay * Float(state.loadedMs))
        store(ever, Row.sbeTotal, column, &raw)
        store(ever - before, Row.sbeVolatile, column, &raw)
        let fresh = Floats(SIMD8<UInt32>(truncatingIfNeeded: state.fresh))
        store(fresh, Row.dbeVolatile, column, &raw)
        store(Floats(SIMD8<UInt32>(truncatingIfNeeded: state.remaps)), Row.dbeTotal, column, &raw)
        // Remapped rows are in use after the next reset.
        store(LaneMath.lower(fresh, Floats(repeating: 1)), Row.remapPending, column, &raw)

        let days = Float(upMs) * (1 / 86_400_000)
        let noisy = LaneMath.events(link, numbers.noisyLinkShare, numbers.linkErrorsPerDay * days)
        let failures = Floats(SIMD8<UInt32>(truncatingIfNeeded: state.links))
        store(noisy + failures * 1_000, Row.flitErrors, column, &raw)
        store(failures * 16, Row.dataErrors, column, &raw)
        store(LaneMath.rounded(noisy * 0.25 - 0.25) + failures * 100, Row.linkReplays, column, &raw)
        store(failures, Row.linkRecoveries, column, &raw)
    }

    @inline(__always)
    private func store(_ values: Floats, _ row: Int, _ column: Int, _ raw: inout MutableRawSpan) {
        store(SIMD8<Double>(values), row, column, &raw)
    }

    @inline(__always)
    private func store(_ values: SIMD8<Double>, _ row: Int, _ column: Int, _ raw: inout MutableRawSpan) {
        raw.storeBytes(of: values, toByteOffset: (row * 64 + column) * 8, as: SIMD8<Double>.self)
    }
}
