#!/bin/sh
# install_test.sh: `make install` lays out what it says, with working programs and units that name them; `make uninstall` takes back exactly that and
# leaves what others put there; the Debian package holds the same, and where root and dpkg are here, it installs, runs and is removed without a trace,
# into a root directory and a package database of its own.
set -u
cd "$(dirname "$0")/.." || exit 1
make=${MAKE:-make}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
check() {
	what=$1
	shift
	if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "not so: $what"; fi
}
# files DIR: everything in it, with modes
files() { (cd "$1" && find . ! -type d -exec ls -ln {} + | awk '{print $1, $NF}' | sort -k 2); }
same() { cmp -s "$1" "$2" || { diff "$1" "$2"; return 1; }; }

root=$work/root prefix=/opt/once
mkdir -p "$root$prefix/bin"
echo other >"$root$prefix/bin/other"
$make install DESTDIR="$root" PREFIX=$prefix >"$work/log" 2>&1
check "make install works" [ $? -eq 0 ]
cat >"$work/want" <<END
-rwxr-xr-x ./opt/once/bin/onlyonce-agent
-rwxr-xr-x ./opt/once/bin/onlyonce-server
-rw-r--r-- ./opt/once/bin/other
-rw-r--r-- ./opt/once/lib/systemd/system/onlyonce-agent.service
-rw-r--r-- ./opt/once/lib/systemd/system/onlyonce-server.service
-rw-r--r-- ./opt/once/share/man/man7/onlyonce-protocol.7
-rw-r--r-- ./opt/once/share/man/man8/onlyonce-agent.8
-rw-r--r-- ./opt/once/share/man/man8/onlyonce-server.8
END
files "$root" >"$work/have"
check "it lays out programs, pages and units" same "$work/want" "$work/have"
for program in server agent; do
	check "the installed $program runs" sh -c "cd '$work' && '$root$prefix/bin/onlyonce-$program' --version | grep -q '^onlyonce-$program [0-9]'"
	check "the $program's unit starts the installed program" grep -qx "ExecStart=$prefix/bin/onlyonce-$program" "$root$prefix/lib/systemd/system/onlyonce-$program.service"
done
$make uninstall DESTDIR="$root" PREFIX=$prefix >>"$work/log" 2>&1
check "make uninstall works" [ $? -eq 0 ]
files "$root" >"$work/have"
echo '-rw-r--r-- ./opt/once/bin/other' >"$work/want"
check "it takes back exactly that" same "$work/want" "$work/have"

if command -v systemd-analyze >/dev/null 2>&1; then
	for program in server agent; do
		sed "s|^ExecStart=.*|ExecStart=/bin/true|; /^Documentation=/d" "dist/onlyonce-$program.service" >"$work/onlyonce-$program.service"
		systemd-analyze verify "$work/onlyonce-$program.service" >"$work/verify" 2>&1
		check "systemd knows every word of the $program's unit" [ ! -s "$work/verify" ]
	done
else
	echo "no systemd-analyze here: the units were not checked"
fi

if command -v dpkg-deb >/dev/null 2>&1; then
	deb=$(sh t/deb.sh "$work" 2>>"$work/log" | tail -n 1)
	check "t/deb.sh makes a package" [ -f "$deb" ]
	dpkg-deb -c "$deb" >"$work/contents" 2>>"$work/log"
	check "everything in it is root's" [ "$(grep -vc ' root/root ' "$work/contents")" -eq 0 ]
	for path in usr/bin/onlyonce-server usr/bin/onlyonce-agent usr/lib/systemd/system/onlyonce-server.service usr/share/man/man8/onlyonce-agent.8.gz; do
		check "$path is in the package" grep -q " \./$path\$" "$work/contents"
	done
else
	echo "no dpkg-deb here: no package was made"
fi
if [ "$(id -u)" -eq 0 ] && command -v dpkg >/dev/null 2>&1 && [ -n "${deb:-}" ]; then
	box=$work/box
	mkdir -p "$box/var/lib/dpkg/info" "$box/var/lib/dpkg/updates" "$box/var/lib/dpkg/triggers" "$box/etc"
	: >"$box/var/lib/dpkg/status"
	# The scripts would run in a chroot that has no shell: a directory of our own is told apart with --force-script-chrootless.
	box_dpkg() { dpkg --root="$box" --log=/dev/null --force-script-chrootless --force-depends "$@" >>"$work/log" 2>&1; }
	check "the package installs" box_dpkg -i "$deb"
	check "the packaged server runs" sh -c "cd '$work' && '$box/usr/bin/onlyonce-server' --version >/dev/null"
	check "the packaged server makes its database" sh -c "cd '$work' && '$box/usr/bin/onlyonce-server' --db-path='$work/packaged.db' --migrate >/dev/null"
	check "the package is removed" box_dpkg -P onlyonce
	check "without a trace" [ -z "$(find "$box" -name '*onlyonce*' | head -n 1)" ]
else
	echo "not root, or no dpkg: the package was not installed"
fi
[ $failed -eq 0 ] || tail -n 20 "$work/log"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
