import CCurl
import Dispatch
import QueueIsolation
import Telemetry

#if canImport(Glibc)
    import Glibc
#endif

/// One `curl_multi` handle, driven by Dispatch: sockets by sources, libcurl's one timer by a timer source.
///
/// It lives on the reporter's queue, with which it shares the executor; nothing of libcurl is called anywhere else, and
/// nothing here waits. Results are delivered on the queue, from inside of libcurl's loop: receivers hop before they
/// start anything new.
actor CurlMulti {
    private let executor: QueueExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let clock: WallClock
    private let multi: UnsafeMutableRawPointer
    private let timer: DispatchSource
    private var transfers: [UnsafeMutableRawPointer: Transfer] = [:]
    private var handles: [Int: UnsafeMutableRawPointer] = [:]
    private var watches: [Int32: SocketWatch] = [:]
    private var lastID = 0
    private var isShutDown = false

    /// Connections that are kept for the next request: enough for some hundred endpoints, with several requests at a time.
    private static let connectionsMax = 1_024
    /// libcurl's global state, once in the process. The threaded (or c-ares) resolver is what keeps DNS off our queue.
    private static let hasAsynchronousResolver: Bool = {
        guard curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK,
            let version = curl_version_info(ccurl_version_now)
        else { return false }
        return version.pointee.features & CURL_VERSION_ASYNCHDNS != 0
    }()

    /// `nil` when libcurl cannot start, or would resolve names on the caller's thread.
    init?(executor: QueueExecutor, clock: WallClock) {
        guard Self.hasAsynchronousResolver, let multi = curl_multi_init(),
            let timer = DispatchSource.makeTimerSource(queue: executor.queue) as? DispatchSource
        else { return nil }
        self.executor = executor
        self.clock = clock
        self.multi = multi
        self.timer = timer
        // libcurl's callbacks need an address that stays good: kept until `shutDown`.
        let this = Unmanaged.passRetained(self).toOpaque()
        _ = ccurl_multi_setopt_pointer(multi, CURLMOPT_SOCKETDATA, this)
        _ = ccurl_multi_setopt_socket(multi, Self.socketChanged)
        _ = ccurl_multi_setopt_pointer(multi, CURLMOPT_TIMERDATA, this)
        _ = ccurl_multi_setopt_timer(multi, Self.timerChanged)
        _ = ccurl_multi_setopt_long(multi, CURLMOPT_MAXCONNECTS, Self.connectionsMax)
        timer.setEventHandler { @Sendable [weak self] in
            self?.assumeIsolated { $0.act(on: ccurl_socket_timeout, 0) }
        }
        timer.schedule(deadline: .distantFuture)
        timer.activate()
    }

    /// Sends a request. `done` is called on the queue, later, exactly once unless the transfer is cancelled.
    ///
    /// - Returns: a number for `cancel`.
    func start(_ request: HTTPRequest, done: @escaping @Sendable (HTTPResult) -> Void) -> Int {
        lastID += 1
        let this = Unmanaged.passUnretained(self).toOpaque()
        guard !isShutDown, let transfer = Transfer(id: lastID, request, multi: this, done: done),
            curl_multi_add_handle(multi, transfer.handle) == CURLM_OK
        else {
            done(HTTPResult(outcome: .failed(.transfer, reason: "libcurl took no request"), seconds: 0))
            return lastID
        }
        transfers[transfer.handle] = transfer
        handles[lastID] = transfer.handle
        return lastID
    }

    /// Forgets a request; its `done` is not called any more.
    func cancel(_ id: Int) {
        guard let handle = handles[id] else { return }
        release(handle)
    }

    /// Closes everything. What is on its way has failed; nothing can be started afterwards.
    func shutDown() {
        guard !isShutDown else { return }
        isShutDown = true
        for transfer in Array(transfers.values) {
            release(transfer.handle)
            transfer.done(HTTPResult(outcome: .failed(.transfer, reason: "the reporter stops"), seconds: 0))
        }
        timer.cancel()
        // Closes the pooled connections.
        curl_multi_cleanup(multi)
        for watch in watches.values { watch.close() }
        watches = [:]
        // The other half of `passRetained` in `init`: there are no callbacks any more.
        Unmanaged.passUnretained(self).release()
    }

    // MARK: Events

    private func act(on socket: curl_socket_t, _ events: Int32) {
        guard !isShutDown else { return }
        var running: Int32 = 0
        curl_multi_socket_action(multi, socket, events, &running)
        deliver()
    }

    private func ready(_ socket: Int32, isReading: Bool) {
        // The event may have been on its way when the socket was closed.
        guard watches[socket] != nil else { return }
        act(on: socket, isReading ? CURL_CSELECT_IN : CURL_CSELECT_OUT)
    }

    private func deliver() {
        var left: Int32 = 0
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let handle = message.pointee.easy_handle else {
                continue
            }
            let code = ccurl_message_result(message)
            guard let transfer = transfers[handle] else { continue }
            let result = result(of: transfer, code)
            release(handle)
            transfer.done(result)
        }
    }

    private func result(of transfer: Transfer, _ code: CURLcode) -> HTTPResult {
        var microseconds: curl_off_t = 0
        _ = ccurl_getinfo_off(transfer.handle, CURLINFO_TOTAL_TIME_T, &microseconds)
        let outcome =
            transfer.head.outcome(nowMs: clock.nowMs())
            ?? .failed(AttemptFailure(code), reason: String(cString: curl_easy_strerror(code)))
        return HTTPResult(outcome: outcome, seconds: Double(microseconds) / 1e6)
    }

    private func release(_ handle: UnsafeMutableRawPointer) {
        curl_multi_remove_handle(multi, handle)
        if let transfer = transfers.removeValue(forKey: handle) { handles[transfer.id] = nil }
    }

    // MARK: libcurl's callbacks, all of them on the queue

    private static let socketChanged: curl_socket_callback = { _, socket, what, context, _ in
        withMulti(context) { $0.watch(socket, what) }
        return 0
    }

    private static let timerChanged: curl_multi_timer_callback = { _, milliseconds, context in
        withMulti(context) { multi in
            // Also for 0: libcurl must not be called from inside of its own callback.
            multi.timer.schedule(
                deadline: milliseconds < 0 ? .distantFuture : .now() + .milliseconds(milliseconds)
            )
        }
        return 0
    }

    static let openSocket: curl_opensocket_callback = { context, _, address in
        guard let address else { return ccurl_socket_bad }
        let kind = address.pointee.socktype | Int32(SOCK_CLOEXEC.rawValue)
        let made = socket(address.pointee.family, kind, address.pointee.protocol)
        guard made >= 0 else { return ccurl_socket_bad }
        withMulti(context) { $0.opened(made) }
        return made
    }

    private static func withMulti(
        _ context: UnsafeMutableRawPointer?, _ body: (isolated CurlMulti) -> Void
    ) {
        guard let context else { return }
        Unmanaged<CurlMulti>.fromOpaque(context).takeUnretainedValue().assumeIsolated(body)
    }

    private func watch(_ socket: Int32, _ what: Int32) {
        guard what != CURL_POLL_REMOVE else {
            watches.removeValue(forKey: socket)?.close()
            return
        }
        let watch = watches[socket] ?? makeWatch(socket)
        watches[socket] = watch
        watch.want(
            read: what == CURL_POLL_IN || what == CURL_POLL_INOUT,
            write: what == CURL_POLL_OUT || what == CURL_POLL_INOUT
        )
    }

    /// libcurl closes the socket of a connection attempt that it gives up without a word, and asks for no watch of the
    /// next one when that got the same number: it believes that it still has one.
    private func opened(_ socket: Int32) {
        guard let stale = watches[socket] else { return }
        let watch = makeWatch(socket)
        watch.want(read: stale.isReading, write: stale.isWriting)
        watches[socket] = watch
        stale.close()
    }

    private func makeWatch(_ socket: Int32) -> SocketWatch {
        SocketWatch(socket: socket, queue: executor.queue) { [weak self] isReading in
            self?.assumeIsolated { $0.ready(socket, isReading: isReading) }
        }
    }
}
