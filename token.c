/* token: reads a secret once, at start. The file is looked at through its open descriptor, so that what was checked is what was read. */
#include "token.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN_MAX 512

static bool private_file(int fd, const char *file, struct buf *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		buf_fmt(err, "%s: %s", file, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		buf_fmt(err, "%s: a token file must be a regular file", file);
	else if (st.st_mode & (S_IRWXG | S_IRWXO))
		buf_fmt(err, "%s: others than its owner may use this token file: chmod 600 it", file);
	else
		return true;
	return false;
}

static bool read_file(const char *file, struct buf *text, struct buf *err)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	bool good;
	ssize_t n;

	if (fd < 0) {
		buf_fmt(err, "%s: %s", file, strerror(errno));
		return false;
	}
	good = private_file(fd, file, err);
	n = good ? read(fd, buf_room(text, 2 * TOKEN_MAX), 2 * TOKEN_MAX) : 0;
	if (n < 0)
		buf_fmt(err, "%s: %s", file, strerror(errno));
	else
		text->len += (size_t)n;
	close(fd);
	return good && n >= 0;
}

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* Drops the white space around it and checks the rest. */
static bool trim(const struct buf *text, const char *from, struct buf *out, struct buf *err)
{
	const char *p = text->data ? text->data : "";
	size_t n = text->len;

	for (; n > 0 && blank(*p); p++)
		n--;
	while (n > 0 && blank(p[n - 1]))
		n--;
	for (size_t i = 0; i < n; i++)
		if (p[i] <= ' ' || p[i] > '~')
			n = TOKEN_MAX + 1;
	if (n < 1 || n > TOKEN_MAX) {
		buf_fmt(err, "%s: a token is 1 to %d visible ASCII characters", from, TOKEN_MAX);
		return false;
	}
	buf_add(out, p, n);
	return true;
}

bool token_read(const char *file, const char *value, struct buf *out, struct buf *err)
{
	struct buf text = {0};
	bool good = true;

	if (file)
		good = read_file(file, &text, err) && trim(&text, file, out, err);
	else if (value) {
		buf_str(&text, value);
		good = trim(&text, "token", out, err);
	}
	buf_free(&text);
	return good;
}
