public import Logging

/// What an operator acts on: each has a stable `MESSAGE_ID` and an explanation in `Deploy/systemd/colossusd.catalog`
/// (`journalctl -x`).
///
/// Parts of the program that do not know this type put the raw value into the metadata: `["event": "endpoint_down"]`.
public enum JournalMessage: String, CaseIterable, Sendable {
    case started
    case ready
    case reloadFailed = "reload_failed"
    case reloadDone = "reload_done"
    case endpointDown = "endpoint_down"
    case endpointBack = "endpoint_back"
    case watchdogLate = "watchdog_late"
    case storeError = "store_error"
    case senderSilent = "sender_silent"
    case ingestLogFull = "ingest_log_full"
    case ingestLogBack = "ingest_log_back"
    case drained

    /// The metadata key that names a message.
    public static let key = "event"

    /// 32 hexadecimal digits, the same for ever.
    public var id: String {
        switch self {
        case .started: "a26e8e6031274179aa6afe30650f7d58"
        case .ready: "a8ea480daeb04ede9ad6e7f4105fb146"
        case .reloadFailed: "3070008742a8439ebd6d23a2e2349cb5"
        case .reloadDone: "754fcbc5b0b440cb9675975d5acd7318"
        case .endpointDown: "a373b7cd14134b4ca7aea5c93feedc0b"
        case .endpointBack: "682753be10794a11bc0c0802641ae5fa"
        case .watchdogLate: "002d0ccb461a41e5ae9897cf4e067364"
        case .storeError: "cc94599cc4614b75a2d07409c132bd1f"
        case .senderSilent: "0ac1cbffaa9a4f49a005b53b021add08"
        case .ingestLogFull: "54d5aa6a81c84d9ea01594d12068655a"
        case .ingestLogBack: "dfcc4e207c3a46b88112ae6dc0edd952"
        case .drained: "d96abda1ce0e45b99a0aaae3a4f6d781"
        }
    }

    /// Metadata for a log statement, with the keys that the catalog's text refers to.
    public func metadata(_ more: Logger.Metadata = [:]) -> Logger.Metadata {
        more.merging([Self.key: .string(rawValue)]) { $1 }
    }
}
