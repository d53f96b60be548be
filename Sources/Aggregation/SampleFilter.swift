import Telemetry

/// Which values are no measurement.
///
/// DCGM marks "no value" by sentinels at the top of a type's range, each with four reasons in the next numbers
/// (`dcgm_structs.h`: DCGM_INT32_BLANK 0x7ffffff0, DCGM_INT64_BLANK 0x7ffffffffffffff0, DCGM_FP64_BLANK 2^47). As
/// doubles the 64-bit ones are 2^63.
enum SampleFilter {
    /// Prometheus's stale marker: this one NaN.
    static let staleBits: UInt64 = 0x7ff0_0000_0000_0002
    static let int32Blank = 2_147_483_632.0...2_147_483_647.0
    static let fp64Blank = 140_737_488_355_328.0...140_737_488_355_343.0
    static let int64Blank = 9_223_372_036_854_775_808.0
    /// Magnitudes below this are measurements of any field.
    static let plainBelow = 2_147_483_632.0
    /// The same for wide fields.
    static let plainWideBelow = 140_737_488_355_328.0

    /// Units whose values pass 2^31 in health, so that the 32-bit sentinels are numbers like any other.
    private static let wideUnits: Set<String> = ["B/s", "mJ", "ns"]

    /// Indexed by `FieldIndex`.
    static let isWide: [Bool] = FieldCatalog.all.map { wideUnits.contains($0.unit) }

    /// Why a value is no measurement; `nil` for one that is.
    @inline(__always)
    static func reason(_ value: Double, isWide: Bool) -> DropReason? {
        // False for NaN.
        if value.magnitude < plainBelow { return nil }
        return unusual(value, isWide: isWide)
    }

    @inline(never)
    private static func unusual(_ value: Double, isWide: Bool) -> DropReason? {
        if value.isNaN { return value.bitPattern == staleBits ? .stale : .notANumber }
        if value.magnitude >= int64Blank || fp64Blank.contains(value) { return .blank }
        if !isWide, int32Blank.contains(value) { return .blank }
        return nil
    }
}
