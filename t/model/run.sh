#!/bin/sh
# The model, checked: every configuration must be free of errors, every fault, hole and limit must be found, by the property it is known to break.
# Usage: run.sh [fast]          all of them, or those of a few seconds
#        run.sh trace NAME      the story of one error, in the model's words
# Needs spin and a C compiler; builds in a directory of its own and leaves nothing behind.

here=$(cd "$(dirname "$0")" && pwd) || exit 1
mode=${1:-all}
only=${2:-}

for tool in spin "${CC:-cc}"; do
	if ! command -v "$tool" >/dev/null 2>&1; then
		echo "model: $tool is not installed: nothing was checked"
		exit 0
	fi
done

dir=$(mktemp -d "${TMPDIR:-/tmp}/model.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir" || exit 1
model=$here/onlyonce.pml
if [ "$mode" = trace ]; then
	sed 's/^hidden //' "$model" >told.pml           # breadth-first search, for the shortest story, allows no hidden variables
	model=told.pml
fi
passed=0
failed=0

# Which property an error is, by the text of its assertion in onlyonce.pml.
property() {
	case $(grep '^pan:1:' out) in
	'') echo none ;;
	*'starts<='*) echo G3 ;;
	*'g_held==3'*) echo G4 ;;
	*'st==w_st'* | *'n==att'*) echo G5 ;;
	*begun* | *'fc==7'*) echo G6 ;;
	*'acceptance cycle'*) echo G7 ;;
	*'g_held!=0'* | *'over&&'*) echo EVIDENCE ;;
	*'an[i]==att'*) echo LATE ;;
	*) echo unknown ;;
	esac
}

# build OPT FLAGS...: pan, for safety, or for the claim under weak fairness where -DCALM=1 is among the flags
build() {
	opt=$1
	shift
	spin -a "$@" "$model" >spin.out 2>&1 || return 1
	case " $* " in
	*' -DCALM=1 '*) check='-DNFAIR=3' args='-a -f' ;;
	*) check='-DSAFETY -DNOCLAIM' args='-E' ;;
	esac
	[ "$mode" = trace ] && [ "$args" = -E ] && check="$check -DBFS"      # the shortest story
	# shellcheck disable=SC2086
	"${CC:-cc}" "$opt" -w $check -DVECTORSZ=512 -DMEMLIM=4000 -o pan pan.c >cc.out 2>&1
}

