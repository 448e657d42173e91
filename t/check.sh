#!/bin/sh
# check.sh "PROGRAM [WORDS]"...: runs the tests one after another, each with a deadline, shows what a failing one said, and counts cases over all. One that
# says "skipped: why" and runs nothing is told so; one that runs nothing without a word has failed.
# LIMIT: seconds a program may take (120). RUN: what runs the programs: of another machine (t/ports.sh), or under valgrind.
set -u
limit=${LIMIT:-120} passed=0 failed=0 broken=
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
for program in "$@"; do
	case $program in *.sh) set -- sh "$program" ;; *) set -- ${RUN:-} ./$program ;; esac
	# A killed node's memory is nobody's: of the simulation no leak is asked for.
	case $program in build/sim*) leaks=detect_leaks=0 ;; *) leaks= ;; esac
	started=$(date +%s)
	ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}$leaks "$@" >"$log" 2>&1 &
	pid=$!
	( sleep "$limit" & nap=$!; trap 'kill $nap 2>/dev/null' TERM; wait $nap && kill -9 $pid 2>/dev/null ) &
	watch=$!
	wait $pid
	status=$?
	kill $watch 2>/dev/null
	wait $watch 2>/dev/null
	p=$(awk '/^\[  PASSED  \] [0-9]+ test/ {n += $4} /^[0-9]+ passed, [0-9]+ failed/ {n += $1} END {print n + 0}' "$log")
	f=$(awk '/^\[  FAILED  \] [0-9]+ test/ {n += $4} /^[0-9]+ passed, [0-9]+ failed/ {n += $3} END {print n + 0}' "$log")
	[ $status -eq 0 ] || [ "$f" -gt 0 ] || f=1
	if [ $status -eq 0 ] && [ $((p + f)) -eq 0 ]; then
		why=$(sed -n 's/^skipped: //p' "$log")
		[ -z "$why" ] || { printf '%-24s skipped: %s\n' "$(basename "${program%% *}")" "$why"; continue; }
		status=1 f=1
		echo "$program ran no test" >>"$log"
	fi
	printf '%-24s %4d passed, %d failed  (%d s)\n' "$(basename "${program%% *}")" "$p" "$f" $(($(date +%s) - started))
	[ $status -eq 0 ] && [ "$f" -eq 0 ] || { broken="$broken $program"; tail -n 60 "$log"; echo "($program ended with status $status)"; }
	passed=$((passed + p)) failed=$((failed + f))
done
[ -z "$broken" ] || echo "failed:$broken"
echo "$passed passed, $failed failed"
[ -z "$broken" ]
