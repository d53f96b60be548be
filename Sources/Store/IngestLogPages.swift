import Glibc

/// Keeps small what the log holds of the kernel's page cache.
///
/// The log is read after a start and never again, but each page that is written stays in memory until the kernel needs
/// it. So a busy log goes through all memory there is, and takes a page that is new for each that it writes: to give
/// one out costs the kernel much more than to fill it, in a virtual machine ten times as much, for there the host has
/// to find it first. Here the disk begins to write soon, and pages of older segments go back: those that follow take
/// them again.
///
/// All of this is advice to the kernel. What it does not take is as if it had not been given.
struct IngestLogPages {
    /// A file that is not written any more, and has pages.
    private struct Finished {
        var segment: Int64
        var file: CInt
    }

    /// Files of this size together keep their pages: a small log is read from memory after a restart.
    private static let keptBytes: Int64 = 256 << 20
    private static let keptFilesMax: Int64 = 8
    /// So much is given to the disk at once: what is under way then holds up no write for long.
    private static let stepBytesMax: Int64 = 8 << 20

    private let files: IngestLogFiles
    private let keptMax: Int
    private let stepBytes: Int64
    private var finished: [Finished] = []
    /// What the disk has begun to write of the file at hand.
    private var begun: Int64 = 0

    init(_ files: IngestLogFiles, segmentBytes: Int64) {
        self.files = files
        keptMax = Int(max(1, min(Self.keptFilesMax, Self.keptBytes / max(1, segmentBytes))))
        stepBytes = min(Self.stepBytesMax, segmentBytes)
    }

    /// The file at hand was written up to there.
    mutating func wrote(_ file: CInt, through end: Int64) {
        guard end - begun >= stepBytes else { return }
        files.release(file, begun, end - begun)
        begun = end
    }

    /// The file at hand is whole. It is closed in here, later.
    mutating func finish(_ file: CInt, segment: Int64) {
        files.release(file, begun, 0)
        begun = 0
        finished.append(Finished(segment: segment, file: file))
        guard finished.count > keptMax else { return }
        let oldest = finished.removeFirst()
        files.release(oldest.file, 0, 0)
        close(oldest.file)
    }

    /// Segments were removed: their room is free when nobody has them open.
    mutating func forget(_ segments: [Int64]) {
        for one in finished where segments.contains(one.segment) { close(one.file) }
        finished.removeAll { segments.contains($0.segment) }
    }

    mutating func closeAll() {
        for one in finished { close(one.file) }
        finished = []
        begun = 0
    }
}
