import Telemetry

/// The slots that there are for each (GPU, field): of the first source, and of others.
struct SeriesOwners {
    /// Of the first source: who it is, and its slot.
    struct Owner {
        var slot = Self.none
        var origin: UInt32 = 0

        static let none = UInt32.max
    }

    private struct Key: Hashable {
        var gpu: Int32
        var field: FieldIndex
        var origin: UInt32
    }

    /// Rows of `stride` fields, one for each GPU; a field gets its column when it comes for the first time.
    private var owners: [Owner] = []
    private var stride = 0
    private var columns = [Int16](repeating: -1, count: FieldCatalog.all.count)
    private var columnCount = 0
    private var others: [Key: UInt32] = [:]

    /// The slot of the first source, if there is one.
    func first(gpu: Int32, field: FieldIndex) -> Owner? {
        let column = Int(columns[Int(field.rawValue)])
        let place = Int(gpu) * stride + column
        guard column >= 0, place < owners.count, owners[place].slot != Owner.none else { return nil }
        return owners[place]
    }

    func other(gpu: Int32, field: FieldIndex, origin: UInt32) -> UInt32? {
        others.isEmpty ? nil : others[Key(gpu: gpu, field: field, origin: origin)]
    }

    mutating func setFirst(gpu: Int32, field: FieldIndex, _ owner: Owner) {
        let column = column(field)
        let end = (Int(gpu) + 1) * stride
        if owners.count < end { owners.append(contentsOf: repeatElement(Owner(), count: end - owners.count)) }
        owners[Int(gpu) * stride + column] = owner
    }

    mutating func setOther(gpu: Int32, field: FieldIndex, origin: UInt32, slot: UInt32) {
        others[Key(gpu: gpu, field: field, origin: origin)] = slot
    }

    /// Removes a slot, if it is still what that source has.
    mutating func remove(gpu: Int32, field: FieldIndex, origin: UInt32, slot: UInt32) {
        if let known = first(gpu: gpu, field: field), known.slot == slot {
            owners[Int(gpu) * stride + Int(columns[Int(field.rawValue)])] = Owner()
        } else if other(gpu: gpu, field: field, origin: origin) == slot {
            others[Key(gpu: gpu, field: field, origin: origin)] = nil
        }
    }

    private mutating func column(_ field: FieldIndex) -> Int {
        let known = columns[Int(field.rawValue)]
        if known >= 0 { return Int(known) }
        let column = columnCount
        columns[Int(field.rawValue)] = Int16(column)
        columnCount += 1
        if columnCount > stride { widen(to: stride + 4) }
        return column
    }

    private mutating func widen(to wider: Int) {
        let rows = stride == 0 ? 0 : owners.count / stride
        var wide = [Owner](repeating: Owner(), count: rows * wider)
        for row in 0..<rows {
            for column in 0..<stride { wide[row * wider + column] = owners[row * stride + column] }
        }
        owners = wide
        stride = wider
    }
}
