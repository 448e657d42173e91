#!/bin/sh
# fuzz.sh [SECONDS [NAME...]]: each fuzzer (t/fuzz/NAME_fuzz.c: json url http env args call) for SECONDS (10), with the address and undefined-behaviour
# sanitizers; its seeds are in t/fuzz/seeds/NAME, what it finds goes to build/fuzz/NAME. One line each, then "N passed, N failed".
# With clang's libFuzzer where it is there; else the seeds and small changes of them, by t/fuzz/replay.c. For AFL++:
#   afl-clang-fast -g -fsanitize=address -o json_afl t/fuzz/json_fuzz.c t/fuzz/replay.c json.c util.c; afl-fuzz -i t/fuzz/seeds/json -o out -- ./json_afl @@
set -u
cd "$(dirname "$0")/.." || exit 1
here=$(pwd)
seconds=${1:-10}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- json url http env args call
common='-std=c99 -D_POSIX_C_SOURCE=200809L -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined'
mkdir -p build/fuzz || exit 1
echo 'int LLVMFuzzerTestOneInput(const unsigned char *p, unsigned long n); int LLVMFuzzerTestOneInput(const unsigned char *p, unsigned long n) { return p && n > 99999999; }' >build/fuzz/try.c
kind=replay cc=${CC:-cc}
for clang in "$cc" clang; do
	command -v "$clang" >/dev/null 2>&1 && $clang -fsanitize=fuzzer,address -o build/fuzz/try build/fuzz/try.c >/dev/null 2>&1 && kind=libfuzzer && cc=$clang && break
done
[ $kind = libfuzzer ] || echo "fuzz: no libFuzzer here (clang and its runtime): the seeds and changes of them are played"

sources() {
	case $1 in
	json) echo json.c util.c ;;
	url) echo url.c util.c ;;
	http) echo http.c url.c util.c ;;
	env | args) echo conf.c util.c url.c guard.c ;;
	call) echo t/fakeworld.c call.c conn.c http.c url.c json.c loop.c lookup.c guard.c tls.c env.c util.c ;;
	esac
}

passed=0 failed=0
for name in "$@"; do
	out=build/fuzz/$name
	rm -rf "$out" && mkdir -p "$out/corpus" || exit 1
	more=t/fuzz/replay.c
	[ $kind = libfuzzer ] && more=-fsanitize=fuzzer
	# shellcheck disable=SC2046,SC2086
	if ! $cc $common $more -o "$out/fuzz" "t/fuzz/${name}_fuzz.c" $(sources "$name") >"$out/log" 2>&1; then
		tail -n 10 "$out/log"
		echo "$name: does not build"
		failed=$((failed + 1))
		continue
	fi
	# In its own directory: what is found is kept there, and no .env is read.
	if [ $kind = libfuzzer ]; then
		(cd "$out" && ./fuzz -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 corpus "$here/t/fuzz/seeds/$name") >>"$out/log" 2>&1
	else
		(cd "$out" && ./fuzz --mutate $((seconds * 200)) "$here/t/fuzz/seeds/$name"/*) >>"$out/log" 2>&1
	fi
	if [ $? -eq 0 ]; then
		passed=$((passed + 1)) word='nothing found'
	else
		failed=$((failed + 1)) word="FAILED, see $out"
		tail -n 30 "$out/log"
	fi
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/log")
	speed=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$out/log")
	printf '%-5s %s runs in %s s, %s a second: %s\n' "$name" "${runs:-some}" "$seconds" "${speed:-some}" "$word"
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
