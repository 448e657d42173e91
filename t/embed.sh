#!/bin/sh
# embed.sh OUT: turns migrations/server/NNNN_name.sql and migrations/agent/NNNN_name.sql into OUT, a C file with the two tables that db.h declares.
# The numbers must run from 0001 without a gap.
set -eu
export LC_ALL=C
out=$1
trap 'rm -f "$out.new"' EXIT

# Bytes, not string literals: C99 promises literals of 4095 characters only, and nothing needs escaping.
table() {
	want=1 rows=
	for file in migrations/"$1"/*; do
		number=$(printf '%04d' $want)
		name=$(basename "$file")
		title=${name#"${number}_"}
		title=${title%.sql}
		case $title in "" | *[!a-z0-9_]*) title= ;; esac
		[ "$name" = "${number}_$title.sql" ] && [ -n "$title" ] && [ -s "$file" ] || {
			echo "embed: $file: expected migrations/$1/${number}_name.sql, the name of a-z, 0-9 and _, not empty" >&2
			exit 1
		}
		printf '\nstatic const char %s_%s[] = {\n' "$1" "$number"
		od -An -v -to1 "$file" | sed -e "s/[0-7][0-7]*/'\\\\&',/g" -e 's/ //g'
		printf '0 };\n'
		rows="$rows	{ $want, \"$title\", ${1}_$number },
"
		want=$((want + 1))
	done
	printf '\nconst struct db_migration db_%s_migrations[] = {\n%s\t{ 0, NULL, NULL },\n};\n' "$1" "$rows"
}

{
	printf '/* Made from migrations/ by t/embed.sh. */\n#include "db.h"\n'
	table server
	table agent
} >"$out.new"
mv "$out.new" "$out"
