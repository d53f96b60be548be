/// The statistics of a field in a summary, in the order in which they are reported. The raw value is what users write and
/// see.
public enum FieldStatistic: String, CaseIterable, Sendable, Hashable {
    case avg, min, max, count, sum, p50, p90, p99
}
