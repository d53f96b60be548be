import FoundationEssentials
import GRDB
import Glibc
import Logging
import Telemetry

/// The directory with `history.sqlite`, held by one process at a time.
struct StateDirectory: ~Copyable {
    static let fileName = "history.sqlite"

    let path: String
    private let lock: Int32

    var databasePath: String { path + "/" + Self.fileName }
    /// Written when a commit met damage, so that the next start looks at the whole file.
    var suspicionPath: String { databasePath + ".suspect" }

    init(_ path: String) throws(StoreError) {
        let lock = try Self.acquire(path)
        self.path = path
        self.lock = lock
    }

    private static func acquire(_ path: String) throws(StoreError) -> Int32 {
        var info = stat()
        guard stat(path, &info) == 0 else {
            throw StoreError(
                .stateDirectory, "the state directory \(path) cannot be used: \(Self.reason(errno))",
                advice: "create it, owned by the user of the service, or name another with --state-dir")
        }
        guard info.st_mode & S_IFMT == S_IFDIR else {
            throw StoreError(
                .stateDirectory, "\(path) is not a directory", advice: "name a directory with --state-dir")
        }
        let lockPath = path + "/history.lock"
        let lock = Glibc.open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o640)
        guard lock >= 0 else {
            throw StoreError(
                .stateDirectory, "\(lockPath) cannot be written: \(Self.reason(errno))",
                advice: "make the state directory writable for the user of the service")
        }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            close(lock)
            throw StoreError(
                .inUse, "another process uses the state directory \(path)",
                advice: "stop it, or give this one a directory of its own with --state-dir")
        }
        return lock
    }

    deinit { close(lock) }

    /// Size of the database and its log, in bytes.
    static func bytes(_ path: String) -> Int64 {
        ["", "-wal"].reduce(0) { sum, suffix in
            var info = stat()
            return stat(path + "/" + fileName + suffix, &info) == 0 ? sum + Int64(info.st_size) : sum
        }
    }

    /// Lets another process in.
    func unlock() { flock(lock, LOCK_UN) }

    /// Makes the next start look at the whole file.
    func noteSuspicion() {
        let file = Glibc.open(suspicionPath, O_WRONLY | O_CREAT | O_CLOEXEC, 0o640)
        if file >= 0 { close(file) }
    }

    /// Opens the database, brings its tables up to date, and puts a damaged file aside.
    func open(clock: WallClock, logger: Logger) throws -> DatabasePool {
        do {
            return try openChecked()
        } catch let error as DatabaseError where Self.isDamage(error) {
            let aside = try setAside(clock)
            logger.critical(
                "the history was damaged and has been put aside; a new one begins, endpoints start anew",
                metadata: [
                    "event": "store_damaged", "file": "\(databasePath)", "kept_as": "\(aside)",
                    "error": "\(error)",
                ])
            return try openChecked()
        }
    }

    static func isDamage(_ error: DatabaseError) -> Bool {
        [.SQLITE_CORRUPT, .SQLITE_NOTADB].contains(error.resultCode)
    }

    private func openChecked() throws -> DatabasePool {
        let pool: DatabasePool
        do {
            pool = try DatabasePool(path: databasePath, configuration: Self.configuration)
            try check(pool)
            try Schema.migrator.migrate(pool)
        } catch let error as DatabaseError where !Self.isDamage(error) {
            throw StoreError(
                .database, "\(databasePath) cannot be opened: \(error.message ?? "\(error.resultCode)")",
                advice: "look at the free space and at the owner of the file")
        }
        return pool
    }

    /// A look at the schema and the newest rows, so that what is unreadable shows now; at everything if the last
    /// process met damage.
    private func check(_ pool: DatabasePool) throws {
        let suspect = access(suspicionPath, F_OK) == 0
        try pool.read { db in
            if try Schema.migrator.hasBeenSuperseded(db) {
                throw StoreError(
                    .newerSchema, "\(databasePath) was written by a newer colossusd",
                    advice: "install that version again, or move the file away to begin a new history")
            }
            if try db.tableExists("windows") {
                _ = try Row.fetchAll(db, sql: "SELECT * FROM streams")
                _ = try Row.fetchOne(db, sql: "SELECT * FROM windows ORDER BY sequence DESC LIMIT 1")
            }
            if suspect, try String.fetchOne(db, sql: "PRAGMA quick_check(1)") != "ok" {
                throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "quick_check found damage")
            }
        }
        if suspect { unlink(suspicionPath) }
    }

    private func setAside(_ clock: WallClock) throws(StoreError) -> String {
        let stamp = UTC.timestamp(clock.nowMs()).filter { $0 != ":" && $0 != "-" }
        var aside = databasePath + ".damaged-" + stamp
        var copy = 1
        while access(aside, F_OK) == 0 {
            copy += 1
            aside = databasePath + ".damaged-\(stamp)-\(copy)"
        }
        for suffix in ["", "-wal", "-shm"] where access(databasePath + suffix, F_OK) == 0 {
            guard rename(databasePath + suffix, aside + suffix) == 0 else {
                throw StoreError(
                    .damaged,
                    "\(databasePath + suffix) is damaged and cannot be renamed: \(Self.reason(errno))",
                    advice: "move it away by hand")
            }
        }
        unlink(suspicionPath)
        return aside
    }

    private static var configuration: Configuration {
        var configuration = Configuration()
        configuration.label = "colossus.store"
        // Somebody may look at the file with sqlite3 while the service runs.
        configuration.busyMode = .timeout(5)
        configuration.maximumReaderCount = 4
        configuration.foreignKeysEnabled = false
        configuration.prepareDatabase { db in
            guard !db.configuration.readonly else { return }
            // The first two only act on a file that is new. WAL and synchronous=NORMAL are GRDB's defaults for pools:
            // a commit survives `kill -9` at once and a power cut after the next checkpoint.
            try db.execute(sql: "PRAGMA page_size = 8192")
            try db.execute(sql: "PRAGMA auto_vacuum = INCREMENTAL")
            try db.execute(sql: "PRAGMA wal_autocheckpoint = 4000")
            try db.execute(sql: "PRAGMA journal_size_limit = 134217728")
        }
        return configuration
    }

    private static func reason(_ code: Int32) -> String {
        strerror(code).map { String(cString: $0) } ?? "\(code)"
    }
}
