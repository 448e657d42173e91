/* url_fuzz: the first byte picks a URL, a reference against a URL (the two lines of the rest), or a query. What was read and written is read as the same
 * again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A URL that was accepted is safe to write into a request, and its text means it. */
static void check_url(const struct http_url *url)
{
	struct http_url again;
	struct buf text = { 0 }, twice = { 0 };
	must(url->host[0] && strlen(url->host) <= 253 && url->port >= 1 && url->port <= 65535 && url->target[0] == '/');
	for (const char *p = url->target; *p; p++)
		must(*p > ' ' && *p < 0x7f && *p != '#' && *p != '\\');
	for (const char *p = url->host; *p; p++)
		must(strchr("abcdefghijklmnopqrstuvwxyz0123456789.-_~:", *p) && (*p != ':' || url->literal6));
	http_url_text(url, &text);
	if (text.len <= HTTP_URL_MAX) {
		must(http_url_read(text.data, text.len, &again) == NULL);
		must(strcmp(url->host, again.host) == 0 && strcmp(url->target, again.target) == 0);
		must(url->port == again.port && url->tls == again.tls && url->literal6 == again.literal6);
		http_url_text(&again, &twice);
		must(strcmp(text.data, twice.data) == 0);
		http_url_free(&again);
	}
	buf_free(&text);
	buf_free(&twice);
}

static void fuzz_url(const char *p, size_t n)
{
	struct http_url url;
	const char *why = http_url_read(p, n, &url);
	must((why != NULL) == (url.target == NULL));
	if (!why)
		check_url(&url);
	http_url_free(&url);
}

static void fuzz_join(const char *p, size_t n)
{
	struct http_url base, url;
	const char *end = memchr(p, '\n', n);
	if (!end || http_url_read(p, (size_t)(end - p), &base))
		return;
	const char *why = http_url_join(&base, end + 1, n - (size_t)(end - p) - 1, &url);
	must((why != NULL) == (url.target == NULL));
	if (!why) {
		check_url(&url);
		size_t path = strcspn(url.target, "?");
		for (size_t i = 0; i + 1 < path; i++)                  /* no dot segment is left */
			must(!(memcmp(url.target + i, "/.", 2) == 0 && (i + 2 == path || url.target[i + 2] == '/')));
	}
	http_url_free(&url);
	http_url_free(&base);
}

static void fuzz_query(const char *p, size_t n)
{
	struct http_text rest = { p, n };
	struct buf name = { 0 }, value = { 0 }, again = { 0 }, other = { 0 };
	while (http_query_next(&rest, &name, &value) > 0) {
		struct buf text = { 0 };
		must(strlen(name.data) == name.len && strlen(value.data) == value.len);
		http_escape(&text, name.data);
		buf_char(&text, '=');
		http_escape(&text, value.data);
		struct http_text pair = { text.data, text.len };
		must(http_query_next(&pair, &again, &other) == 1 && strcmp(again.data, name.data) == 0 && strcmp(other.data, value.data) == 0);
		buf_free(&text);
	}
	buf_free(&name);
	buf_free(&value);
	buf_free(&again);
	buf_free(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	char *p = malloc(size > 1 ? size - 1 : 1);
	must(p != NULL);
	memcpy(p, data + 1, size - 1);                             /* memory that ends where the text does */
	switch (data[0] % 3) {
	case 0: fuzz_url(p, size - 1); break;
	case 1: fuzz_join(p, size - 1); break;
	default: fuzz_query(p, size - 1); break;
	}
	free(p);
	return 0;
}
