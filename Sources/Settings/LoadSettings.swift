import Glibc

/// Reads the configuration: `path`, and then, in the order of their names, the files `conf.d/*.yaml` beside it.
///
/// What a later file says stands; lists are replaced, but simulations and endpoints are merged by name. Everything that
/// a start would check of the configuration is checked: ranges, names, addresses, window lengths, that named files
/// are there and readable. Relative paths start from the folder of the file that says them, except the `path` of a file
/// endpoint, which starts from the state directory.
///
/// - Throws: all errors, each as `FILE:LINE:COL: what, and what was expected`.
public func loadSettings(path: String) throws(SettingsFailure) -> DaemonSettings {
    let draft = SettingsDraft()
    var errors: [SettingsError] = []
    var files = [path]
    do throws(SettingsFailure) {
        files += try SettingsFiles.drops(beside: path)
    } catch {
        errors += error.errors
    }
    for file in files {
        do throws(SettingsFailure) {
            draft.folder = SettingsFiles.folder(of: file)
            try StrictYAML.decode(file: file) { root -> Void? in
                root.read(.mapping { m -> Void? in draft.read(m) })
            }
        } catch {
            errors += error.errors
        }
    }
    if errors.isEmpty { errors = SettingsChecks.errors(draft, path) }
    guard errors.isEmpty else { throw SettingsFailure(errors) }
    return draft.settings
}

extension StrictYAML {
    /// Reads a file of one document.
    ///
    /// - Throws: also when the file cannot be read, is not UTF-8, or is larger than `fileBytesMax`.
    public static func decode<Value>(
        file: String, _ decode: (YAMLValue) -> Value?
    ) throws(SettingsFailure) -> Value {
        try Self.decode(try SettingsFiles.text(file), file: file, decode)
    }
}

/// The few things that are asked of the file system.
enum SettingsFiles {
    /// Files of one `conf.d`.
    static let dropsMax = 100

    /// The text of a regular file.
    static func text(_ path: String) throws(SettingsFailure) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw failure(path, "cannot be opened: \(reason(errno))", "a readable file")
        }
        defer { close(descriptor) }
        var about = stat()
        guard fstat(descriptor, &about) == 0, about.st_mode & S_IFMT == S_IFREG else {
            throw failure(path, "is not a file", "a readable file")
        }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while bytes.count <= StrictYAML.fileBytesMax {
            let got = read(descriptor, &chunk, chunk.count)
            guard got >= 0 else { throw failure(path, "cannot be read: \(reason(errno))", "a readable file") }
            if got == 0 { break }
            bytes += chunk[..<got]
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw failure(path, "is not UTF-8", "a text file")
        }
        return text
    }

    /// `conf.d/*.yaml` beside a file, sorted by name; none when there is no such folder.
    static func drops(beside path: String) throws(SettingsFailure) -> [String] {
        let parent = folder(of: path)
        let drops = (parent.isEmpty ? "" : parent + "/") + "conf.d"
        guard let directory = opendir(drops) else {
            if errno == ENOENT || errno == ENOTDIR { return [] }
            throw failure(drops, "cannot be opened: \(reason(errno))", "a readable folder, or none")
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasSuffix(".yaml"), !name.hasPrefix(".") { names.append(name) }
        }
        guard names.count <= dropsMax else {
            throw failure(drops, "holds \(names.count) files", "\(dropsMax) at most")
        }
        return names.sorted().map { drops + "/" + $0 }
    }

    /// The folder of a path, without a slash at its end; empty for a bare name.
    static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "" }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Why a file cannot be read, or `nil` when it can.
    static func problem(_ path: String) -> String? {
        access(path, R_OK) == 0 ? nil : reason(errno)
    }

    private static func failure(_ path: String, _ problem: String, _ expected: String) -> SettingsFailure {
        SettingsFailure([SettingsError(file: path, line: 0, column: 0, problem: problem, expected: expected)])
    }

    private static func reason(_ code: Int32) -> String { String(cString: strerror(code)) }
}
