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
    case ingestLogReplayed = "ingest_log_replayed"
    case drained
    case startFailed = "start_failed"
    case draining
    case watchdogBack = "watchdog_back"
    case heldBack = "held_back"
    case simulationStarted = "simulation_started"
    case simulationEnded = "simulation_ended"
    case simulationFailed = "simulation_failed"
    case socketElsewhere = "socket_elsewhere"
    case logLevel = "log_level"
    case storeDamaged = "store_damaged"
    case endpointRefused = "endpoint_refused"
    case inventoryMoved = "inventory_moved"
    case clusterJoined = "cluster_joined"
    case clusterRefused = "cluster_refused"
    case clusterUnreachable = "cluster_unreachable"
    case clusterBack = "cluster_back"
    case clusterShare = "cluster_share"
    case clusterDrained = "cluster_drained"
    case clusterDivergence = "cluster_divergence"
    case clusterControl = "cluster_control"
    case clusterAstray = "cluster_astray"
    case clusterFull = "cluster_full"
    case clusterOver = "cluster_over"
    case maintenanceStarted = "maintenance_started"
    case maintenanceEnded = "maintenance_ended"
    case backupDone = "backup_done"
    case storeJobFailed = "store_job_failed"
    case alertFiring = "alert_firing"
    case alertResolved = "alert_resolved"
    case tlsRefused = "tls_refused"
    case certificateExpired = "certificate_expired"
    case certificateExpiring = "certificate_expiring"
    case certificateRenewed = "certificate_renewed"
    case certificateKept = "certificate_kept"
    case crlExpired = "crl_expired"
    case crlExpiring = "crl_expiring"
    case crlRenewed = "crl_renewed"
    case tokensInClear = "tokens_in_clear"

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
        case .ingestLogReplayed: "84a79f7fbcae46beb840bdfc0810196c"
        case .drained: "d96abda1ce0e45b99a0aaae3a4f6d781"
        case .startFailed: "ffaff8813c968f396b795803c0afa020"
        case .draining: "09a7f05ce9d01dfcc324b8768c61f902"
        case .watchdogBack: "09ec8d5cb78ab72ff2c241dc2a81a56b"
        case .heldBack: "d86407b1761270373ad9a35b70333c7d"
        case .simulationStarted: "d21e39550e5f13e54b83898338f3872c"
        case .simulationEnded: "be96e36a22492bdd021866b6a059b42a"
        case .simulationFailed: "2701fd0cf351ba9ce3ff27da05576d07"
        case .socketElsewhere: "0bf4355581b3bf44be9c1074a74cd714"
        case .logLevel: "e75c0a34ec34b9ac7346f742b4d7542c"
        case .storeDamaged: "bef92769888980d24196bb1f44de5b3d"
        case .endpointRefused: "b0746268cf7492ff1a6213d503dec5c0"
        case .inventoryMoved: "1e7c3285c5b942836703dcf94bdcf186"
        case .clusterJoined: "04d97720b57d4c74af637755c002e200"
        case .clusterRefused: "9e2f549c85bf411aa72afb588312ba80"
        case .clusterUnreachable: "95cfe1acb97d4ce6bbf7f94e52c50dfd"
        case .clusterBack: "1435c30f4fee4b34a43fc415035882d9"
        case .clusterShare: "50e3cfd7aeff49a7b22840b9bb2cb015"
        case .clusterDrained: "7ba27d03901c413abb41b8d8100c0922"
        case .clusterDivergence: "2bfee75aab4e4127934719a098a1b223"
        case .clusterControl: "cca75a9e2088485fb1d02dba74c25c56"
        case .clusterAstray: "a0ce967288ab4e88a0a13e5b9354fd88"
        case .clusterFull: "5c1d7f0e9b6a4e3f8d2c4b7a91e60f35"
        case .clusterOver: "e8b3a2d64f7c41958a0d6c3b2f19e774"
        case .maintenanceStarted: "5b6c09dde2544a328700ab25ac9b4bef"
        case .maintenanceEnded: "183302a24bb5422e997a9fa2e1fa8f77"
        case .backupDone: "fb6c359c28be42cbaaff91ffa30d3c37"
        case .storeJobFailed: "b9f30595a9ec4cd797183afa0d0decb8"
        case .alertFiring: "5b0f5f0c4c3b4f5f8a56d0f2b2f0c9a1"
        case .alertResolved: "c4a1d7e9302f4be2a1b7f9e05d6c8e37"
        case .tlsRefused: "70dee6a39f69434bbbbc06bc5832b488"
        case .certificateExpired: "078a7151a12644a3af74fae8a2ed42ac"
        case .certificateExpiring: "5e0c1d5a7be94b0f8d3b6a4f2c9e7d18"
        case .certificateRenewed: "f10689066e85465d9da17dd9420f4e77"
        case .certificateKept: "ca7890d57dcb4a0abc4991940d3da9c2"
        case .crlExpired: "5f87e0e508d84e63a234530dd7647087"
        case .crlExpiring: "11e85e103d7a467988c94e0c7963755b"
        case .crlRenewed: "9c0d1dd3bef44b42ac0c3ef288aad5d3"
        case .tokensInClear: "ed740c4aa95844acb8f8eeafc8b70fda"
        }
    }

    /// Metadata for a log statement, with the keys that the catalog's text refers to.
    public func metadata(_ more: Logger.Metadata = [:]) -> Logger.Metadata {
        more.merging([Self.key: .string(rawValue)]) { $1 }
    }
}
