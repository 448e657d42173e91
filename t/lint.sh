#!/bin/sh
# lint.sh [FILE...]: gcc -fanalyzer, cppcheck and clang-tidy, those that are here, over the sources. What they find and is not answered below is shown; one
# line each, then "N passed, N failed". An answer is a file, a check and the reason why the code stands as it is.
set -u
cd "$(dirname "$0")/.." || exit 1
std='-std=c99 -D_POSIX_C_SOURCE=200809L'
[ $# -gt 0 ] || set -- util.c env.c conf.c json.c url.c http.c loop.c tls.c lookup.c guard.c conn.c call.c db.c command.c store.c journal.c audit.c recover.c \
	dispatch.c answer.c claim.c api.c run.c report.c poll.c server.c agent.c
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
sed 's/#.*//' >"$work/answers" <<'ANSWERS'
conn.c unix.Malloc               # rings: the analyzer does not follow prev->next, and sees what was cut out still linked
claim.c unix.Malloc              # the same
dispatch.c unix.Malloc           # the same
api.c core.NonNullParamChecker   # Host without a name has length 0, and the lengths were compared before
conf.c core.NullDereference      # a value is "" where there is none
util.c valist.Uninitialized      # va_start stands in every caller
url.c not-null-terminated-result # slices have no terminator
conf.c branch-clone              # two reasons with one word
call.c misplaced-widening-cast   # for %llu; no sum overflows a body that is in memory
audit.c sizeof-expression        # a table of pointers
dispatch.c sizeof-expression     # the same
api.c nullPointer                # no parameters are looked at where there are none: count is 0
conf.c funcArgOrderDifferent     # p, n, err: the same names by chance
ANSWERS

passed=0 failed=0
judge() {
	while read -r file check; do
		[ -z "$file" ] || { grep "$file:.*$check" "$work/found" >>"$work/answered"; grep -v "$file:.*$check" "$work/found" >"$work/rest"; mv "$work/rest" "$work/found"; }
	done <"$work/answers"
	cat "$work/found"
	n=$(wc -l <"$work/found")
	printf '%-14s %d files, %d findings not answered\n' "$1" "$2" "$n"
	if [ "$n" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

if gcc -fanalyzer --version >/dev/null 2>&1; then
	for f in "$@"; do
		# shellcheck disable=SC2086,SC2046
		gcc $std -pedantic -Wall -Wextra -Wshadow -Wconversion -O2 -fanalyzer $(cat build/cflags) -c -o /dev/null "$f" 2>&1 | grep 'warning:\|error:'
	done >"$work/found"
	judge 'gcc -fanalyzer' $#
fi
if command -v cppcheck >/dev/null 2>&1; then
	cppcheck --std=c99 --enable=warning,performance,portability -q --suppress=missingIncludeSystem -D_POSIX_C_SOURCE=200809L -I. "$@" 2>&1 |
		grep ': \(error\|warning\|performance\|portability\):' >"$work/found"
	judge cppcheck $#
fi
# Not asked: arguments that could be swapped, and conversions of small constants, which -Wconversion judges better; strcpy, which is given room; the results of
# snprintf and fputs to stderr, which there is nobody to tell about.
if command -v clang-tidy >/dev/null 2>&1; then
	# shellcheck disable=SC2086
	clang-tidy --quiet -checks='-*,clang-analyzer-*,bugprone-*,-bugprone-easily-swappable-parameters,-bugprone-implicit-widening-of-multiplication-result,-bugprone-narrowing-conversions,-clang-analyzer-security.insecureAPI.strcpy' \
		"$@" -- $std -I. 2>/dev/null | grep 'warning:\|error:' >"$work/found"
	judge clang-tidy $#
fi
[ $((passed + failed)) -gt 0 ] || echo "lint: no analyzer is here (gcc, cppcheck, clang-tidy)"
[ ! -f "$work/answered" ] || echo "$(wc -l <"$work/answered") findings are answered in t/lint.sh"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
