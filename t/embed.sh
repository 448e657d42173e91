#!/bin/sh
# embed.sh OUT: turns migrations/server/NNNN_name.sql and migrations/agent/NNNN_name.sql into OUT, a C file with the two tables that db.h declares.
# The numbers must run from 0001 without a gap.
set -eu
out=$1
trap 'rm -f "$out.new"' EXIT

table() {
	want=1
	printf '\nconst struct db_migration db_%s_migrations[] = {\n' "$1"
	for file in migrations/"$1"/*; do
		name=$(basename "$file")
		number=$(printf '%04d' $want)
		case $name in
		"$number"_*.sql) ;;
		*) echo "embed: $file: expected migrations/$1/${number}_name.sql" >&2; exit 1 ;;
		esac
		title=${name#*_}
		printf '\t{ %d, "%s",\n' $want "${title%.sql}"
		sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/	/\\t/g' -e 's/^/\t\t"/' -e 's/$/\\n"/' "$file"
		printf '\t},\n'
		want=$((want + 1))
	done
	printf '\t{ 0, NULL, NULL },\n};\n'
}

{
	printf '/* Made from migrations/ by t/embed.sh. */\n#include "db.h"\n'
	table server
	table agent
} >"$out.new"
mv "$out.new" "$out"
