# Sourced by the scripts of Deploy: plain words, Debian packages, the Swift toolchain, free ports. Bash.

# What building and running need beyond Swift.
BUILD_PACKAGES="libcurl4-openssl-dev libssl-dev libsystemd-dev libsqlite3-dev libzstd-dev zlib1g-dev libnats-dev pkg-config ca-certificates"
# What the tests need besides.
TEST_PACKAGES="libsnappy-dev libprotobuf-dev protobuf-compiler g++ openssl python3 python3-pip systemd dbus procps util-linux iproute2 curl jq dpkg-dev binutils"

say() { printf '%s\n' "$*"; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# need_packages NAME...: installs the Debian packages that are missing.
need_packages() {
    command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
        fail "this is not a Debian system; please install what these packages hold: $*"
    local name missing=()
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Installing Debian packages: ${missing[*]}"
    local as=()
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null || ! { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }; }; then
            cat >&2 <<PLAIN
These Debian packages are missing: ${missing[*]}
You are not root, and sudo is not here or does not let you. Please ask whoever runs this machine to do

    apt-get update && apt-get install ${missing[*]}

and start ${0##*/} again.
PLAIN
            exit 1
        fi
        as=(sudo)
    fi
    local log
    log=$(mktemp)
    # Not every fresh machine has package lists, and old lists name packages that are gone.
    if ! { "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
        "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"; } \
        >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        fail "apt-get could not install: ${missing[*]}"
    fi
    rm -f "$log"
}

# need_swift: a toolchain of 6.3 or later.
need_swift() {
    local version
    command -v swift >/dev/null ||
        fail "swift is not in PATH; install Swift 6.3 or later from https://www.swift.org/install/linux/"
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n1)
    [ -n "$version" ] && [ "$(printf '%s\n6.3\n' "$version" | sort -V | head -n1)" = 6.3 ] ||
        fail "Swift 6.3 or later is needed; this is ${version:-unknown} ($(command -v swift))"
}

# port_is_free PORT: nobody listens there on loopback.
port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port: prints a port of loopback that nobody has; python3 asks the kernel.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# stop_process PID [SECONDS]: asks it to end, and insists after SECONDS (default 15).
stop_process() {
    local i
    kill -TERM "$1" 2>/dev/null || return 0
    for ((i = 0; i < ${2:-15} * 10; i++)); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null
    return 1
}

# poll SECONDS COMMAND...: until it succeeds; fails when the time is up.
poll() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}
