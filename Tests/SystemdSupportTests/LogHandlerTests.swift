import Foundation
import Logging
import Synchronization
import Testing

@testable import SystemdSupport

final class Lines: Sendable {
    private let stored = Mutex<[String]>([])
    func add(_ line: String) { stored.withLock { $0.append(line) } }
    var all: [String] { stored.withLock { $0 } }
}

@Suite("StderrLogHandler")
struct StderrLogHandlerTests {
    @Test("a line has the time, the level, the message and the sorted metadata")
    func line() {
        let lines = Lines()
        var logger = Logger(label: "t") { _ in
            StderrLogHandler(threshold: LogThreshold(.info), nowSeconds: { 1_795_341_600 }, write: lines.add)
        }
        logger[metadataKey: "run"] = "colossus"
        logger.info("two words", metadata: ["b_key": "x y", "a_key": "3", "quote": "say \"hi\""])
        logger.debug("not shown")
        // date -u -d @1795341600 +%FT%TZ
        #expect(
            lines.all == [
                "2026-11-22T10:00:00Z info two words a_key=3 b_key=\"x y\" quote=\"say \\\"hi\\\"\" run=colossus\n"
            ])
    }

    @Test("text of others cannot fake a line or drive a terminal")
    func control() {
        let lines = Lines()
        let logger = Logger(label: "t") { _ in
            StderrLogHandler(threshold: LogThreshold(.info), nowSeconds: { 0 }, write: lines.add)
        }
        logger.warning("a\nb", metadata: ["k": "\u{1B}[2J\r"])
        #expect(lines.all == ["1970-01-01T00:00:00Z warning a\\nb k=\\u{1b}[2J\\r\n"])
    }

    @Test("a reload changes the level of loggers that exist")
    func threshold() {
        let lines = Lines()
        let threshold = LogThreshold(.info)
        let logger = Logger(label: "t") { _ in
            StderrLogHandler(threshold: threshold, nowSeconds: { 0 }, write: lines.add)
        }
        threshold.level = .debug
        logger.debug("shown")
        #expect(lines.all.count == 1)
    }
}

@Suite("JournalLogHandler")
struct JournalLogHandlerTests {
    func entries(_ result: Int32 = 0, _ body: (Logger) -> Void) -> (
        entries: [[String: String]], fallback: [String]
    ) {
        let sent = Mutex<[[String: String]]>([])
        let fallback = Lines()
        let handler = JournalLogHandler(
            label: "store", threshold: LogThreshold(.trace),
            send: { fields in
                let pairs = fields.map {
                    String(decoding: $0, as: UTF8.self).split(separator: "=", maxSplits: 1)
                }
                sent.withLock {
                    $0.append(
                        Dictionary(
                            uniqueKeysWithValues: pairs.map {
                                (String($0[0]), String($0.dropFirst().first ?? ""))
                            }))
                }
                return result
            }, fallback: fallback.add)
        body(Logger(label: "store") { _ in handler })
        return (sent.withLock { $0 }, fallback.all)
    }

    @Test("metadata become COLOSSUS_ fields, and a known event gets its MESSAGE_ID")
    func fields() throws {
        let (all, _) = entries { logger in
            logger.warning(
                "endpoint is down",
                metadata: ["event": "endpoint_down", "endpoint": "vm", "http.status": "500"])
            logger.info("plain", metadata: ["event": "nothing_known"])
            logger.notice("by id", metadata: ["message_id": "0123"])
            logger.error("ready", metadata: JournalMessage.ready.metadata(["seconds": "1"]))
        }
        let first = try #require(all.first)
        #expect(first["MESSAGE"] == "endpoint is down endpoint=vm event=endpoint_down http.status=500")
        #expect(first["PRIORITY"] == "4")
        #expect(first["COLOSSUS_ENDPOINT"] == "vm")
        #expect(first["COLOSSUS_HTTP_STATUS"] == "500")
        #expect(first["COLOSSUS_LOGGER"] == "store")
        #expect(first["MESSAGE_ID"] == "a373b7cd14134b4ca7aea5c93feedc0b")
        #expect(first["CODE_FILE"]?.hasSuffix("LogHandlerTests.swift") == true)
        #expect(first["CODE_LINE"].flatMap { Int($0) } ?? 0 > 0)
        #expect(first["SYSLOG_IDENTIFIER"] == "colossusd")
        #expect(all.map { $0["MESSAGE_ID"] } == [first["MESSAGE_ID"], nil, "0123", JournalMessage.ready.id])
        #expect(all.map { $0["PRIORITY"] } == ["4", "6", "5", "3"])
    }

    @Test("a journal that is not there costs nothing but the fields")
    func fallback() {
        let (_, lines) = entries(-2) { $0.critical("on fire\n", metadata: ["rack": "r1"]) }
        #expect(lines == ["<2>on fire\\n rack=r1\n"])
    }

    @Test("field names are what the journal takes, and values are bounded")
    func bounds() throws {
        #expect(JournalLogHandler.name("a-b.cß") == "COLOSSUS_A_B_CSS")
        #expect(JournalLogHandler.name(String(repeating: "x", count: 200)).utf8.count == 64)
        let (all, _) = entries {
            $0.info("m", metadata: ["big": "\(String(repeating: "y", count: 100_000))"])
        }
        #expect(try #require(all.first?["COLOSSUS_BIG"]).utf8.count == JournalLogHandler.fieldBytesMax)
    }

    @Test("JOURNAL_STREAM is believed only when it names the very descriptor")
    func stream() {
        var about = stat()
        fstat(STDERR_FILENO, &about)
        #expect(ServiceLogging.isJournal("\(about.st_dev):\(about.st_ino)", descriptor: STDERR_FILENO))
        #expect(!ServiceLogging.isJournal("\(about.st_dev):\(about.st_ino + 1)", descriptor: STDERR_FILENO))
        for text in ["", ":", "1", "x:y", "1:2:3"] {
            #expect(!ServiceLogging.isJournal(text, descriptor: STDERR_FILENO))
        }
    }
}

@Suite("JournalMessage")
struct JournalMessageTests {
    @Test("the catalog explains every message, under its identity")
    func catalog() throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(
            contentsOf: folder.appendingPathComponent("Deploy/systemd/colossusd.catalog"), encoding: .utf8)
        let lines = text.split(separator: "\n").map(String.init)
        var found: [String: String] = [:]
        for (comment, line) in zip(lines, lines.dropFirst()) where line.hasPrefix("-- ") {
            found[String(comment.dropFirst(2))] = String(line.dropFirst(3))
        }
        let expected = Dictionary(uniqueKeysWithValues: JournalMessage.allCases.map { ($0.rawValue, $0.id) })
        #expect(found == expected)
        #expect(Set(expected.values).count == JournalMessage.allCases.count)
        #expect(expected.values.allSatisfy { $0.count == 32 && $0.allSatisfy(\.isHexDigit) })
        #expect(lines.filter { $0.hasPrefix("Subject: ") }.count == JournalMessage.allCases.count)
    }
}
