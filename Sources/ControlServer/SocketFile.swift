import ControlAPI
import Glibc

/// The control socket's place in the file system.
///
/// It is bound under another name, gets its mode, and is then moved to its place: nobody ever sees it with another mode,
/// and a socket that a killed daemon left behind is replaced.
struct SocketFile: Sendable {
    let path: String
    let mode: UInt32

    /// Where to bind; `claim` moves it.
    var temporaryPath: String {
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
        return folder + ".ctl.\(getpid() % 100_000)"
    }

    /// Throws when the path is no good or another daemon answers there.
    func check() throws(ControlError) {
        let room = MemoryLayout.size(ofValue: sockaddr_un().sun_path)
        guard max(path.utf8.count, temporaryPath.utf8.count) < room, !path.isEmpty else {
            throw ControlError(
                .badConfiguration,
                "The control socket's path \"\(path)\" is longer than \(room - 5) bytes or empty.",
                hint: "Choose a shorter runtime directory.")
        }
        guard (try? UnixSocketConnection(path: path, deadline: Deadline(after: .seconds(1)))) == nil else {
            throw ControlError(
                .conflict, "Another colossusd answers on \(path).",
                hint: "Stop it, or give this one a runtime directory of its own.")
        }
    }

    func claim() throws(ControlError) -> ClaimedSocket {
        guard chmod(temporaryPath, mode) == 0, rename(temporaryPath, path) == 0, let id = Self.identity(path)
        else {
            let reason = String(cString: strerror(errno))
            unlink(temporaryPath)
            throw ControlError(
                .failed, "The control socket cannot be put at \(path): \(reason).",
                hint: "The runtime directory must exist and be writable.")
        }
        return ClaimedSocket(path: path, device: id.device, inode: id.inode)
    }

    static func identity(_ path: String) -> (device: UInt64, inode: UInt64)? {
        var info = stat()
        guard lstat(path, &info) == 0 else { return nil }
        return (UInt64(info.st_dev), UInt64(info.st_ino))
    }
}

/// A socket file of ours.
struct ClaimedSocket: Sendable {
    let path: String
    let device: UInt64
    let inode: UInt64

    /// Removes it, unless somebody else's is in its place.
    func remove() {
        guard let now = SocketFile.identity(path), now == (device, inode) else { return }
        unlink(path)
    }
}
