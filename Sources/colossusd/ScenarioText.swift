import ControlAPI
import Foundation

/// A scenario file that the daemon itself reads (named by the configuration, or by path over the control socket).
enum ScenarioText {
    private static let bytesMax = 1 << 20

    static func read(_ path: String) throws(ControlError) -> String {
        // Never more than the limit, whatever the path turns out to be.
        let file = FileHandle(forReadingAtPath: path)
        defer { try? file?.close() }
        guard let data = try? file?.read(upToCount: bytesMax + 1), data.count <= bytesMax,
            let text = String(data: data, encoding: .utf8)
        else {
            throw ControlError(
                .badConfiguration, "The scenario \(path) cannot be read by the daemon.",
                hint: "Check the path and its permissions, and that it is a text file below 1 MiB.")
        }
        return text
    }
}
