#!/bin/sh
# demo.sh: the promise, seen. A real server, a real agent and a small target that counts how often each command really ran; then kill -9, three
# times. Ends with a table, and with status 0 only if no command was lost and none that is not idempotent ran twice.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d) || exit 1
server_pid= agent_pid= target_pid= secure_pid=
end() {
	status=$?
	trap - EXIT INT TERM
	for pid in $agent_pid $server_pid $target_pid $secure_pid; do kill -9 "$pid" 2>/dev/null; done
	wait 2>/dev/null
	if [ $status -eq 0 ]; then rm -rf "$work"; else echo "(what the programs said is in $work)"; fi
	exit $status
}
trap end EXIT
trap 'exit 130' INT TERM
cd "$work" || exit 1

if [ -t 1 ]; then bold=$(printf '\033[1m') dim=$(printf '\033[2m') plain=$(printf '\033[0m'); else bold= dim= plain=; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
note() { printf '  %s\n' "$*"; }
die() { echo "demo: $*" >&2; exit 1; }
# until_true WHAT COMMAND...: asks again until it is so, 20 s at most
until_true() {
	what=$1 tries=0
	shift
	until "$@"; do
		tries=$((tries + 1))
		[ $tries -lt 400 ] || die "waited too long until $what"
		sleep 0.05
	done
}
text() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

