#!/bin/sh
# link.sh CC ARGS...: links one of the two programs, static where config.sh found that this works. One warning is kept quiet: that a static
# getaddrinfo loads libraries at run time. It is called in a forked child only, so that what goes wrong there costs one lookup.
set -u
echo "$@ $(cat build/static build/libs | tr '\n' ' ')"
log=$("$@" $(cat build/static) $(cat build/libs) 2>&1)
status=$?
[ -z "$log" ] || printf '%s\n' "$log" | grep -v -e 'in statically linked applications requires at runtime the shared libraries' -e ": in function \`" -e ': In function `' >&2
exit $status
