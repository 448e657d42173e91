#!/bin/sh
# ports.sh [quick] [LEG...]: builds the sources in many ways and runs their tests, one line each: what, built, static or dynamic, tests. Legs whose tools
# are missing are skipped, with the package that brings them. quick: the bounded part. Work and logs go to build/ports (PORTS_DIR sets another place).
#   gcc clang tcc bmake c99 dist notls m32 musl arm64 armhf s390x
# The legs from m32 on compile SQLite and cmocka themselves: SQLITE_SRC and CMOCKA_SRC name sqlite3.c and cmocka.c, or both are made here from
# Debian's source packages (deb-src, tclsh). They are built without https: Debian has no static OpenSSL for another C library or architecture at hand.
set -u
cd "$(dirname "$0")/.." || exit 1
here=$(pwd)
dir=${PORTS_DIR:-$here/build/ports}
legs='gcc clang tcc bmake c99 dist notls m32 musl arm64 armhf s390x'
[ "${1:-}" = quick ] && { shift; legs='clang bmake tcc' bounded=yes; }
[ $# -eq 0 ] || legs=$*
mkdir -p "$dir/sources" || exit 1
bad=0 emulator= bounded=${bounded:-}
has() { command -v "$1" >/dev/null 2>&1; }
line() { printf '%-7s %-34s %-9s %-8s %s\n' "$@"; }

# The amalgamation and cmocka's source, from Debian's source packages of this release.
apt_source() { # apt_source PACKAGE: its upstream files into $dir/sources
	has apt-get || return 1
	list=$dir/sources/list
	mkdir -p "$list/state/partial"
	for file in /etc/apt/sources.list.d/*.sources; do [ -f "$file" ] && sed 's/^Types: deb$/Types: deb-src/' "$file"; done >"$list/src.sources" 2>/dev/null
	set -- "$1" -o Dir::Etc::sourceparts=/dev/null -o "Dir::Etc::sourcelist=$list/src.sources" -o "Dir::State::lists=$list/state"
	package=$1
	shift
	apt-get "$@" update >"$dir/apt.log" 2>&1
	(cd "$dir/sources" && apt-get "$@" source --download-only "$package") >>"$dir/apt.log" 2>&1
}
unpack() { # unpack PACKAGE
	[ -d "$dir/sources/$1" ] && return 0
	apt_source "$1"
	for tar in "$dir/sources/$1"_*.orig.tar.?z; do
		[ -f "$tar" ] || return 1
		mkdir -p "$dir/sources/$1" && tar xf "$tar" -C "$dir/sources/$1" --strip-components=1 || return 1
	done
}
need_sources() {
	if [ -z "${SQLITE_SRC:-}" ]; then
		SQLITE_SRC=$dir/sources/sqlite3/sqlite3.c
		[ -f "$SQLITE_SRC" ] || { unpack sqlite3 && has tclsh && (cd "$dir/sources/sqlite3" && ./configure --disable-tcl && make sqlite3.c) >"$dir/sqlite.log" 2>&1; }
	fi
	if [ -z "${CMOCKA_SRC:-}" ]; then
		CMOCKA_SRC=$dir/sources/cmocka/src/cmocka.c
		[ -f "$CMOCKA_SRC" ] || unpack cmocka
	fi
	[ -f "$SQLITE_SRC" ] && [ -f "$CMOCKA_SRC" ]
}

tree() { # tree LEG: a clean copy of the sources
	rm -rf "$dir/$1"
	mkdir -p "$dir/$1"
	tar cf - --exclude=./build --exclude=./.git --exclude='*.o' --exclude='*.a' --exclude='*_test' --exclude=./server --exclude=./agent --exclude=./t/jsoncheck --exclude=./t/httpget . | (cd "$dir/$1" && tar xf -)
}
unpack_dist() { # the tarball that dist.sh makes, in place of a copy
	rm -rf "$dir/dist" "$dir"/onlyonce-*
	tarball=$(sh t/dist.sh "$dir") && (cd "$dir" && tar xzf "$tarball" && rm -f "$tarball" && mv onlyonce-* dist)
}
# run LEG WHAT MAKE NEEDED-TOOL PACKAGE VAR=VALUE...: one line
run() {
	leg=$1 what=$2 make=$3 tool=$4 package=$5
	shift 5
	for word in $make $tool; do has "$word" || { line "$leg" "$what" skipped - "no $word here (package $package)"; return; }; done
	if [ "$leg" = dist ]; then unpack_dist || return; else tree "$leg"; fi
	log=$dir/$leg.log
	cd "$dir/$leg" || exit 1
	[ -z "$emulator$bounded" ] || set -- "$@" LONGER=            # what starts programs by the hundred, or looks at a process from outside
	if ! $make "$@" all >"$log" 2>&1; then
		line "$leg" "$what" "NOT BUILT" - "$(grep -i -e "error" -e undefined "$log" | grep -v "^make" | head -n 1 | cut -c 1-90)"
		bad=$((bad + 1))
	else
		built=yes static=dynamic
		grep -q -e '[^_]warning: ' "$log" && built=warnings
		[ -s build/static ] && grep -q -e -static build/static && static=static
		[ -z "$emulator" ] || { $make "$@" tools && wrap server agent build/target t/jsoncheck t/httpget; } >>"$log" 2>&1
		if RUN=$emulator LIMIT=${LIMIT:-600} $make "$@" check >>"$log" 2>&1; then tests=$(tail -n 1 "$log"); else tests="$(grep -e ' passed, ' "$log" | tail -n 1) $(grep '^failed:' "$log")"; bad=$((bad + 1)); fi
		case $tests in *passed*) ;; *) tests="not run: $(tail -n 1 "$log" | cut -c 1-80)" ;; esac
		line "$leg" "$what" "$built" "$static" "$tests"
	fi
	cd "$here" || exit 1
}
# wrap PROGRAM...: a script in its place that runs it under the emulator, so that tests which start the real programs can
wrap() {
	for program in "$@"; do
		[ -f "$program" ] || continue
		mv "$program" "$program.bin"
		printf '#!/bin/sh\nexec %s "%s/%s.bin" "$@"\n' "$emulator" "$(pwd)" "$program" >"$program"
		chmod +x "$program"
	done
}
# own LEG WHAT TOOL PACKAGE VAR=VALUE...: as run, with SQLite and cmocka compiled along
own() {
	leg=$1 what=$2 tool=$3 package=$4
	shift 4
	if ! need_sources; then
		line "$leg" "$what" skipped - "needs SQLITE_SRC= and CMOCKA_SRC=, or deb-src and tclsh to make them"
		return
	fi
	run "$leg" "$what" make "$tool" "$package" TLS=no SQLITE_SRC="$SQLITE_SRC" CMOCKA_SRC="$CMOCKA_SRC" "$@"
}
# cross LEG WHAT TRIPLET QEMU PACKAGES: static, so that qemu-user needs no libraries of the other machine
cross() {
	cc=$3-gcc
	has "$cc" || cc=$3-gcc-12
	has "$4" || { line "$1" "$2" skipped - "no $4 here (package qemu-user)"; return; }
	emulator=$4
	own "$1" "$2" "$cc" "$5" CC="$cc" CFLAGS="$own" LDFLAGS=-static STATIC=yes
	emulator=
}

line leg compiler,\ make,\ machine built linked tests
strict='-O2 -g -Werror'
# cmocka's configuration is all but one default.
own="$strict -DHAVE_SIGNAL_H"
# Debian keeps <asm/...> for -m32 where gcc does not look unless gcc-multilib, which removes every cross gcc, is installed.
wide=$(gcc -print-multiarch 2>/dev/null)
for leg in $legs; do
	case $leg in
	gcc) run gcc "gcc, GNU make" make gcc gcc CC=gcc CFLAGS="$strict" ;;
	clang) run clang "clang, GNU make" make clang clang CC=clang CFLAGS="$strict" ;;
	tcc) run tcc "tcc, GNU make" make tcc tcc CC=tcc CFLAGS=-g STATIC=no ;;
	bmake) run bmake "cc, bmake" bmake cc bmake CFLAGS="$strict" ;;
	c99) run c99 "gcc -std=c99 -pedantic-errors -O3" make gcc gcc CC=gcc CFLAGS='-O3 -g -Werror -pedantic-errors' ;;
	dist) run dist "cc, from the source tarball" make cc gcc CFLAGS="$strict" ;;
	notls) run notls "gcc, TLS=no" make gcc gcc CC=gcc CFLAGS="$strict" TLS=no ;;
	m32) own m32 "gcc -m32" gcc gcc-12-multilib CC=gcc CFLAGS="-m32 -idirafter /usr/include/$wide $own" ;;
	# musl's FD_SET mixes int and size_t in what its macro makes of the caller's int.
	musl) own musl "musl-gcc" musl-gcc musl-tools CC=musl-gcc CFLAGS="$own -Wno-sign-conversion" ;;
	arm64) cross arm64 "gcc for arm64, qemu-user" aarch64-linux-gnu qemu-aarch64 gcc-12-aarch64-linux-gnu,\ libc6-dev-arm64-cross ;;
	armhf) cross armhf "gcc for armhf, qemu-user" arm-linux-gnueabihf qemu-arm gcc-12-arm-linux-gnueabihf,\ libc6-dev-armhf-cross ;;
	s390x) cross s390x "gcc for s390x, qemu-user" s390x-linux-gnu qemu-s390x gcc-12-s390x-linux-gnu,\ libc6-dev-s390x-cross ;;
	*) echo "ports: no leg named $leg" >&2; bad=$((bad + 1)) ;;
	esac
done
[ $bad -eq 0 ]
