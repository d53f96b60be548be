// swift-tools-version: 6.2
import PackageDescription

/// Every target is compiled under the same rules.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
    .product(name: "NIOHTTP1", package: "swift-nio"),
]

/// Optimized in a release build, or not: what only reads configuration and writes replies runs a few times a minute,
/// and the optimizer would spend a tenth of the whole build on it.
enum Speed { case optimized, quickToBuild }

func settings(_ speed: Speed) -> [SwiftSetting] {
    strict + (speed == .quickToBuild ? [.unsafeFlags(["-Onone"], .when(configuration: .release))] : [])
}

func library(
    _ name: String, _ dependencies: [Target.Dependency] = [], _ speed: Speed = .optimized
) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings(speed))
}

func program(
    _ name: String, _ dependencies: [Target.Dependency], _ speed: Speed = .optimized
) -> Target {
    .executableTarget(name: name, dependencies: dependencies, swiftSettings: settings(speed))
}

func tests(_ name: String, _ more: [Target.Dependency] = [], exclude: [String] = []) -> Target {
    .testTarget(
        name: "\(name)Tests",
        dependencies: [.byName(name: name), "TestSupport"] + (name == "Telemetry" ? [] : ["Telemetry"])
            + more,
        exclude: exclude,
        swiftSettings: strict
    )
}

let csnappy = Target.systemLibrary(
    name: "CSnappy", path: "Tests/CSnappy", providers: [.apt(["libsnappy-dev"])]
)

