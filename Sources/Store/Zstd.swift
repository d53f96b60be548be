import CZstd

/// One compressing and one decompressing context, reused: making them costs more than a small blob does.
struct Zstd: ~Copyable {
    /// Fast, and within a few per cent of level 3 on shuffled columns.
    static let level: Int32 = 1
    /// No blob of the store is larger than this when it is unpacked.
    static let bytesMax = 1 << 30

    private let compressing: OpaquePointer
    private let decompressing: OpaquePointer

    init() throws(StoreError) {
        guard let compressing = ZSTD_createCCtx(), let decompressing = ZSTD_createDCtx() else {
            throw StoreError(.database, "zstd could not get memory", advice: "give the service more memory")
        }
        self.compressing = compressing
        self.decompressing = decompressing
    }

    deinit {
        ZSTD_freeCCtx(compressing)
        ZSTD_freeDCtx(decompressing)
    }

    func compress(_ bytes: [UInt8]) throws(StoreError) -> [UInt8] {
        let bound = ZSTD_compressBound(bytes.count)
        var failed = false
        // Unsafe because zstd writes straight into the array's storage; it is told the capacity and returns the
        // number of bytes that it initialised.
        let packed = [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
            let written = bytes.withUnsafeBytes { source in
                ZSTD_compressCCtx(
                    compressing, buffer.baseAddress, bound, source.baseAddress, source.count, Self.level)
            }
            failed = ZSTD_isError(written) != 0
            count = failed ? 0 : written
        }
        if failed { throw StoreError(.database, "zstd could not compress \(bytes.count) bytes") }
        return packed
    }

    /// - Parameter limit: the most bytes that the blob may unpack to.
    func decompress(_ source: UnsafeRawBufferPointer, limit: Int = bytesMax) throws(StoreError) -> [UInt8] {
        let size = ZSTD_getFrameContentSize(source.baseAddress, source.count)
        // The two largest values mean "not known" and "not zstd"; every blob here states its size.
        guard size <= UInt64(min(limit, Self.bytesMax)) else {
            throw ByteReader.damage("it is not a zstd frame of at most \(limit) bytes")
        }
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: Int(size)) { buffer, count in
            let read = ZSTD_decompressDCtx(
                decompressing, buffer.baseAddress, Int(size), source.baseAddress, source.count)
            failed = ZSTD_isError(read) != 0 || read != Int(size)
            count = failed ? 0 : read
        }
        if failed { throw ByteReader.damage("zstd cannot read it") }
        return bytes
    }
}
