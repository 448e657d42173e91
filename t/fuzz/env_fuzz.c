/* env_fuzz: any bytes into the reader of .env. A refused text must have a reason with its line; an accepted pair, written again in double quotes, must
 * read back as the same pair. */
#include "../../conf.h"
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct pair { char *key, *value; int line, count; };

static bool check_same(void *arg, int line, const char *key, const char *value)
{
	struct pair *p = arg;

	must(line == 1 && p->count++ == 0 && strcmp(key, p->key) == 0 && strcmp(value, p->value) == 0);
	return true;
}

static void write_again(struct buf *out, const char *key, const char *value)
{
	buf_fmt(out, "export %s=\"", key);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			buf_char(out, '\\');
		if (*value == '\n')
			buf_str(out, "\\n");
		else
			buf_char(out, *value);
	}
	buf_str(out, "\" # again\r\n");
}

static bool check_pair(void *arg, int line, const char *key, const char *value)
{
	struct pair p = { mem_dup(key), mem_dup(value), line, 0 };
	struct buf text = {0}, err = {0};
	int *last = arg;

	must(line > *last && *key && !strchr(key, '='));
	*last = line;
	write_again(&text, key, value);
	/* Escapes may make it longer than a line can be. */
	if (text.len <= 4096)
		must(conf_pairs(text.data, text.len, check_same, &p, &err) && p.count == 1 && err.len == 0);
	buf_free(&text);
	buf_free(&(struct buf){ p.key, 0, 0 });
	buf_free(&(struct buf){ p.value, 0, 0 });
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf err = {0};
	int last = 0;
	bool good = conf_pairs((const char *)data, size, check_pair, &last, &err);

	must(good == (err.len == 0));
	must(good || strncmp(err.data, ".env:", 5) == 0);
	must(!good || size == 0 || !memchr(data, '\0', size));
	buf_free(&err);
	return 0;
}