# verify NAME EXPECT OPT FLAGS...: EXPECT is none, or the property that must fall
verify() {
	name=$1 expect=$2
	shift 2
	rm -f pan pan.? out ./*.trail
	if ! build "$@"; then
		printf '%-22s does not build\n' "$name"
		cat spin.out cc.out 2>/dev/null
		failed=$((failed + 1))
		return
	fi
	# shellcheck disable=SC2086
	./pan $args -m100000 -w22 >out 2>&1
	found=$(property)
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' out)
	depth=$(sed -n 's/.*depth reached \([0-9]*\),.*/\1/p' out)
	errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' out)
	verdict=ok
	[ "$found" = "$expect" ] && [ -n "$errors" ] || verdict="FAILED, expected $expect"
	if grep -qE 'too small|out of memory|memory limit|max search depth' out; then
		verdict='FAILED, not exhaustive'
	fi
	printf '%-22s %9s states, depth %6s, errors %s, breaks %-8s %s\n' "$name" "${states:-?}" "${depth:-?}" "${errors:-?}" "$found" "$verdict"
	if [ "$verdict" = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

# The model's numbers in words.
words='s/kind 1:/HEARTBEAT:/;s/kind 2:/INTERRUPTED:/;s/kind 3:/COMPLETED:/;s/kind 4:/FAILED:/;s/kind 5:/NOT_STARTED:/
s/poll\(.*\)answer 0,/poll\1answer 204,/;s/answer 0,/answer 200,/;s/answer 1,/answer 200, an assignment,/;s/answer 2,/answer 409 AGENT_CONFLICT,/
s/answer 3,/answer 409 STALE_ATTEMPT,/;s/answer 4,/answer 409 ALREADY_SETTLED,/;s/answer 5,/answer 409 NOT_HOLDER,/
s/status 0 code 0/PENDING/;s/status 1 code 0/RUNNING/;s/status 2 code 0/COMPLETED/;s/status 3/FAILED/
s/code 1/EXECUTION_FAILED/;s/code 2/OUTCOME_UNKNOWN/;s/code 3/EVIDENCE_LOST/;s/code 4/AGENT_LOST/;s/code 5/NEVER_STARTED/;s/code 6/ATTEMPTS_EXHAUSTED/;s/code 7/CANCELLED/;s/code 8/OPERATOR_FAILED/
s/of \([0-9]\),/of agent \1,/'

tell() {
	shift 3
	spin -t -k ./*.trail "$@" "$model" | grep -E '^ *(server|agent [01]|client|operator|network):' | sed -e 's/^ *//' -e "$words"
}

# speed, name, what must be found, optimisation, flags
while read -r speed name expect flags; do
	case $speed in '#'* | '') continue ;; esac
	[ "$mode" = fast ] && [ "$speed" = slow ] && continue
	[ "$mode" = trace ] && [ "$name" != "$only" ] && continue
	# shellcheck disable=SC2086
	verify "$name" "$expect" $flags
	# shellcheck disable=SC2086
	[ "$mode" = trace ] && tell "$name" "$expect" $flags
done <<'END'
# The protocol as written.
fast plain              none     -O0 -DCRASHES=1
fast retry              none     -O0 -DCRASHES=0 -DRETRIES=1
slow plain-2            none     -O0 -DCRASHES=2 -DNOROOM=1 -DRETRIES=1
fast idempotent-0       none     -O0 -DIDEM=1 -DCRASHES=0
slow idempotent         none     -O0 -DIDEM=1 -DCRASHES=2
fast slots              none     -O0 -DSHARED=1 -DCRASHES=1
slow slots-2            none     -O0 -DSHARED=1 -DCRASHES=2
slow slots-retry        none     -O0 -DSHARED=1 -DCRASHES=1 -DRETRIES=1
fast journal-lost       none     -O0 -DLOSSES=1 -DCRASHES=1
slow journal-lost-2     none     -O0 -DLOSSES=1 -DCRASHES=2
fast journal-back       none     -O0 -DROLLBACKS=1 -DCRASHES=2 -DAGENTS=1
slow journal-back-2     none     -O0 -DROLLBACKS=1 -DCRASHES=2
fast database-back      none     -O0 -DPUTBACKS=1 -DCRASHES=1 -DAGENTS=1
slow database-back-2    none     -O2 -DPUTBACKS=1 -DCRASHES=1 -DAGENTS=1 -DRETRIES=1
slow database-back-idem none     -O0 -DPUTBACKS=1 -DCRASHES=1 -DAGENTS=1 -DIDEM=1
fast g7                 none     -O0 -DCALM=1 -DCRASHES=1
slow g7-idempotent      none     -O0 -DCALM=1 -DCRASHES=1 -DIDEM=1
slow g7-slots           none     -O0 -DCALM=1 -DCRASHES=1 -DSHARED=1
# With the rules README.md proposes (OLD_POLL, RESEND, CHAIN).
fast old-poll-0         none     -O0 -DCRASHES=0 -DCANCELS=1 -DRESOLVES=1 -DOLD_POLL=1 -DHONEST=1
slow old-poll           none     -O2 -DCRASHES=1 -DCANCELS=1 -DRESOLVES=1 -DRETRIES=1 -DOLD_POLL=1 -DHONEST=1
slow g7-old-poll        none     -O0 -DCALM=1 -DCRASHES=1 -DCANCELS=1 -DOLD_POLL=1 -DHONEST=1
slow resend             none     -O0 -DPUTBACKS=1 -DCRASHES=0 -DRESEND=1
fast chain              none     -O0 -DROLLBACKS=1 -DCRASHES=3 -DAGENTS=1 -DLIMIT=2 -DCHAIN=1
# Holes in the rules as written; each closed by the rule above.
fast hole-cancel        LATE     -O0 -DCRASHES=0 -DCANCELS=1
fast hole-never-started G6       -O0 -DCRASHES=0 -DHONEST=1
fast hole-resolve       LATE     -O0 -DCRASHES=0 -DRESOLVES=1
slow hole-g4-wording    G4       -O0 -DIDEM=1 -DCRASHES=1 -DMAXATT=3 -DLIMIT=4
# Limits that section 2 states: they are real.
fast limit-same-boot    G3       -O0 -DROLLBACKS=1 -DCRASHES=2 -DAGENTS=1 -DLIMIT=1
fast limit-unheard-boot G3       -O0 -DROLLBACKS=1 -DCRASHES=3 -DAGENTS=1 -DLIMIT=2
fast limit-database     G3       -O0 -DPUTBACKS=1 -DCRASHES=0
# Faults: one rule left out of each.
fast fault-01-no-check  G3       -O0 -DFAULT=1 -DPUTBACKS=1 -DCRASHES=0 -DAGENTS=1
fast fault-02-effect    G3       -O0 -DFAULT=2
fast fault-03-beat      EVIDENCE -O0 -DFAULT=3 -DIDEM=1
fast fault-03-beat-g6   G6       -O0 -DFAULT=3 -DCANCELS=1 -DHONEST=1 -DOLD_POLL=1
fast fault-04-deleted   G3       -O0 -DFAULT=4 -DPUTBACKS=1 -DCRASHES=0 -DAGENTS=1
fast fault-05-tombstone G3       -O0 -DFAULT=5
fast fault-06-attempt   G5       -O0 -DFAULT=6
fast fault-07-requeue   G3       -O0 -DFAULT=7
fast fault-08-stale     LATE     -O0 -DFAULT=8 -DRESOLVES=1 -DOLD_POLL=1
fast fault-09-poll      EVIDENCE -O0 -DFAULT=9
fast fault-10-lease     G3       -O0 -DFAULT=10
slow fault-11-durable   EVIDENCE -O0 -DFAULT=11 -DIDEM=1 -DREBOOTS=1
fast fault-12-rollback  G3       -O0 -DFAULT=12 -DROLLBACKS=1 -DCRASHES=2 -DAGENTS=1
fast fault-13-reply     G3       -O0 -DFAULT=13 -DREBOOTS=1
slow fault-14-overruled EVIDENCE -O0 -DFAULT=14 -DRETRIES=1
fast fault-15-order     G5       -O0 -DFAULT=15 -DNOROOM=1
fast fault-16-verdict   G3       -O0 -DFAULT=16
fast fault-17-settled   G5       -O0 -DFAULT=17 -DRESOLVES=1 -DOLD_POLL=1
fast fault-18-journal   G3       -O0 -DFAULT=18 -DLOSSES=1
fast fault-19-debts     G6       -O0 -DFAULT=19 -DCANCELS=1 -DOLD_POLL=1 -DHONEST=1
fast fault-20-no-lease  G7       -O0 -DFAULT=20 -DCALM=1
END

[ $((passed + failed)) -gt 0 ] || { echo "run.sh: nothing is called '$only'"; exit 2; }
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