var targets: [Target] = [
    // The vocabulary, and the pure value code that everything else is written in.
    library("Telemetry"),
    library("Sketches"),
    library("WireFormats", ["Telemetry", "Sketches"]),

    // Sources, on the left: they make batches and know nothing of what becomes of them.
    library("Simulation", ["Telemetry", "CDraws"]),
    library("Playback", ["Telemetry", "Simulation", "QueueIsolation"]),
    library(
        "Exporters",
        ["Telemetry", "WireFormats", "Simulation", "QueueIsolation", "CCurl"] + nio),
    library("TLS", ["Telemetry", "COpenSSL", logging, nio[0]]),
    library("Receivers", ["Telemetry", "WireFormats", "TLS", "CZlib", "CZstd", logging] + nio),

    // The core: Dispatch, and nothing that does I/O.
    library("QueueIsolation"),
    library("Aggregation", ["Telemetry", "Sketches", "QueueIsolation", "CPrefetch"]),

    // Between the core and the sinks: what is wrong, seen in closings.
    library("Alerts", ["Telemetry", "QueueIsolation"]),

    // Sinks, on the right: they take summaries.
    library(
        "Store",
        ["Telemetry", "Sketches", "WireFormats", "QueueIsolation", "CIngestLog", "CZstd", grdb, logging]),
    library(
        "Reporting",
        [
            "Telemetry", "Sketches", "WireFormats", "Store", "QueueIsolation", "CCurl", "CZlib", "CZstd",
            logging,
        ]),
    library("Exchange", ["Telemetry", "Sketches", "WireFormats"]),
    library("NATSExchange", ["Telemetry", "Exchange", "CNats"]),

    // The control plane, beside the flow.
    library("Settings", ["Telemetry", "Simulation", yams], .quickToBuild),
    library("Planning", ["Telemetry", "Simulation", "Settings"]),
    library("ControlAPI", [], .quickToBuild),
    library("ControlServer", ["ControlAPI", "TLS", logging] + nio),
    library("SystemdSupport", ["CSystemd", "QueueIsolation", logging]),

    .systemLibrary(name: "CIngestLog"),
    .systemLibrary(name: "CPrefetch"),
    .systemLibrary(name: "CMalloc"),
    .systemLibrary(name: "CDraws"),
    .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
    .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
    .systemLibrary(name: "CNats", pkgConfig: "libnats", providers: [.apt(["libnats-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),

    // The three programs: wiring and nothing else.
    program(
        "colossusd",
        [
            "Telemetry", "WireFormats", "Simulation", "Playback", "Exporters", "Receivers",
            "QueueIsolation", "Aggregation", "Alerts",
            "Store", "Reporting", "Exchange", "NATSExchange", "Settings", "ControlAPI", "ControlServer",
            "SystemdSupport", "TLS", "CMalloc", arguments, logging,
        ]
    ),
    program(
        "colossusctl", ["Telemetry", "ControlAPI", "Settings", "Simulation", "Planning", arguments],
        .quickToBuild),
    program(
        "colossus-bench",
        [
            "Telemetry", "Sketches", "WireFormats", "Simulation", "Receivers", "Aggregation", "Exchange",
            "NATSExchange", "QueueIsolation", "Settings", "Store", "TLS", "COpenSSL", arguments, logging,
        ] + nio
    ),

    .target(
        name: "TestSupport", dependencies: ["Telemetry"], path: "Tests/TestSupport", swiftSettings: strict),
    csnappy,
    // One process of a cluster, for Deploy/cluster-test: workers and roll-ups that can be killed.
    .executableTarget(
        name: "exchange-node",
        dependencies: ["Telemetry", "Sketches", "Exchange", "NATSExchange", arguments],
        path: "Tests/ExchangeNode", swiftSettings: strict),
    .testTarget(name: "HouseTests", swiftSettings: strict),
    tests("Telemetry"),
    tests("Sketches"),
    tests("WireFormats", ["CSnappy"]),
    tests("Simulation", ["CDraws"]),
    tests("Playback", ["Simulation"]),
    tests("Exporters", ["Simulation", "Settings", "WireFormats"]),
    tests("TLS", nio + [logging]),
    tests("Receivers", ["WireFormats", "TLS", "CZlib", "CZstd"], exclude: ["Fixtures"]),
    tests("Aggregation", ["Sketches", "Exchange", "QueueIsolation"]),
    tests("Alerts", ["QueueIsolation"]),
    tests("Store", ["Sketches", "QueueIsolation", grdb, logging]),
    tests(
        "Reporting",
        ["Store", "Sketches", "WireFormats", "QueueIsolation", "CSnappy", "CZlib", "CZstd", logging]),
    tests("Exchange", ["Sketches"]),
    tests("NATSExchange", ["Exchange"]),
    tests("Settings", ["Simulation"]),
    tests("Planning", ["Simulation", "Settings"]),
    tests("ControlAPI"),
    tests("ControlServer", ["ControlAPI", "TLS"]),
    tests("SystemdSupport"),
    // What no part shows alone: telemetry over HTTP through the receiver into the core.
    .testTarget(
        name: "FlowTests",
        dependencies: [
            "Telemetry", "WireFormats", "Simulation", "Playback", "Receivers", "Aggregation", "Exchange",
            "Settings", "Store", "TestSupport", logging,
        ],
        swiftSettings: strict),
]

var packages: [String: Package.Dependency] = [
    "swift-argument-parser": .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    "swift-log": .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    "swift-nio": .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    "GRDB.swift": .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    "Yams": .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
]

var products: [Product] = [
    .executable(name: "colossusd", targets: ["colossusd"]),
    .executable(name: "colossusctl", targets: ["colossusctl"]),
    .executable(name: "colossus-bench", targets: ["colossus-bench"]),
]

/// `COLOSSUS_ONLY=Aggregation,Store swift test` builds and tests those targets and what they need, without the rest:
/// seconds instead of minutes, and Thread Sanitizer without NIO in the way. Needs a `--scratch-path` of its own.
if let only = Context.environment["COLOSSUS_ONLY"], !only.isEmpty {
    let wanted = Set(only.split(separator: ",").map(String.init))
    var kept = Set<String>()
    var packagesKept = Set<String>()
    func keep(_ name: String) {
        guard let target = targets.first(where: { $0.name == name }), kept.insert(name).inserted else {
            return
        }
        for dependency in target.dependencies {
            switch dependency {
            case .targetItem(let name, _), .byNameItem(let name, _): keep(name)
            case .productItem(_, let package?, _, _): packagesKept.insert(package)
            default: break
            }
        }
    }
    for name in wanted {
        keep(name)
        keep(name + "Tests")
    }
    targets = targets.filter { kept.contains($0.name) }
    packages = packages.filter { packagesKept.contains($0.key) }
    products = products.filter { kept.contains($0.name) }
}

let package = Package(
    name: "colossusd",
    products: products,
    dependencies: packages.sorted { $0.key < $1.key }.map(\.value),
    targets: targets
)
