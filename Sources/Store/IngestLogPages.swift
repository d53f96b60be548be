import Dispatch
import Glibc
import QueueIsolation
import Synchronization

/// Keeps small what the log holds of the kernel's page cache.
///
/// When what an earlier process left is repeated, the log is not read any more, but each page that is written stays in memory until
/// the kernel needs it. So a busy log goes through all memory there is, and takes a page that is new for each that it writes: to give
/// one out costs the kernel much more than to fill it, in a virtual machine ten times as much, for there the host has to find it
/// first. Here the disk begins to write soon, and pages of older segments go back: those that follow take them again.
///
/// On a queue of its own: a disk that is slow holds up nobody who writes. What it does not come to is left out.
final class IngestLogPages: Sendable {
    /// A file that is not written any more, and has pages.
    private struct Finished {
        var segment: Int64
        var file: CInt
    }

    private struct State {
        var finished: [Finished] = []
        /// What the disk was asked to write of the file at hand.
        var begun: Int64 = 0
        /// Nothing is read any more.
        var isRepeated = false
    }

    /// Files of this size together keep their pages: a small log is read from memory after a restart.
    private static let keptBytes: Int64 = 256 << 20
    private static let keptFilesMax: Int64 = 8
    /// So much is given to the disk at once.
    private static let stepBytesMax: Int64 = 8 << 20

    private let executor = QueueExecutor(label: "colossus.ingestlog.pages", target: nil)
    private let files: IngestLogFiles
    private let durability: IngestDurability
    private let keptMax: Int
    private let stepBytes: Int64
    private let isBusy = Atomic(false)
    private let state = Mutex(State())

    init(_ files: IngestLogFiles, durability: IngestDurability, segmentBytes: Int64) {
        self.files = files
        self.durability = durability
        keptMax = Int(max(1, min(Self.keptFilesMax, Self.keptBytes / max(1, segmentBytes))))
        stepBytes = max(1, min(Self.stepBytesMax, segmentBytes / 4))
    }

    /// What an earlier process left is repeated: from now on pages may go.
    func repeated() { state.withLock { $0.isRepeated = true } }

    /// The file at hand was written up to there.
    func wrote(_ file: CInt, through end: Int64) {
        // What is to survive the power is on the disk already.
        guard durability != .disk else { return }
        let step = state.withLock { state -> (offset: Int64, bytes: Int64)? in
            guard state.isRepeated else {
                state.begun = end
                return nil
            }
            guard end - state.begun >= stepBytes else { return nil }
            // Where the disk has not begun with the last step this one waits for the next.
            guard isBusy.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged else {
                return nil
            }
            defer { state.begun = end }
            return (state.begun, end - state.begun)
        }
        guard let step else { return }
        executor.queue.async { @Sendable [self] in
            files.beginWriting(file, step.offset, step.bytes)
            isBusy.store(false, ordering: .relaxed)
        }
    }

    /// The file at hand is whole. It is closed in here, later.
    func finish(_ file: CInt, segment: Int64) {
        let gone = state.withLock { state -> (file: CInt, letsGo: Bool)? in
            state.begun = 0
            guard state.isRepeated else { return (file, false) }
            state.finished.append(Finished(segment: segment, file: file))
            return state.finished.count > keptMax ? (state.finished.removeFirst().file, true) : nil
        }
        guard let gone else { return }
        if gone.letsGo {
            executor.queue.async { @Sendable [files] in
                files.letGo(gone.file)
                close(gone.file)
            }
        } else {
            closeInTurn([gone.file])
        }
    }

    /// Segments were removed: their room is free when nobody has them open.
    func forget(_ segments: [Int64]) {
        let gone = state.withLock { state in
            defer { state.finished.removeAll { segments.contains($0.segment) } }
            return state.finished.filter { segments.contains($0.segment) }.map(\.file)
        }
        closeInTurn(gone)
    }

    /// Closes a file that nothing is to be done with any more.
    func drop(_ file: CInt) {
        state.withLock { $0.begun = 0 }
        closeInTurn([file])
    }

    /// - Parameter last: the file at hand, if there is one.
    func closeAll(_ last: CInt?) {
        let gone = state.withLock { state in
            defer { (state.finished, state.begun) = ([], 0) }
            return state.finished.map(\.file)
        }
        closeInTurn(gone + (last.map { [$0] } ?? []))
        // Nobody is to find one open.
        executor.queue.sync {}
    }

    /// Behind what is still to be done with them.
    private func closeInTurn(_ files: [CInt]) {
        guard !files.isEmpty else { return }
        executor.queue.async { @Sendable in for file in files { close(file) } }
    }
}
