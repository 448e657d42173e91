/* http_fuzz: the first byte picks a request, a response or a chunked body, the second where it is cut; the rest is the message. Cut in two it must mean
 * what it means whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Memory that ends where the bytes do. */
static char *copy(const char *p, size_t n)
{
	char *q = malloc(n ? n : 1);
	must(q != NULL);
	memcpy(q, p, n);
	return q;
}

static int read_head(bool request, const char *p, size_t n, size_t *seen, struct http_head *head, const char **why)
{
	return request ? http_read_request(p, n, seen, head, why) : http_read_response(p, n, seen, head, why);
}

static void check_slice(const char *p, size_t n, struct http_text t)
{
	must(t.n == 0 || (t.p >= p && t.p + t.n <= p + n) || (t.n == 1 && (*t.p == '/' || *t.p == '*')));
}

static void check_head(bool request, const char *p, size_t n, const struct http_head *head)
{
	must(head->length >= -1 && (!head->chunked || head->length == -1));
	must(head->fields_count >= 0 && head->fields_count <= HTTP_FIELDS_MAX);
	for (int i = 0; i < head->fields_count; i++) {
		check_slice(p, n, head->fields[i].name);
		check_slice(p, n, head->fields[i].value);
		must(head->fields[i].name.n > 0);
	}
	if (!request) {
		must(head->status >= 100 && head->status <= 999);
		return;
	}
	check_slice(p, n, head->method);
	check_slice(p, n, head->target);
	check_slice(p, n, head->path);
	check_slice(p, n, head->query);
	check_slice(p, n, head->host);
	must(head->minor == 0 || head->host.n > 0);
}

static void fuzz_head(bool request, const char *p, size_t n, size_t cut)
{
	struct http_head head, other;
	size_t seen = 0, again = 0;
	const char *why = NULL, *other_why = NULL;
	char *whole = copy(p, n), *part = copy(p, cut);
	int result = read_head(request, whole, n, &seen, &head, &why);
	int early = read_head(request, part, cut, &again, &other, &other_why);
	free(part);
	if (early == 0)
		early = read_head(request, whole, n, &again, &other, &other_why);
	must(early == result && why == other_why && (result < 0) == (why != NULL) && seen == (result ? 0 : n));
	must(result <= (int)HTTP_HEAD_MAX && (size_t)(result > 0 ? result : 0) <= n);
	if (result > 0)
		check_head(request, whole, n, &head);
	free(whole);
}

/* Feeds p[0..n) to c in place, from memory of its own; the body is appended. */
static int feed(struct http_chunks *c, const char *p, size_t n, struct buf *body, size_t *used)
{
	size_t kept = 0, took = 0;
	const char *why = NULL;
	char *own = copy(p, n);
	int result = http_chunks_feed(c, own, n, &kept, &took, &why);
	must(kept <= took && took <= n && (result < 0) == (why != NULL) && (result != 0 || took == n));
	buf_add(body, own, kept);
	free(own);
	*used += took;
	return result;
}

static void fuzz_chunks(const char *p, size_t n, size_t cut)
{
	struct http_chunks whole = { 0 }, parts = { 0 };
	struct buf body = { 0 }, other = { 0 };
	size_t used = 0, other_used = 0;
	int result = feed(&whole, p, n, &body, &used);
	int early = feed(&parts, p, cut, &other, &other_used);
	if (early == 0)
		early = feed(&parts, p + cut, n - cut, &other, &other_used);
	must(early == result && used == other_used && body.len == other.len && (body.len == 0 || memcmp(body.data, other.data, body.len) == 0));
	buf_free(&body);
	buf_free(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	const char *p = (const char *)data + 2;
	size_t n = size - 2, cut = n * data[1] / 255;
	if (data[0] % 3 == 2)
		fuzz_chunks(p, n, cut);
	else
		fuzz_head(data[0] % 3 == 0, p, n, cut);
	return 0;
}
