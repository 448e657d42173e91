#!/bin/sh
# valgrind.sh PROGRAM: under valgrind's memory checker. An error or a leak of the program itself fails it; what it forks is silent, for that ends without freeing.
set -u
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
valgrind --leak-check=full --child-silent-after-fork=yes --log-file="$log" "$@"
status=$?
grep -q 'ERROR SUMMARY: 0 errors' "$log" && exit $status
tail -n 60 "$log"
exit 1
