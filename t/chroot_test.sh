#!/bin/sh
# chroot_test.sh: the static binaries in the file tree that the container image has: an empty directory with resolv.conf, hosts, a CA bundle and /data,
# owned by nobody in particular. Commands go through server and agent there, names are looked up there, and both programs are process 1 of a PID
# namespace. Needs Linux, root, curl and static programs; https is tried where it is built in and openssl is here. Loopback only.
set -u
cd "$(dirname "$0")/.." || exit 1
here=$(pwd)
skip() { echo "skipped: $*"; echo "0 passed, 0 failed"; exit 0; }
[ -z "${RUN:-}" ] || skip "the programs are another machine's"
[ "$(id -u)" -eq 0 ] || skip "a chroot needs root"
for tool in unshare chroot curl; do command -v $tool >/dev/null 2>&1 || skip "no $tool here"; done
unshare --pid --fork true 2>/dev/null || skip "no PID namespaces here"
grep -q -e -static build/static 2>/dev/null || skip "the programs are not static"

work=$(mktemp -d) || exit 1
root=$work/root
pids=
end() {
	status=$?
	trap - EXIT INT TERM
	for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
	wait 2>/dev/null
	if [ $status -eq 0 ]; then rm -rf "$work"; else echo "(kept: $work)"; fi
	exit $status
}
trap end EXIT
trap 'exit 130' INT TERM
passed=0 failed=0
check() {
	what=$1
	shift
	if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "not so: $what"; fi
}
await() { # await COMMAND...: asked again for 20 s at most
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ $tries -lt 400 ] || return 1
		sleep 0.05
	done
}
listening() { grep -q "^$2" "$1"; }

# The image's layout.
mkdir -p "$root/etc/ssl/certs" "$root/data"
cp server "$root/onlyonce-server"
cp agent "$root/onlyonce-agent"
printf '127.0.0.1 localhost target.test\n' >"$root/etc/hosts"
printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' >"$root/etc/resolv.conf"
chown 65532:65532 "$root/data"
chmod 700 "$root/data"
chmod 755 "$work" "$root"

# inside PROGRAM ARGS...: as process 1 of its own PID namespace, as nobody, in the empty tree
inside() { exec unshare --pid --fork --kill-child chroot --userspec=65532:65532 "$root" "$@"; }
child_of() { cat "/proc/$1/task/$1/children" 2>/dev/null | tr -d ' '; }

"$here/build/target" >"$work/target.out" 2>&1 &
pids="$pids $!"
await listening "$work/target.out" 'listening on ' || { echo "no target"; exit 1; }
port=$(sed -n 's/^listening on .*:\([0-9]*\).*/\1/p' "$work/target.out")

tls=no
if command -v openssl >/dev/null 2>&1; then
	(cd "$work" && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem -addext basicConstraints=critical,CA:TRUE &&
		openssl req -newkey rsa:2048 -nodes -subj /CN=x -keyout key.pem -out req.pem &&
		printf 'subjectAltName=DNS:target.test\n' >ext && openssl x509 -req -in req.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out cert.pem) >"$work/openssl.log" 2>&1 && tls=yes
	cp "$work/ca.pem" "$root/etc/ssl/certs/ca-certificates.crt"
	printf 'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"secure":true}' >"$work/data"
	(cd "$work" && exec openssl s_server -accept 127.0.0.1:0 -cert cert.pem -key key.pem -HTTP) >"$work/tls.out" 2>&1 </dev/null &
	pids="$pids $!"
	await listening "$work/tls.out" 'ACCEPT ' || tls=no
	tls_port=$(sed -n 's/^ACCEPT .*:\([0-9]*\)$/\1/p' "$work/tls.out" | head -n 1)
fi

(inside /onlyonce-server --listen=127.0.0.1:0 --db-path=/data/commands.db) >"$work/server.out" 2>"$work/server.log" &
server=$!
pids="$pids $server"
check "the server starts in an empty directory" await listening "$work/server.out" 'listening on '
url=$(sed -n 's/^listening on //p' "$work/server.out")
(inside /onlyonce-agent --server-url="$url" --agent-id=box --slots=2 --poll-interval-ms=200 --journal-path=/data/agent.db --http-timeout-ms=20000) >"$work/agent.log" 2>&1 &
agent=$!
pids="$pids $agent"

# fetch URL: the settled command
settled() { answer=$(curl -s "$url/api/commands/$id"); case $answer in *'"status":"COMPLETED"'* | *'"status":"FAILED"'*) return 0 ;; esac; return 1; }
fetch() {
	id=$(curl -s -H 'Content-Type: application/json' -d "{\"type\":\"HTTP_GET_JSON\",\"payload\":{\"url\":\"$1\"}}" "$url/api/commands" | sed -n 's/^{"id":"\([^"]*\)".*/\1/p')
	answer=
	[ -n "$id" ] && await settled
}
answer_has() { case $answer in *"$1"*) return 0 ;; esac; echo "$answer"; return 1; }

fetch "http://127.0.0.1:$port/count/a"
check "a command goes through server and agent" answer_has '"status":"COMPLETED"'
fetch "http://target.test:$port/count/a"
check "a name of /etc/hosts is looked up in the empty tree" answer_has '"status":"COMPLETED"'
fetch "http://nowhere.test:$port/"
check "a name that nobody knows costs that command only" answer_has '"status":"FAILED"'
fetch "http://target.test:$port/count/b"
check "the agent works on after it" answer_has '"status":"COMPLETED"'
if [ $tls = yes ]; then
	fetch "https://target.test:$tls_port/data"
	case $answer in
	*'not built in'*) echo "https is not built in: not tried" ;;
	*) check "https is fetched with the tree's CA bundle" answer_has '"body":{"secure":true}'
		fetch "https://localhost:$tls_port/data"
		check "a certificate for another name is refused" answer_has '"status":"FAILED"' ;;
	esac
fi
check "--health needs no shell" chroot --userspec=65532:65532 "$root" /onlyonce-server --listen="${url#http://}" --health >/dev/null
check "database and journal are their owner's alone" [ "$(ls -ln "$root/data" | awk 'NR > 1 && ($1 !~ /^-rw-------/ || $3 != 65532)' | wc -l)" -eq 0 ]
check "nothing else was written" [ "$(find "$root" -type f ! -path "$root/data/*" | wc -l)" -le 5 ]

# Process 1 of a namespace gets no default action of any signal: the programs must take SIGTERM themselves.
kill -TERM "$(child_of "$agent")"
wait "$agent"
check "SIGTERM ends the agent as process 1, status 0" [ $? -eq 0 ]
kill -TERM "$(child_of "$server")"
wait "$server"
check "SIGTERM ends the server as process 1, status 0" [ $? -eq 0 ]
check "--health says that nobody is there" sh -c "! chroot '$root' /onlyonce-server --listen='${url#http://}' --health >/dev/null"
(inside /onlyonce-agent --server-url="$url" --journal-path=/data/agent.db --kill-after=1) >>"$work/agent.log" 2>&1 &
agent=$!
pids="$pids $agent"
wait "$agent"
check "--kill-after ends process 1 too, status 137" [ $? -eq 137 ]
chroot --userspec=65532:65532 "$root" /onlyonce-server --audit /data/commands.db /data/agent.db >"$work/audit"
check "the records prove that nothing ran twice" [ $? -eq 0 ]
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
