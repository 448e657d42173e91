#!/bin/sh
# deb.sh [OUT]: a Debian package of what `make install` lays out, made with dpkg-deb, into OUT (build). The programs are static, so it depends on nothing.
# It enables and starts no service: that is said at the end of the installation. Data of both programs is kept when it is removed.
set -eu
cd "$(dirname "$0")/.."
out=${1:-build}
for tool in dpkg-deb dpkg; do command -v $tool >/dev/null 2>&1 || { echo "deb: no $tool here (package dpkg)" >&2; exit 1; }; done
version=$(sed -n 's/.*ONLYONCE_VERSION "\([^"]*\)".*/\1/p' ./*.h | head -n 1)
[ -n "$version" ] || { echo "deb: no version found" >&2; exit 1; }
arch=${ARCH:-$(dpkg --print-architecture)}
name=onlyonce_${version}_$arch
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
umask 022

${MAKE:-make} install DESTDIR="$root" PREFIX=/usr
strip "$root"/usr/bin/onlyonce-* 2>/dev/null || true
find "$root" -name '*.8' -o -name '*.7' | while read -r page; do gzip -9n "$page"; done
mkdir -p "$root/DEBIAN" "$root/usr/share/doc/onlyonce"
cp LICENSE "$root/usr/share/doc/onlyonce/copyright"
cp README.md SECURITY.md .env.example "$root/usr/share/doc/onlyonce/"
gzip -9nc CHANGELOG.md >"$root/usr/share/doc/onlyonce/changelog.gz"

depends=
grep -q -e -static build/static || depends=$(printf '\nDepends: libc6, libsqlite3-0%s' "$(grep -q WITH_TLS build/cflags && echo ', libssl3')")
cat >"$root/DEBIAN/control" <<END
Package: onlyonce
Version: $version
Architecture: $arch
Maintainer: The onlyonce authors <onlyonce@localhost>
Installed-Size: $(du -sk "$root" | cut -f 1)$depends
Section: admin
Priority: optional
Description: commands that survive any crash and run at most once
 A control server takes commands over HTTP and hands them to agents that poll.
 Either side may be killed at any instant: no acknowledged command is lost, and
 none is run twice unless its owner marked it idempotent.
END
cat >"$root/DEBIAN/postinst" <<'END'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
if [ "$1" = configure ] && [ -z "$2" ]; then
	echo "onlyonce: settings go to /etc/onlyonce/server.env and agent.env; then: systemctl enable --now onlyonce-server onlyonce-agent"
fi
END
cat >"$root/DEBIAN/prerm" <<'END'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then systemctl disable --now onlyonce-server onlyonce-agent || true; fi
END
cat >"$root/DEBIAN/postrm" <<'END'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
END
chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm" "$root/DEBIAN/postrm"
mkdir -p "$out"
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/$name.deb" >/dev/null
echo "$out/$name.deb"
