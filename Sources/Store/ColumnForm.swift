/// How the numbers of one column lie in a blob: the narrowest form that gives back the same bits.
///
/// Numbers of several bytes are written plane by plane (all lowest bytes first): neighbours in a plane resemble each
/// other, which is what zstd can use.
enum ColumnForm: UInt8 {
    /// The column is not there (percentiles below the rack).
    case absent = 0
    case zero = 1
    /// One value for all.
    case constant = 2
    case u8 = 3
    case u16 = 4
    case u32 = 5
    /// Differences to the one before, zigzag and LEB128: integers that are large or negative.
    case delta = 6
    case f32 = 7
    case f64 = 8
    /// At most 256 different values: a table and a byte each. Percentiles of a sketch are few.
    case table8 = 9
}

extension ByteWriter {
    /// `nil` for a column that is not there.
    mutating func column(_ values: [Double]) {
        guard let first = values.first else { return byte(ColumnForm.absent.rawValue) }
        let bits = first.bitPattern
        if values.allSatisfy({ $0.bitPattern == bits }) {
            byte((bits == 0 ? ColumnForm.zero : .constant).rawValue)
            if bits != 0 { fixed64(bits) }
        } else if let range = Self.integerRange(values) {
            integers(values, range)
        } else if values.allSatisfy({ Double(Float($0)).bitPattern == $0.bitPattern }) {
            byte(ColumnForm.f32.rawValue)
            planes(values, width: 4) { UInt64(Float($0).bitPattern) }
        } else if let table = Self.smallTable(values) {
            tabled(values, table)
        } else {
            byte(ColumnForm.f64.rawValue)
            planes(values, width: 8) { $0.bitPattern }
        }
    }

    mutating func column(_ values: [UInt32]) {
        guard let first = values.first else { return byte(ColumnForm.absent.rawValue) }
        var high = first
        var low = first
        for value in values {
            high = max(high, value)
            low = min(low, value)
        }
        if high == low {
            byte((first == 0 ? ColumnForm.zero : .constant).rawValue)
            if first != 0 { fixed64(UInt64(first)) }
            return
        }
        let form = Self.unsignedForm(UInt64(high))
        byte(form.form.rawValue)
        planes(values, width: form.width) { UInt64($0) }
    }

    private mutating func integers(_ values: [Double], _ range: ClosedRange<Int64>) {
        if range.lowerBound >= 0, range.upperBound <= Int64(UInt32.max) {
            let form = Self.unsignedForm(UInt64(range.upperBound))
            byte(form.form.rawValue)
            planes(values, width: form.width) { UInt64($0) }
            return
        }
        byte(ColumnForm.delta.rawValue)
        var last: Int64 = 0
        for value in values {
            let next = Int64(value)
            zigzag(next - last)
            last = next
        }
    }

    private mutating func tabled(_ values: [Double], _ table: [UInt64: UInt8]) {
        byte(ColumnForm.table8.rawValue)
        byte(UInt8(table.count - 1))
        for (bits, _) in table.sorted(by: { $0.value < $1.value }) { fixed64(bits) }
        for value in values { byte(table[value.bitPattern] ?? 0) }
    }

    private mutating func planes<Value>(_ values: [Value], width: Int, bits: (Value) -> UInt64) {
        let count = values.count
        let source = values.span
        block(count * width) { out, start in
            for index in 0..<count {
                var rest = bits(source[index])
                var position = start + index
                for _ in 0..<width {
                    out[position] = UInt8(truncatingIfNeeded: rest)
                    rest >>= 8
                    position += count
                }
            }
        }
    }

    private static func unsignedForm(_ high: UInt64) -> (form: ColumnForm, width: Int) {
        switch high {
        case ...0xFF: (.u8, 1)
        case ...0xFFFF: (.u16, 2)
        default: (.u32, 4)
        }
    }

