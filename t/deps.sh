#!/bin/sh
# deps.sh [-n]: installs what building and testing needs and is not there yet: a C compiler, make, SQLite and OpenSSL with headers (and static
# libraries where the system packs them), cmocka, curl, the sqlite3 and openssl commands. -n: only says what it would run. Root, sudo or doas is needed only when something is missing.
set -u
dry=no
[ "${1:-}" = -n ] && dry=yes

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
links() { printf '%s\nint main(void) { return 0; }\n' "$1" >"$work/x.c"; shift; ${CC:-cc} -o "$work/x" "$work/x.c" "$@" >/dev/null 2>&1; }
cmocka='#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>'
missing=
for tool in "${CC:-cc}" make curl sqlite3 openssl; do command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"; done
links '#include <sqlite3.h>' -lsqlite3 || missing="$missing sqlite3-library"
links '#include <openssl/ssl.h>' -lssl -lcrypto || missing="$missing openssl-library"
links "$cmocka" -lcmocka || missing="$missing cmocka"
if [ -z "$missing" ]; then
	echo "deps: all there"
	exit 0
fi
echo "deps: missing:$missing"

as_root=
if [ "$(id -u)" -ne 0 ]; then
	for su in sudo doas; do command -v $su >/dev/null 2>&1 && as_root=$su && break; done
fi
run() { echo "+ $*"; [ $dry = yes ] || "$@" || exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

if has apt-get; then
	run $as_root env DEBIAN_FRONTEND=noninteractive apt-get update
	run $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends gcc make libc6-dev libsqlite3-dev libssl-dev libcmocka-dev curl ca-certificates sqlite3 openssl
elif has apk; then
	run $as_root apk add gcc make musl-dev linux-headers sqlite-dev sqlite-static openssl-dev openssl-libs-static cmocka-dev curl sqlite openssl
elif has dnf; then
	run $as_root dnf install -y gcc make glibc-devel glibc-static sqlite-devel openssl-devel libcmocka-devel curl sqlite openssl
elif has pacman; then
	run $as_root pacman -S --needed --noconfirm gcc make sqlite openssl cmocka curl
elif has zypper; then
	run $as_root zypper --non-interactive install gcc make glibc-devel glibc-devel-static sqlite3-devel libopenssl-devel libcmocka-devel curl sqlite3 openssl
elif has pkg; then
	run $as_root pkg install -y gmake sqlite3 cmocka curl
elif has brew; then
	run brew install sqlite openssl@3 cmocka curl
else
	echo "deps: no package manager known here; install by hand:$missing" >&2
	exit 1
fi
