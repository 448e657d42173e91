#!/bin/sh
# man_test.sh: do the man pages say what the programs know? Every setting and action of --help stands in its page, as a flag and in ENVIRONMENT; no
# page tells of a flag that is none; every route of api.c stands in the protocol's page; mandoc, where it is, finds no fault.
set -u
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0
check() { # check WHAT COMMAND...: one case
	what=$1
	shift
	if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "not so: $what"; fi
}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

has() { grep -q -e "$2" "$1"; }
has_heading() { grep -q "^\.Sh $2\$" "$1"; }

for program in server agent; do
	page=onlyonce-$program.8
	"./$program" --help >"$work/help" || exit 1
	# Settings: "  --name=value  NAME  ..." or "  (no flag)  NAME  ..."; actions: "  --name ...".
	sed -n '/^Settings/,/^Actions/s/^  \(--[a-z-]*\|(no flag)\)\(=[^ ]*\)\{0,1\} *\([A-Z_]*\) .*/\1 \3/p' "$work/help" | sed 's/(no flag)/-/' >"$work/settings"
	sed -n '/^Actions/,$s/^  --\([a-z-]*\).*/\1/p' "$work/help" >"$work/actions"
	check "$program --help lists settings and actions" [ "$(wc -l <"$work/settings")" -gt 10 -a "$(wc -l <"$work/actions")" -gt 4 ]
	while read -r flag name; do
		[ "$flag" = - ] || check "$page tells of $flag" has "$page" "^\.It Fl -${flag#--}\( \|\$\)"
		check "$page tells of $name" has "$page" "^\.It Ev $name\$"
	done <"$work/settings"
	while read -r action; do
		check "$page tells of --$action" has "$page" "^\.It Fl -$action\( \|\$\)"
	done <"$work/actions"
	{ sed 's/^--\([a-z-]*\) .*/\1/' "$work/settings"; cat "$work/actions"; } >"$work/known"
	for flag in $(sed -n 's/^\.It Fl -\([a-z-]*\).*/\1/p' "$page"); do
		check "$program knows --$flag" grep -qx -e "$flag" "$work/known"
	done
done
sed -n 's/^	{ "\([A-Z]*\)", "\(\/[^"]*\)", [a-z_]*,.*/\1 \2/p' api.c | sed 's/\*/ID/' >"$work/routes"
check "api.c has routes" [ "$(wc -l <"$work/routes")" -gt 5 ]
while read -r method path; do
	check "onlyonce-protocol.7 tells of $method $path" has onlyonce-protocol.7 "^$method  *$path "
done <"$work/routes"
for code in $(sed -n 's/.*\[CODE_[A-Z_]*\] = //; s/\[CODE_[A-Z_]*\] = //gp' answer.c | grep -o '"[A-Z_]*"' | tr -d '"') \
	$(sed -n '/\[FAILURE_/s/\[FAILURE_[A-Z_]*\] = //gp' command.c | grep -o '"[A-Z_]*"' | tr -d '"'); do
	check "onlyonce-protocol.7 tells of $code" has onlyonce-protocol.7 "$code"
done
for page in onlyonce-server.8 onlyonce-agent.8 onlyonce-protocol.7; do
	for heading in NAME SYNOPSIS DESCRIPTION ENVIRONMENT FILES 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
		check "$page has $heading" has_heading "$page" "$heading"
	done
done
# Which other pages this machine has is no fault of ours.
lint() { ! mandoc -Tlint -Wstyle "$1" 2>/dev/null | grep -v 'referenced manual not found'; }
if command -v mandoc >/dev/null 2>&1; then
	for page in onlyonce-*.[78]; do check "mandoc finds no fault in $page" lint "$page"; done
else
	echo "no mandoc here: the pages were not linted"
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