    /// The range, if all are integers below 2^53 in magnitude and none is -0.
    private static func integerRange(_ values: [Double]) -> ClosedRange<Int64>? {
        let limit = 9_007_199_254_740_992.0
        var low = Int64.max
        var high = Int64.min
        for value in values {
            guard value > -limit, value < limit else { return nil }
            let integer = Int64(value)
            guard Double(integer).bitPattern == value.bitPattern else { return nil }
            low = min(low, integer)
            high = max(high, integer)
        }
        return low...high
    }

    /// Gives up as soon as a 257th value turns up, or early when the start of the column holds too many.
    private static func smallTable(_ values: [Double]) -> [UInt64: UInt8]? {
        guard values.count >= 64 else { return nil }
        var table: [UInt64: UInt8] = [:]
        var last: UInt64?
        for (index, value) in values.enumerated() {
            let bits = value.bitPattern
            if bits == last { continue }
            last = bits
            if table[bits] == nil {
                guard table.count < min(256, 32 + index / 4) else { return nil }
                table[bits] = UInt8(table.count)
            }
        }
        return table
    }
}

extension ByteReader {
    /// A column of `count` values, or none if it is not there.
    mutating func column(_ count: Int) throws(StoreError) -> [Double] {
        switch try form() {
        case .absent: return []
        case .zero: return Array(repeating: 0, count: count)
        case .constant: return Array(repeating: Double(bitPattern: try fixed64()), count: count)
        case .u8: return try planes(count, width: 1) { Double($0) }
        case .u16: return try planes(count, width: 2) { Double($0) }
        case .u32: return try planes(count, width: 4) { Double($0) }
        case .f32: return try planes(count, width: 4) { Double(Float(bitPattern: UInt32($0))) }
        case .f64: return try planes(count, width: 8) { Double(bitPattern: $0) }
        case .delta: return try deltas(count)
        case .table8: return try tabled(count)
        }
    }

    mutating func counts(_ count: Int) throws(StoreError) -> [UInt32] {
        switch try form() {
        case .absent: return []
        case .zero: return Array(repeating: 0, count: count)
        case .constant: return Array(repeating: UInt32(truncatingIfNeeded: try fixed64()), count: count)
        case .u8: return try planes(count, width: 1) { UInt32($0) }
        case .u16: return try planes(count, width: 2) { UInt32($0) }
        case .u32: return try planes(count, width: 4) { UInt32($0) }
        case .delta, .f32, .f64, .table8: throw Self.damage("a column of counts has the wrong form")
        }
    }

    private mutating func form() throws(StoreError) -> ColumnForm {
        let code = try byte()
        guard let form = ColumnForm(rawValue: code) else { throw Self.damage("form \(code) is not known") }
        return form
    }

    private mutating func planes<Value>(
        _ count: Int, width: Int, value: (UInt64) -> Value
    ) throws(StoreError) -> [Value] {
        guard count <= remaining / width else { throw Self.damage("it ends too early") }
        let slice = try raw(count * width)
        let source = slice.span
        var values: [Value] = []
        values.reserveCapacity(count)
        for index in 0..<count {
            var bits: UInt64 = 0
            var position = index
            for plane in 0..<width {
                bits |= UInt64(source[position]) << UInt64(8 * plane)
                position += count
            }
            values.append(value(bits))
        }
        return values
    }

    private mutating func deltas(_ count: Int) throws(StoreError) -> [Double] {
        guard count <= remaining else { throw Self.damage("it ends too early") }
        var values: [Double] = []
        values.reserveCapacity(count)
        var last: Int64 = 0
        for _ in 0..<count {
            last &+= try zigzag()
            values.append(Double(last))
        }
        return values
    }

    private mutating func tabled(_ count: Int) throws(StoreError) -> [Double] {
        let size = Int(try byte()) + 1
        var table: [Double] = []
        for _ in 0..<size { table.append(Double(bitPattern: try fixed64())) }
        var values: [Double] = []
        values.reserveCapacity(count)
        for index in try raw(count) {
            guard Int(index) < size else { throw Self.damage("a table has no entry \(index)") }
            values.append(table[Int(index)])
        }
        return values
    }
}
