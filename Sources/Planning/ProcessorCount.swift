import Glibc

enum ProcessorCount {
    static var available: Int { sysconf(Int32(_SC_NPROCESSORS_ONLN)) }
}
