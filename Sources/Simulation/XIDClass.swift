/// What XIDs do to a GPU's other fields (NVIDIA, "XID Errors": XID 48, 63, 64, 74, 79, 94, 95, 140, 171).
enum XIDClass {
    /// A memory error after which rows are remapped.
    static func remapsRows(_ xid: Int) -> Bool { [48, 63, 94, 95, 140, 171].contains(xid) }
    /// The GPU is off the bus and sends nothing any more.
    static let offTheBus: UInt8 = 79
    /// An error of an NVLink that retries did not mend.
    static let nvlink: UInt8 = 74
    /// Remapping has failed.
    static let remapFailure: UInt8 = 64
}
