/* jsoncheck FILE: asks json_read alone whether FILE is JSON, for use with other people's collections of texts. Exit status 0: it is;
 * 1: it is not, one line on stderr says where and why; 2: FILE cannot be read. */
#include "../json.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PIECE = 65536 };

static bool read_file(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		return false;
	size_t n;
	while ((n = fread(buf_room(out, PIECE), 1, PIECE, f)) > 0)
		out->len += n;
	bool failed = ferror(f) != 0;
	return fclose(f) == 0 && !failed;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: jsoncheck FILE\n", stderr);
		return 2;
	}
	struct buf text = { 0 };
	struct json v;
	struct json_error err;
	int status = 0;
	if (!read_file(argv[1], &text)) {
		fprintf(stderr, "jsoncheck: %s: %s\n", argv[1], strerror(errno));
		status = 2;
	} else if (!json_read(text.data, text.len, JSON_DEPTH, &v, &err)) {
		fprintf(stderr, "jsoncheck: %s: byte %zu: %s\n", argv[1], err.offset, err.what);
		status = 1;
	}
	buf_free(&text);
	return status;
}
