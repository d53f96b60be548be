import Telemetry

/// Which GPUs were heard of in a window that is closed, by rack and job: what a revision adds to its counts are only
/// those that were not.
struct HeardGPUs {
    private var firstGroups: [Int32]
    private var groups: [WindowAccumulator.Group]
    private var reporting: [UInt64]

    /// Shares the memory of the window until that is used again.
    init(_ window: borrowing WindowAccumulator) {
        firstGroups = window.firstGroups
        groups = window.groups
        reporting = window.reporting
    }

    /// The GPUs of one word of a rack, in any job or none, or only in that one; and those of them in some job.
    func bits(rack: Int, word: Int, job: Int32? = nil) -> (any: UInt64, inJob: UInt64) {
        var found: (any: UInt64, inJob: UInt64) = (0, 0)
        var number = rack < firstGroups.count ? firstGroups[rack] : -1
        while number >= 0 {
            let group = groups[Int(number)]
            if word < Int(group.wordCount), job == nil || job == group.job {
                let bits = reporting[Int(group.firstWord) + word]
                found.any |= bits
                if group.job != JobSnapshot.none { found.inJob |= bits }
            }
            number = group.next
        }
        return found
    }

    func bits(rack: Int, job: Int32, word: Int) -> UInt64 {
        guard let group = find(rack, job), word < Int(groups[group].wordCount) else { return 0 }
        return reporting[Int(groups[group].firstWord) + word]
    }

    private func find(_ rack: Int, _ job: Int32) -> Int? {
        var number = rack < firstGroups.count ? firstGroups[rack] : -1
        while number >= 0 {
            if groups[Int(number)].job == job { return Int(number) }
            number = groups[Int(number)].next
        }
        return nil
    }

    /// Adds those of a late share.
    mutating func add(_ late: borrowing WindowAccumulator) {
        let missing = late.firstGroups.count - firstGroups.count
        if missing > 0 { firstGroups.append(contentsOf: repeatElement(-1, count: missing)) }
        for group in late.groups {
            let rack = Int(group.rack)
            var words = (0..<Int(group.wordCount)).map { late.reporting[Int(group.firstWord) + $0] }
            for word in words.indices { words[word] |= bits(rack: rack, job: group.job, word: word) }
            if let known = find(rack, group.job), Int(groups[known].wordCount) >= words.count {
                let first = Int(groups[known].firstWord)
                reporting.replaceSubrange(first..<first + words.count, with: words)
            } else {
                let next = firstGroups[rack]
                firstGroups[rack] = Int32(groups.count)
                groups.append(
                    .init(
                        rack: group.rack, job: group.job, next: next, firstWord: Int32(reporting.count),
                        wordCount: Int32(words.count)))
                reporting += words
            }
        }
    }
}