listening() { grep -q '^listening on ' "$1"; }
start_server() {
	"$here/server" --listen="${address:-127.0.0.1:0}" --lease-ms=1500 --db-path=commands.db >server.out 2>>server.log &
	server_pid=$!
	until_true "the server listens" listening server.out
	url=$(sed -n 's/^listening on //p' server.out) address=${url#http://}
}
start_agent() {
	"$here/agent" --server-url="$url" --agent-id=worker --slots=4 --poll-interval-ms=500 --journal-path=agent.db ${secure:+--tls-ca-file=ca.pem} >>agent.log 2>&1 &
	agent_pid=$!
}
# A target over https, with a certificate for localhost from a CA of the demo's own making. Sets secure where that can be had: https built in, openssl here.
start_secure() {
	secure=
	grep -q WITH_TLS "$here/build/cflags" || { note "(https is not built in here)"; return; }
	printf 'subjectAltName=DNS:localhost\n' >ext
	printf 'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"secure":true}' >data
	{ openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=demo-ca -keyout ca.key -out ca.pem -addext basicConstraints=critical,CA:TRUE &&
		openssl req -newkey rsa:2048 -nodes -subj /CN=demo -keyout key.pem -out req.pem &&
		openssl x509 -req -in req.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out cert.pem; } >openssl.log 2>&1 || { note "(no openssl here that makes certificates)"; return; }
	openssl s_server -accept 127.0.0.1:0 -cert cert.pem -key key.pem -HTTP >secure.out 2>&1 </dev/null &
	secure_pid=$!
	until_true "the https target listens" grep -q '^ACCEPT ' secure.out
	secure=https://localhost:$(sed -n 's/^ACCEPT .*:\([0-9]*\)$/\1/p' secure.out | head -n 1)
}
# The shell's own word on who was killed is kept out of the story.
shoot() { kill -9 "$1"; wait "$1" 2>/dev/null; }

count=0
# create NAME IDEMPOTENT TYPE PAYLOAD: remembers the id the server acknowledged
create() {
	count=$((count + 1))
	id=$(curl -s -H 'Content-Type: application/json' -H "Idempotency-Key: $1" -d "{\"type\":\"$3\",\"payload\":$4,\"isIdempotent\":$2}" "$url/api/commands" | text id)
	[ -n "$id" ] || die "the server did not acknowledge $1"
	echo "$1 $2 $3 $id" >>commands
}
get_slow() { create "$1" "$2" HTTP_GET_JSON "{\"url\":\"$target/slow/$1?ms=$3\"}"; }
look() { curl -s "$url/api/commands/$(sed -n "s/^$1 .* //p" commands)"; }
ran() { curl -s "$target/count/$1" | sed 's/.*"n":\([0-9]*\).*/\1/'; }
ran_once() { [ "$(ran "$1")" -ge 1 ]; }
is() { [ "$(look "$1" | text status)" = "$2" ]; }
ended() { ! curl -s "$url/api/commands?status=PENDING" | grep -q '"id"' && ! curl -s "$url/api/commands?status=RUNNING" | grep -q '"id"'; }

say "onlyonce: commands that survive any crash, and run twice only if you said that twice is safe"
"$here/build/target" >target.out 2>&1 &
target_pid=$!
until_true "the target listens" listening target.out
target=$(sed -n 's/^listening on //p' target.out)
start_secure
start_server
start_agent
note "a server at $url (SQLite, lease 1.5 s), one agent with four slots (its own journal),"
note "and a target at $target that counts how often each command really reaches it"

say "1. Nothing goes wrong"
create delay false DELAY '{"ms":200}'
get_slow plain false 0
until_true "both are done" is delay COMPLETED
until_true "both are done" is plain COMPLETED
note "DELAY and HTTP_GET_JSON: both COMPLETED; the target answered $(look plain | grep -o '"body":{[^}]*}')"
if [ -n "$secure" ]; then
	create https false HTTP_GET_JSON "{\"url\":\"$secure/data\"}"
	create https-other-name false HTTP_GET_JSON "{\"url\":\"https://127.0.0.1:${secure##*:}/data\"}"
	until_true "the https target was read" is https COMPLETED
	until_true "the other one is refused" is https-other-name FAILED
	note "over https, with a CA of its own: COMPLETED, $(look https | grep -o '"body":{[^}]*}'); under a name that its certificate does not hold: FAILED"
fi

say "2. kill -9 the agent in the middle of two commands"
get_slow charge-card false 1500
get_slow read-sensor true 1500
until_true "charge-card runs" ran_once charge-card
until_true "read-sensor runs" ran_once read-sensor
shoot "$agent_pid"
note "both had reached the target when the agent died; it left 'STARTED' in its journal, and no end"
start_agent
note "the agent is back: it tells the server so before it asks for work"
until_true "charge-card is judged" is charge-card FAILED
until_true "read-sensor is done" is read-sensor COMPLETED
note "read-sensor is idempotent: it was run again, and is $(look read-sensor | text status)"
note "charge-card is not: nobody can know whether the card was charged, so it is"
note "$(look charge-card | text status), failureCode $(look charge-card | text failureCode), needsReview true: a person is asked"

say "3. kill -9 the server while a command runs"
get_slow send-mail false 1500
until_true "send-mail runs" ran_once send-mail
shoot "$server_pid"
note "the agent works on and keeps the result in its journal until somebody listens"
start_server
until_true "send-mail is done" is send-mail COMPLETED
note "the server is back, hears the result: send-mail is $(look send-mail | text status), run $(ran send-mail) time"

say "4. kill -9 both in the middle of a queue of twelve"
n=1
while [ $n -le 12 ]; do get_slow "order-$n" false 400; n=$((n + 1)); done
until_true "the queue moves" ran_once order-2
shoot "$server_pid"
shoot "$agent_pid"
note "both are gone; $(curl -s "$target/counts" | grep -o 'order-' | wc -l | tr -d ' ') of twelve orders had reached the target"
start_agent
start_server
until_true "nothing is left to do" ended

say "What happened"
good=yes
printf '  %s%-16s  %-10s  %-8s  %-10s  %s%s\n' "$bold" command idempotent executed status why "$plain"
while read -r name idempotent type id; do
	c=$(look "$name")
	status=$(printf '%s' "$c" | text status)
	why=$(printf '%s' "$c" | text failureCode)
	case $name in delay | https*) times=- ;; *) times=$(ran "$name") ;; esac
	error=$(printf '%s' "$c" | sed -n 's/.*"error":"\([^"]*\)","failureCode".*/\1/p')
	case $c in
	*'"needsReview":true'*) why="$why, needs review: $error" ;;
	*) why="$why${why:+: }$error" ;;
	esac
	[ "$times" != 2 ] || why="run again after the crash, which its owner allowed"
	mark=
	if [ -z "$status" ]; then mark=' LOST' good=no; fi
	if [ "$idempotent" = false ] && [ "$times" != - ] && [ "$times" -gt 1 ]; then mark=' TWICE' good=no; fi
	if [ "$status" = COMPLETED ] && [ "$times" = 0 ]; then mark=' NEVER RUN' good=no; fi
	printf '  %-16s  %-10s  %-8s  %-10s  %s%s\n' "$name" "$idempotent" "$times" "$status" "$why" "$mark"
done <commands

say "The records of both sides, held against each other (server --audit)"
"$here/server" --audit commands.db agent.db >audit || good=no
sed 's/^/  /' audit
say "The story of charge-card, as the server tells it"
curl -s "$url/api/commands/$(sed -n 's/^charge-card .* //p' commands)/events" | tr '{' '\n' | sed -n 's/.*"kind":"\([^"]*\)","actor":"\([^"]*\)".*"verdict":"\([^"]*\)","detail":"\([^"]*\)".*/  \1 by \2: \4. Now: \3/p'
if [ $good = yes ]; then
	say "$count commands acknowledged, none lost, none run twice that must not be. The promise held."
else
	say "THE PROMISE DID NOT HOLD"
	exit 1
fi
