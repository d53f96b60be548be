import Dispatch
import QueueIsolation

#if canImport(Glibc)
    import Glibc
#endif

/// Where a `file` or `stdout` endpoint writes, and how.
enum LineTarget: Sendable, Hashable {
    case stdout
    case file(path: String, sync: Bool = false, rotation: Rotation? = nil)

    /// A file that is larger than so many bytes becomes `PATH.1`, and so on.
    struct Rotation: Sendable, Hashable {
        var bytes: Int64
        /// Older files that are kept.
        var files: Int
    }
}

extension EndpointConfiguration {
    var target: LineTarget {
        if kind == .stdout { return .stdout }
        let rotation = rotateBytes.map { LineTarget.Rotation(bytes: $0, files: rotateFiles) }
        return .file(path: path, sync: fsync, rotation: rotation)
    }
}

/// Appends lines to files, each once; on a queue with a thread of its own, because writing may block.
///
/// A line goes out with one `write`, and what is left of a line that did not fit is cut off again, so that a file ends
/// with a whole line at all times except in the middle of a crash. When a file is opened, a torn last line is cut off
/// and the lines before it are read: a part that was written but not yet accounted for when the process died is
/// recognised by its id and its bytes (`LineMemory`), and not written again.
actor FileAppender {
    /// Named limits.
    enum Limits {
        /// How much of the end of a file is searched for lines. A line has 16 MiB at most.
        static let tailBytes = 32 * 1_024 * 1_024
        static let rememberedLines = 4_096
        static let tokenBytes = 65_536
    }

    nonisolated let executor = QueueExecutor(label: "colossus.reporter.files", target: nil)
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let folders: [String]
    private let credentialsFolder: String?
    private var files: [String: OpenFile] = [:]
    private var standardOutput = StandardOutput()

    struct OpenFile {
        var descriptor: Int32
        var device: dev_t
        var inode: ino_t
        /// The last lines that were there when it was opened first, newest last.
        let found: [WrittenLine]
        /// By the name of the lane that writes.
        var lanes: [String: LineMemory] = [:]
        /// Its name survives the power, too.
        var isNameKept = false
    }

    struct Problem: Error {
        var text: String
    }

    /// - Parameter folders: files may be inside of these and nowhere else.
    init(folders: [String], credentialsFolder: String? = nil) {
        self.folders = folders
        self.credentialsFolder = credentialsFolder
    }

    /// Writes a line unless it is there already, because the lane has sent it before. Must run on the queue.
    func append(_ line: [UInt8], id: String, from lane: String, to target: LineTarget) -> AttemptOutcome {
        guard case .file(let path, let sync, let rotation) = target else {
            return standardOutput.write(line, id: id, from: lane)
        }
        let written = WrittenLine(id: id, line[...])
        do throws(Problem) {
            let path = try resolve(path)
            try openIfNeeded(path)
            if sync { try keepName(path) }
            if files[path]?.isRepeat(written, from: lane) == true { return .written }
            if let rotation { try rotate(path, rotation, adding: line.count) }
            if sync { try keepName(path) }
            guard let file = files[path] else { throw Problem(text: "\(path) is not open") }
            try write(line, to: file.descriptor, path: path, sync: sync)
            files[path]?.lanes[lane]?.wrote(written)
            return .written
        } catch {
            return .failed(.file, reason: error.text)
        }
    }

    /// Opens the file as for writing, and writes nothing.
    func check(_ target: LineTarget) -> AttemptOutcome {
        guard case .file(let path, _, _) = target else { return .written }
        do throws(Problem) {
            try openIfNeeded(try resolve(path))
            return .written
        } catch {
            return .failed(.file, reason: error.text)
        }
    }

    /// Forgets a lane that is gone, and closes its file unless another one writes there.
    func close(_ target: LineTarget, of lane: String) {
        guard case .file(let name, _, _) = target else {
            // Another replay begins anew; an endpoint that was changed goes on where it was.
            if lane.hasSuffix(Reporter.replayMark) { standardOutput.forget(lane) }
            return
        }
        guard let path = try? resolve(name) else { return }
        files[path]?.lanes[lane] = nil
        guard let file = files[path], file.lanes.isEmpty else { return }
        files[path] = nil
        _ = Glibc.close(file.descriptor)
    }

    func closeAll() {
        for file in files.values { _ = Glibc.close(file.descriptor) }
        files = [:]
    }

    /// All secrets of an endpoint.
    func secrets(_ places: EndpointSecrets, _ kind: EndpointKind) -> Result<Secrets, Problem> {
        do throws(Problem) {
            return .success(
                try Secrets(places, kind: kind) { path throws(Problem) in try secret(path) })
        } catch {
            return .failure(error)
        }
    }

    /// The one line of a small file.
    private func secret(_ place: String) throws(Problem) -> String {
        guard let path = CredentialPath.resolve(place, in: credentialsFolder) else {
            throw Problem(
                text: "there is no \(place): systemd passed no credentials; see LoadCredential= of the unit")
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.problem("cannot read \(place)") }
        defer { _ = Glibc.close(descriptor) }
        guard let bytes = Self.read(descriptor, from: 0, count: Limits.tokenBytes) else {
            throw Self.problem("cannot read \(place)")
        }
        let text = bytes.drop { Self.isBlank($0) }.reversed().drop { Self.isBlank($0) }.reversed()
        guard !text.isEmpty, text.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else {
            throw Problem(text: "\(place) holds no secret: one line of printable characters is expected")
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x0A || byte == 0x0D || byte == 0x20 }
}

// MARK: Rotation

extension FileAppender {
    /// Makes room for a line: the file gets the number 1, older ones the next. What it remembers of lines goes on.
    private func rotate(_ path: String, _ rotation: LineTarget.Rotation, adding bytes: Int) throws(Problem) {
        guard let file = files[path] else { return }
        let size = Int64(lseek(file.descriptor, 0, SEEK_END))
        guard size > 0, size + Int64(bytes) > rotation.bytes else { return }
        if rotation.files == 0 {
            guard unlink(path) == 0 else { throw Self.problem("cannot remove \(path)") }
        } else {
            _ = unlink("\(path).\(rotation.files)")
            for number in stride(from: rotation.files - 1, to: 0, by: -1) {
                _ = rename("\(path).\(number)", "\(path).\(number + 1)")
            }
            guard rename(path, path + ".1") == 0 else { throw Self.problem("cannot rename \(path)") }
        }
        try openIfNeeded(path)
    }

    /// The end of the file that was rotated last: the process may have died before anything came into the new one.
    private static func linesBefore(_ path: String) -> [WrittenLine] {
        let descriptor = open(path + ".1", O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return [] }
        defer { _ = Glibc.close(descriptor) }
        let size = Int(lseek(descriptor, 0, SEEK_END))
        let start = max(0, size - Limits.tailBytes)
        guard let tail = read(descriptor, from: start, count: max(0, size - start)) else { return [] }
        return lines(in: tail[...])
    }
}

// MARK: Opening

extension FileAppender {
    /// The real path, with all links followed except in the last component.
    private func resolve(_ path: String) throws(Problem) -> String {
        guard let first = folders.first else {
            throw Problem(text: "no folder is allowed for file endpoints")
        }
        let whole = path.hasPrefix("/") ? path : first + "/" + path
        guard let slash = whole.lastIndex(of: "/") else { throw Problem(text: "\(path) has no folder") }
        let name = whole[whole.index(after: slash)...]
        guard !name.isEmpty, name != ".", name != ".." else { throw Problem(text: "\(path) names no file") }
        let parent = slash == whole.startIndex ? "/" : String(whole[..<slash])
        guard let folder = Self.realPath(parent) else { throw Self.problem("no such folder: \(parent)") }
        let isAllowed = folders.contains { allowed in
            guard let real = Self.realPath(allowed) else { return false }
            return folder == real || folder.hasPrefix(real == "/" ? "/" : real + "/")
        }
        guard isAllowed else {
            throw Problem(
                text:
                    "\(path) is outside of the folders for file endpoints: \(folders.joined(separator: ", "))"
            )
        }
        return (folder == "/" ? "" : folder) + "/" + name
    }

    private func openIfNeeded(_ path: String) throws(Problem) {
        var now = stat()
        if let file = files[path] {
            // Moved away by a log rotation, or deleted: a new file then.
            if lstat(path, &now) == 0, now.st_dev == file.device, now.st_ino == file.inode { return }
            _ = Glibc.close(file.descriptor)
            files[path]?.descriptor = -1
        }
        let descriptor = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o640)
        guard descriptor >= 0 else {
            let problem = Self.problem("cannot open \(path)")
            files[path] = nil
            throw problem
        }
        do throws(Problem) {
            guard fstat(descriptor, &now) == 0, now.st_mode & S_IFMT == S_IFREG else {
                throw Problem(text: "\(path) is no regular file")
            }
            let found = try Self.recover(descriptor, size: Int(now.st_size), path: path)
            let old = files[path]
            files[path] = OpenFile(
                descriptor: descriptor, device: now.st_dev, inode: now.st_ino,
                // What went into the file before it was moved away counts.
                found: old?.found
                    ?? Array((Self.linesBefore(path) + found).suffix(Limits.rememberedLines)),
                lanes: old?.lanes ?? [:]
            )
        } catch {
            _ = Glibc.close(descriptor)
            files[path] = nil
            throw error
        }
    }

    /// Cuts a torn last line off and reads the lines before it.
    private static func recover(
        _ descriptor: Int32, size: Int, path: String
    ) throws(Problem) -> [WrittenLine] {
        let start = max(0, size - Limits.tailBytes)
        guard let tail = read(descriptor, from: start, count: size - start) else {
            throw problem("cannot read \(path)")
        }
        let newline = UInt8(ascii: "\n")
        let whole = tail.lastIndex(of: newline).map { $0 + 1 } ?? 0
        let torn = tail[whole...]
        if !torn.isEmpty {
            // Never cut what somebody else wrote: only the beginning of one of our own lines.
            let prefix = Array(SummaryGrid.idPrefix.utf8)
            let isOurs = torn.starts(with: prefix) || prefix.starts(with: torn)
            guard isOurs, whole > 0 || start == 0 else {
                throw Problem(
                    text: "\(path) ends with something that colossusd did not write; move the file away")
            }
            guard ftruncate(descriptor, off_t(start + whole)) == 0 else {
                throw problem("cannot cut the torn last line off \(path)")
            }
        }
        return lines(in: tail[..<whole])
    }

    private static func lines(in bytes: ArraySlice<UInt8>) -> [WrittenLine] {
        let prefix = Array(SummaryGrid.idPrefix.utf8)
        var found: [WrittenLine] = []
        // The first line may be half outside of the tail; it is then too old to matter.
        let lines = bytes.split(separator: UInt8(ascii: "\n")).suffix(Limits.rememberedLines)
        for line in lines where line.starts(with: prefix) {
            let rest = line.dropFirst(prefix.count)
            guard let end = rest.firstIndex(of: UInt8(ascii: "\"")) else { continue }
            found.append(WrittenLine(id: String(decoding: rest[..<end], as: UTF8.self), line))
        }
        return found
    }
}

