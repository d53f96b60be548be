import Exchange
import FoundationEssentials

/// What JetStream's API takes and gives, as JSON: https://docs.nats.io/reference/reference-protocols/nats_api_reference
enum JetStream {
    struct Failure: Decodable {
        var code: Int?
        var err_code: Int?
        var description: String?

        /// What it means for whoever asked.
        var busError: BusError {
            switch err_code {
            // "wrong last sequence": another message is stored.
            case 10_071: .conflict
            // Another message for the subject is on its way; what becomes of it is open.
            case 10_164: .ambiguous
            // "maximum bytes exceeded" and "maximum messages exceeded"; "insufficient resources"; the account's limits.
            case 10_077, 10_047, 10_023, 10_002, 10_028: .full
            // No leader, no quorum, or a server that has only just started.
            case 10_008, 10_009, 10_118, 10_163, 10_158: .unavailable
            default:
                if code == 503 { .unavailable } else { .failed(text) }
            }
        }

        var text: String { "\(description ?? "refused") (JetStream error \(err_code ?? code ?? 0))" }
    }

    struct Acknowledgement: Decodable {
        var error: Failure?
        var seq: UInt64?
    }

    struct AccountInformation: Decodable {
        struct API: Decodable { var level: Int? }
        var error: Failure?
        var api: API?
    }

    struct Stored: Decodable {
        struct Message: Decodable {
            var subject: String
            var seq: UInt64
            var data: String?
            var time: String?
        }
        var error: Failure?
        var message: Message?
    }

    struct StreamConfiguration: Encodable {
        var name: String
        var subjects: [String]
        var retention = "limits"
        var storage = "file"
        var num_replicas: Int
        var max_age: Int64
        var max_bytes: Int64 = -1
        var max_msgs_per_subject: Int64 = -1
        var discard = "new"
        var duplicate_window: Int64 = 120_000_000_000
        var allow_direct = false
        // Nobody but the age limit takes finals and leases away.
        var deny_delete = true
    }

    struct Created: Decodable {
        struct Configuration: Decodable {
            var num_replicas: Int?
            var max_bytes: Int64?
            var max_age: Int64?
        }
        struct Contents: Decodable {
            var messages: UInt64?
            var bytes: Int64?
        }
        struct Cluster: Decodable {
            struct Peer: Decodable {
                var name: String
                var current: Bool?
                var lag: UInt64?
            }
            var leader: String?
            var replicas: [Peer]?
        }
        var error: Failure?
        var name: String?
        var config: Configuration?
        var state: Contents?
        var cluster: Cluster?
    }

    struct ConsumerRequest: Encodable {
        struct Configuration: Encodable {
            var deliver_policy: String
            var opt_start_seq: UInt64?
            var ack_policy = "none"
            var filter_subject: String
            var inactive_threshold: Int64 = 10_000_000_000
            var num_replicas = 1
            var mem_storage = true
        }
        var stream_name: String
        var config: Configuration
    }

    struct Pull: Encodable {
        var batch: Int
        var expires: Int64
        var idle_heartbeat: Int64
        var max_bytes: Int?
    }

    /// Up to and without `seq`.
    struct Purge: Encodable {
        var filter: String
        var seq: UInt64
    }

    struct Purged: Decodable {
        var error: Failure?
        var purged: UInt64?
    }

    struct LastBySubject: Encodable { var last_by_subj: String }

    static func encode(_ value: some Encodable) -> [UInt8] {
        // Names, numbers and booleans of our own: there is nothing that could not be written.
        (try? JSONEncoder().encode(value)).map { Array($0) } ?? []
    }

    static func decode<Value: Decodable>(_: Value.Type, _ bytes: [UInt8]) -> Result<Value, BusError> {
        do {
            return .success(try JSONDecoder().decode(Value.self, from: Data(bytes)))
        } catch {
            return .failure(.failed("the broker's answer is not what JetStream says: \(error)"))
        }
    }

    /// `2026-01-02T03:04:05.123456789Z`, in Unix milliseconds; 0 when it is none.
    static func milliseconds(_ time: String?) -> Int64 {
        guard let time, let end = time.firstIndex(where: { $0 == "." || $0 == "Z" }),
            let seconds = try? Date(time[..<end] + "Z", strategy: .iso8601)
        else { return 0 }
        let digits = time[end...].dropFirst().prefix { $0.isNumber }.prefix(3)
        let fraction = Int64(digits.padded) ?? 0
        return Int64(seconds.timeIntervalSince1970) * 1_000 + fraction
    }

    static func base64(_ text: String) -> [UInt8]? { Data(base64Encoded: text).map { Array($0) } }

    /// Where and when a delivered message is stored, from its reply subject:
    /// `$JS.ACK.STREAM.CONSUMER.DELIVERED.STREAMSEQ.CONSUMERSEQ.NANOSECONDS.PENDING`, or with a domain, an account hash
    /// before the stream and a token at the end.
    static func place(
        _ reply: String
    ) -> (streamSequence: UInt64, consumerSequence: UInt64, timestampMs: Int64)? {
        let tokens = reply.split(separator: ".")
        guard tokens.count >= 9, tokens[0] == "$JS", tokens[1] == "ACK" else { return nil }
        let first = tokens.count >= 11 ? 7 : 5
        guard let stream = UInt64(tokens[first]), let consumer = UInt64(tokens[first + 1]),
            let nanoseconds = Int64(tokens[first + 2])
        else { return nil }
        return (stream, consumer, nanoseconds / 1_000_000)
    }
}

extension Substring {
    /// With zeros behind, three letters long.
    fileprivate var padded: String { self + String(repeating: "0", count: Swift.max(0, 3 - count)) }
}
