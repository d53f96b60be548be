import Glibc

/// All of the arguments, or the last alone where time is short: with `COLOSSUS_BRIEF` set, as under Thread Sanitizer,
/// which looks for races and makes everything twenty times as slow.
public func sized<Element>(_ all: [Element]) -> [Element] {
    getenv("COLOSSUS_BRIEF") == nil ? all : all.suffix(1)
}