// MARK: Writing

extension FileAppender {
    /// A new file is safe when its folder is.
    private func keepName(_ path: String) throws(Problem) {
        guard files[path]?.isNameKept == false, let slash = path.lastIndex(of: "/") else { return }
        let folder = slash == path.startIndex ? "/" : String(path[..<slash])
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.problem("cannot open \(folder)") }
        defer { _ = Glibc.close(descriptor) }
        guard fsync(descriptor) == 0 else { throw Self.problem("cannot sync \(folder)") }
        files[path]?.isNameKept = true
    }

    private func write(_ line: [UInt8], to descriptor: Int32, path: String, sync: Bool) throws(Problem) {
        let before = lseek(descriptor, 0, SEEK_END)
        guard before >= 0 else { throw Self.problem("cannot write to \(path)") }
        guard Self.writeAll(line, to: descriptor), !sync || fdatasync(descriptor) == 0 else {
            let problem = Self.problem("cannot write to \(path)")
            // Neither half of a line nor one that was reported as failed may stay: the next attempt writes it again.
            _ = ftruncate(descriptor, before)
            throw problem
        }
    }

    private static func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            if count <= 0 { return false }
            written += count
        }
        return true
    }

    private static func read(_ descriptor: Int32, from start: Int, count: Int) -> [UInt8]? {
        var total = 0
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            while total < count {
                let got = pread(
                    descriptor, buffer.baseAddress.map { $0 + total }, count - total, off_t(start + total)
                )
                if got < 0, errno == EINTR { continue }
                if got < 0 { failed = true }
                if got <= 0 { break }
                total += got
            }
            initialized = total
        }
        return failed ? nil : bytes
    }

    private static func realPath(_ path: String) -> String? {
        guard let real = realpath(path, nil) else { return nil }
        defer { free(real) }
        return String(cString: real)
    }

    private static func problem(_ what: String) -> Problem {
        Problem(text: what + ": " + String(cString: strerror(errno)))
    }
}

extension FileAppender.OpenFile {
    fileprivate mutating func isRepeat(_ line: WrittenLine, from lane: String) -> Bool {
        let isReplay = lane.hasSuffix(Reporter.replayMark)
        return lanes[lane, default: LineMemory(isReplay: isReplay)].isRepeat(line, of: found)
    }
}
