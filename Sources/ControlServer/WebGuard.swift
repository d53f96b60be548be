import ControlAPI
import NIOHTTP1

/// Keeps web pages of others away from the web listener.
///
/// A page in somebody's browser can send requests to 127.0.0.1, and by DNS rebinding even read the answers: the first
/// kind carries an `Origin`, the second a `Host` that is not ours. Both are refused.
struct WebGuard: Sendable {
    /// Host names without ports, in lower case.
    var hosts: Set<String>

    func refusal(of request: ControlRequest) -> ControlError? {
        guard !request.headers.contains(name: "origin") else {
            return ControlError(
                .notPermitted, "Requests from web pages are refused.", hint: "Send no Origin header.")
        }
        // A second Host header is an attempt to be understood in two ways.
        let names = request.headers["host"]
        guard names.count == 1, hosts.contains(Self.host(names[0])) else {
            return ControlError(
                .notPermitted, "The host \"\(names.first ?? "")\" is not a name of this server.",
                hint: "Use the address it listens on, or add the name to `hosts` in the configuration.")
        }
        return nil
    }

    /// The name in `name:port`, `[v6]:port` or `name`, in lower case and without a final dot.
    static func host(_ authority: String) -> String {
        var name = authority.lowercased()
        if name.first == "[", let end = name.firstIndex(of: "]") {
            let rest = name[name.index(after: end)...]
            return rest.isEmpty || isPort(rest) ? String(name[...end]) : ""
        }
        if let colon = name.firstIndex(of: ":") {
            guard isPort(name[colon...]) else { return "" }
            name = String(name[..<colon])
        }
        if name.last == "." { name.removeLast() }
        return name
    }

    private static func isPort(_ text: Substring) -> Bool {
        text.first == ":" && text.dropFirst().allSatisfy { $0.isASCII && $0.isNumber } && text.count <= 6
    }
}
