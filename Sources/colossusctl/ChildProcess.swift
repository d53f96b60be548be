import Glibc

/// Another program, run to its end with its output collected. Standard error goes where ours goes, unless it is not wanted.
enum ChildProcess {
    struct Result {
        /// As a shell tells it: 128 and the signal for one that was killed.
        var status: Int32
        var output: [UInt8]
    }

    /// - Parameters:
    ///   - program: a path, or a name that is looked for in `PATH`.
    ///   - bytesMax: what comes beyond is read and forgotten.
    /// - Returns: `nil` when there is no such program.
    static func run(
        _ program: String, _ arguments: [String], bytesMax: Int = 64 << 20, hidesErrors: Bool = false,
        collectsErrors: Bool = false
    ) -> Result? {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { return nil }
        defer { close(ends[0]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
        posix_spawn_file_actions_addclose(&actions, ends[0])
        posix_spawn_file_actions_addclose(&actions, ends[1])
        if collectsErrors { posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO) }
        if hidesErrors {
            posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
        }
        var words: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var child: pid_t = 0
        let failure = posix_spawnp(&child, program, &actions, nil, &words, environ)
        close(ends[1])
        guard failure == 0 else { return nil }
        let output = read(ends[0], bytesMax)
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        let signal = status & 0x7F
        return Result(status: signal == 0 ? (status >> 8) & 0xFF : 128 + signal, output: output)
    }

    private static func read(_ descriptor: Int32, _ bytesMax: Int) -> [UInt8] {
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return output }
            output += chunk[..<min(count, max(0, bytesMax - output.count))]
        }
    }

    /// The `colossusd` that belongs to this program: beside it, else in `PATH`.
    static var daemon: String {
        var buffer = [CChar](repeating: 0, count: 4_096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        guard count > 0 else { return "colossusd" }
        let own = String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
        guard let slash = own.lastIndex(of: "/") else { return "colossusd" }
        let beside = own[...slash] + "colossusd"
        return access(String(beside), X_OK) == 0 ? String(beside) : "colossusd"
    }
}
