import Logging

// What an operator reads about endpoints: changes of their state, and not every attempt.

extension Reporter {
    func log(_ notice: EndpointStateMachine.Notice, _ name: String) {
        let endpoint: Logger.Metadata = ["endpoint": "\(name)"]
        func said(_ more: Logger.Metadata) -> Logger.Metadata { endpoint.merging(more) { $1 } }
        switch notice {
        case .failing(let reason):
            logger.warning(
                "endpoint does not work; summaries wait in the store", metadata: said(["reason": "\(reason)"])
            )
        case .recovered(let attempts):
            logger.notice("endpoint works again", metadata: said(["failed_attempts": "\(attempts)"]))
        case .refused(_, let reason) where endpoints[name]?.configuration.feed == .alerts:
            logger.error("endpoint refused alerts", metadata: said(["reason": "\(reason)"]))
        case .refused(let samples, let reason):
            logger.error(
                "endpoint refused samples for good; they are kept as dead letters",
                metadata: said([
                    "event": "endpoint_refused", "samples": "\(samples)", "reason": "\(reason)",
                ]))
        case .disabled(let reason):
            logger.error(
                "endpoint wants nothing any more and is disabled", metadata: said(["reason": "\(reason)"]))
        case .dropped(let samples, let reason):
            logger.warning(
                "samples are not sent",
                metadata: said(["samples": "\(samples)", "reason": "\(reason.rawValue)"]))
        case .storeFailing:
            logger.warning("the store does not answer; the endpoint waits", metadata: endpoint)
        case .setAside(let id, let attempts, let reason):
            logger.warning(
                "what an endpoint does not take makes room for other windows; it is tried on beside them",
                metadata: said(["part": "\(id)", "attempts": "\(attempts)", "reason": "\(reason)"]))
        case .warned(let text):
            logger.warning(
                "endpoint has taken everything, and warns", metadata: said(["warning": "\(text)"]))
        case .simplified(let from, let to, let because):
            logger.notice(
                to == endpoints[name]?.encoding.form
                    ? "endpoint refuses a simpler form as well; the one that was meant is taken again"
                    : "endpoint does not understand the form; a simpler one is taken from now on",
                metadata: said([
                    "from": "\(from.description)",
                    "to": "\(to.description)", "reason": "\(because)",
                ]))
        }
    }
}
