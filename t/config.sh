#!/bin/sh
# config.sh CC FLAGS TLS STATIC SQLITE_SRC CMOCKA_SRC: finds out what this platform links, and writes it to build/: cflags and libs for every
# program, static for the two that are dropped onto other machines, testlibs for the tests. Silent and quick when nothing changed.
set -u
cc=$1 flags=$2 tls=$3 static=$4 sqlite_src=$5 cmocka_src=$6
asked="$cc|$flags|$tls|$static|$sqlite_src|$cmocka_src"
mkdir -p build || exit 1
[ -f build/cflags ] && [ "$(cat build/asked 2>/dev/null)" = "$asked" ] && exit 0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# links SOURCE FLAGS...: can this be compiled and linked?
links() {
	printf '%s\n' "$1" >"$work/x.c"
	shift
	$cc $flags -o "$work/x" "$work/x.c" "$@" >"$work/log" 2>&1
}
die() { echo "$1" >&2; rm -f build/asked build/cflags; exit 1; }

use_sqlite='#include <sqlite3.h>
int main(void) { return sqlite3_libversion_number() < 3024000; }'
use_tls='#include <openssl/ssl.h>
int main(void) { return SSL_CTX_new(TLS_client_method()) == 0; }'
cflags= libs= static_flag= objects=

if [ -n "$sqlite_src" ]; then
	[ -f "$sqlite_src" ] || die "SQLITE_SRC=$sqlite_src: no such file"
	echo "sqlite: compiling $sqlite_src"
	$cc $flags -w -O2 -DSQLITE_THREADSAFE=0 -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_DQS=0 -c -o build/sqlite3.o "$sqlite_src" || die "$sqlite_src does not compile"
	cflags="-I$(dirname "$sqlite_src")" objects="build/sqlite3.o"
else
	for libs in "-lsqlite3" "-lsqlite3 -lm" "-lsqlite3 -lpthread -ldl -lm" none; do
		[ "$libs" != none ] || die "SQLite (library and header) is needed: sh t/deps.sh, or SQLITE_SRC=path/to/sqlite3.c"
		links "$use_sqlite" $libs && break
	done
fi
have_tls=no
if [ "$tls" != no ]; then
	for ssl in "-lssl -lcrypto" "-lssl -lcrypto -lpthread -ldl"; do
		links "$use_tls" $ssl && have_tls=yes && break
	done
	[ "$have_tls" = yes ] || [ "$tls" != yes ] || die "TLS=yes: OpenSSL's headers and library are needed: sh t/deps.sh"
fi
if [ "$have_tls" = yes ]; then
	cflags="$cflags -DWITH_TLS" libs="$ssl $libs"
	echo "https: built in"
else
	echo "https: not built in$([ "$tls" = no ] && echo ' (TLS=no)')"
fi
if [ "$static" != no ]; then
	both=$use_sqlite
	[ -n "$sqlite_src" ] && both='int main(void) { return 0; }'
	more=
	[ "$have_tls" = yes ] && links "$use_tls" -static $ssl || [ "$have_tls" = no ] || more=no
	if [ -z "$more" ] && links "$both" -static $libs; then
		static_flag=-static
	elif [ -z "$more" ] && links "$both" -static $libs -lpthread -ldl -lm; then
		static_flag=-static libs="$libs -lpthread -ldl -lm"
	elif [ "$static" = yes ]; then
		die "STATIC=yes: this platform has no static libraries for $libs"
	else
		echo "linking: dynamic, since this platform has no static libraries for$libs"
	fi
fi
testlibs=-lcmocka
if [ -n "$cmocka_src" ]; then
	inc=$(dirname "$cmocka_src")/../include
	$cc $flags -w -I"$inc" -c -o build/cmocka.o "$cmocka_src" || die "$cmocka_src does not compile"
	cflags="$cflags -I$inc" testlibs=build/cmocka.o
fi
echo "$objects $libs" >build/libs
echo "$static_flag" >build/static
echo "$testlibs" >build/testlibs
echo "$asked" >build/asked
echo "$cflags" >build/cflags
