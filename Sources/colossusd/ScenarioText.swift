import ControlAPI
import Foundation

/// A scenario file that the daemon itself reads (named by the configuration, or by path over the control socket).
enum ScenarioText {
    private static let bytesMax = 1 << 20

    static func read(_ path: String) throws(ControlError) -> String {
        let url = URL(filePath: path)
        guard let data = try? Data(contentsOf: url), data.count <= bytesMax,
            let text = String(data: data, encoding: .utf8)
        else {
            throw ControlError(
                .badConfiguration, "The scenario \(path) cannot be read by the daemon.",
                hint: "Check the path and its permissions, and that it is a text file below 1 MiB.")
        }
        return text
    }
}
