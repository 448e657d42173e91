#!/bin/sh
# dist.sh [OUT]: the source tarball onlyonce-VERSION.tar.gz into OUT (build): in a git checkout what is committed, else what is here but for products.
set -eu
cd "$(dirname "$0")/.."
out=${1:-build}
version=$(sed -n 's/.*ONLYONCE_VERSION "\([^"]*\)".*/\1/p' ./*.h | head -n 1)
[ -n "$version" ] || { echo "dist: no version found" >&2; exit 1; }
name=onlyonce-$version
mkdir -p "$out"
if [ -e .git ] && command -v git >/dev/null 2>&1; then
	git archive --prefix="$name/" HEAD | gzip -9n >"$out/$name.tar.gz"
else
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	mkdir "$work/$name"
	tar cf - --exclude=./build --exclude='*.o' --exclude='*.a' --exclude='*_test' --exclude=./server --exclude=./agent --exclude=./migrations.c . | (cd "$work/$name" && tar xf -)
	(cd "$work" && tar cf - "$name") | gzip -9 >"$out/$name.tar.gz"
fi
echo "$out/$name.tar.gz"
