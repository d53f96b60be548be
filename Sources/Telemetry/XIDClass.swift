extension XID {
    /// What kind of trouble an XID is. The raw value is what users write and see.
    ///
    /// After NVIDIA's "XID Errors" guide (r570) and the error texts of DCGM: what an operator does about it is the same for
    /// all of a class.
    public enum Class: String, CaseIterable, Sendable, Hashable {
        /// ECC, page retirement and row remapping.
        case memory
        /// NVLink and NVSwitch.
        case link
        /// Fallen off the bus, PCIe.
        case bus
        /// GSP and other micro-controllers.
        case firmware
        /// Of the program that ran: a bad address, an illegal instruction, killed.
        case application
        case other
    }

    public static func `class`(_ code: Int) -> Class {
        switch code {
        case 48, 63, 64, 92, 94, 95, 140, 156, 157, 160, 161, 168, 171, 172: .memory
        case 74, 121, 137, 144...150, 155, 166, 170: .link
        case 18, 54, 79, 136, 143, 167: .bus
        case 33, 37, 38, 59, 61, 62, 119, 120, 122...125, 154, 158, 169: .firmware
        case 13, 31, 43, 44, 45, 66...73, 109, 126...135, 138, 139, 141: .application
        default: .other
        }
    }
}
