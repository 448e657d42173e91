#!/bin/sh
# variant.sh DIR TARGET VAR=VALUE...: the same sources built another way, in a directory of their own: `make TARGET VAR=VALUE...` in a copy below build/.
set -eu
dir=build/$1 target=$2
shift 2
rm -rf "$dir"
mkdir -p "$dir"
tar cf - --exclude=./build --exclude=./.git --exclude='*.o' --exclude='*.a' . | (cd "$dir" && tar xf -)
cd "$dir"
rm -f server agent t/*_test t/jsoncheck t/httpget
exec ${MAKE:-make} "$target" "$@"
