import CIngestLog
import Glibc

/// What the ingest log asks of the file system; a test puts faults in its place. Failures are `errno` values.
public struct IngestLogFiles: Sendable {
    /// Writes some of the bytes at an offset; how many, or the negative `errno`.
    public var write: @Sendable (_ file: CInt, UnsafeRawBufferPointer, _ offset: Int64) -> Int
    /// Makes sure that there is room for so many bytes; 0 or the `errno`.
    public var allocate: @Sendable (_ file: CInt, _ bytes: Int64) -> CInt
    /// Free bytes of the file system.
    public var freeBytes: @Sendable (_ path: String) -> Int64
    public var sync: @Sendable (_ file: CInt) -> CInt
    /// Has the disk begin to write these bytes.
    public var beginWriting: @Sendable (_ file: CInt, _ offset: Int64, _ bytes: Int64) -> Void
    /// Lets go of a file's memory when all of it is on the disk; what the disk did not take stays there.
    public var letGo: @Sendable (_ file: CInt) -> Void

    public static let system = IngestLogFiles(
        write: { file, bytes, offset in
            let count = pwrite(file, bytes.baseAddress, bytes.count, Int(offset))
            return count < 0 ? -Int(errno) : count
        },
        allocate: { file, bytes in
            // Without changing the size: what was not written is no torn tail. Some file systems cannot promise.
            guard cingestlog_reserve(file, Int(bytes)) != 0 else { return 0 }
            return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno
        },
        freeBytes: { path in
            var info = statvfs()
            guard statvfs(path, &info) == 0 else { return .max }
            return Int64(info.f_bavail) * Int64(info.f_frsize)
        },
        sync: { fdatasync($0) == 0 ? 0 : errno },
        beginWriting: { _ = cingestlog_begin_writing($0, $1, $2) },
        letGo: { file in
            // After a failure the kernel calls such pages clean: in memory they are what was acknowledged, on the disk not.
            guard cingestlog_write_all(file) == 0 else { return }
            _ = posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED)
        })
}

/// The segments' files: `STATE/ingest/0000000000001000.log`, named by the position at which each begins.
struct IngestLogFolder {
    let path: String

    struct Segment: Equatable {
        var start: Int64
        var count: Int64
    }

    func file(_ start: Int64) -> String {
        let digits = String(start, radix: 16)
        return path + "/" + String(repeating: "0", count: max(0, 16 - digits.count)) + digits + ".log"
    }

    var spare: String { path + "/spare" }

    var exists: Bool { access(path, F_OK) == 0 }

    /// Makes the folder when it is not there.
    func prepare() throws(StoreError) {
        guard mkdir(path, 0o750) == 0 || errno == EEXIST else {
            throw StoreError(
                .stateDirectory, "\(path) cannot be made: \(Self.reason(errno))",
                advice: "make the state directory writable for the user of the service")
        }
        unlink(spare)
    }

    /// Ascending.
    func segments() throws(StoreError) -> [Segment] {
        guard let folder = opendir(path) else {
            throw StoreError(.stateDirectory, "\(path) cannot be read: \(Self.reason(errno))")
        }
        defer { closedir(folder) }
        var segments: [Segment] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { raw in
                String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name.hasSuffix(".log"), name.utf8.count == 20,
                let start = Int64(name.dropLast(4), radix: 16)
            else { continue }
            var info = stat()
            guard stat(file(start), &info) == 0 else { continue }
            segments.append(Segment(start: start, count: Int64(info.st_size)))
        }
        return segments.sorted { $0.start < $1.start }
    }

    /// Bytes of a segment from an offset on; fewer at its end.
    func read(_ start: Int64, offset: Int64, count: Int) throws(StoreError) -> [UInt8] {
        let descriptor = open(file(start), O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw StoreError(.damaged, "\(file(start)) cannot be read: \(Self.reason(errno))")
        }
        defer { close(descriptor) }
        var failure: CInt = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = 0
            while filled < count {
                let got = pread(
                    descriptor, buffer.baseAddress.map { $0 + filled }, count - filled, Int(offset) + filled)
                if got < 0, errno == EINTR { continue }
                if got < 0 { failure = errno }
                if got <= 0 { break }
                filled += got
            }
        }
        guard failure == 0 else {
            throw StoreError(.damaged, "\(file(start)) cannot be read: \(Self.reason(failure))")
        }
        return bytes
    }

    func truncate(_ start: Int64, count: Int64) throws(StoreError) {
        guard Glibc.truncate(file(start), Int(count)) == 0 else {
            throw StoreError(.database, "\(file(start)) cannot be cut: \(Self.reason(errno))")
        }
    }

    static func reason(_ code: CInt) -> String { strerror(code).map { String(cString: $0) } ?? "\(code)" }
}
