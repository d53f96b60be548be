import Glibc

/// The paths that the daemon was started with.
struct DaemonPlaces: Sendable {
    var config: String
    var stateDirectory: String
    var runtimeDirectory: String
    /// What systemd listens on for us.
    var passed = PassedListeners([])

    var controlSocket: String { runtimeDirectory + "/control.sock" }

    /// Makes the two directories when their parent is there; systemd has made them already.
    ///
    /// - Throws: a sentence that says which could not be made, and why.
    func prepare() throws(StartError) {
        for path in [stateDirectory, runtimeDirectory] {
            if mkdir(path, 0o750) == 0 || errno == EEXIST { continue }
            throw StartError(
                "Cannot make the directory \(path): \(String(cString: strerror(errno))).",
                hint: "Make it, or name others with --state-dir and --runtime-dir.")
        }
    }
}

/// Why the daemon could not start, in words for whoever started it.
struct StartError: Error, CustomStringConvertible {
    var message: String
    var hint: String
    /// With which the process ends.
    var status: Int32

    init(_ message: String, hint: String = "", status: Int32 = 1) {
        self.message = message
        self.hint = hint
        self.status = status
    }

    var description: String { hint.isEmpty ? message : message + " " + hint }
}
