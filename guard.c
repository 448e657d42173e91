/* guard: address ranges, read strictly and matched bit by bit. Every address is held as 16 bytes of IPv6, an IPv4 one in its mapped form, so that
 * there is one way to compare. An address is denied when any form of it is in a denied range, unless any form is in an allowed one. */
#include "guard.h"
#include "util.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 64
#define FORMS_MAX 3

struct address { unsigned char bytes[16]; };
struct range { struct address net; int bits; };
struct ranges { struct range *list; size_t count; };
struct call_guard { struct ranges deny, allow; };

static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };   /* RFC 4291 section 2.5.5.2 */
static const unsigned char nat64[12] = { 0, 0x64, 0xff, 0x9b };                         /* RFC 6052 section 2.1 */
static const unsigned char zero[15];                           /* compatible forms begin with 12 of these (RFC 4291 section 2.5.5.1) */

static void map4(struct address *a, const void *four)
{
	memcpy(a->bytes, mapped, 12);
	memcpy(a->bytes + 12, four, 4);
}

/* ranges */

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

/* Is every bit behind the prefix zero? "10.0.0.1/8" may mean the one or the other, so it means neither. */
static bool is_clean(const struct range *r)
{
	for (int i = r->bits; i < 128; i++)
		if (r->net.bytes[i / 8] >> (7 - i % 8) & 1)
			return false;
	return true;
}

static const char *read_range(const char *text, size_t n, struct range *out)
{
	char host[TEXT_MAX];
	const char *slash = memchr(text, '/', n);
	size_t len = slash ? (size_t)(slash - text) : n, left = slash ? n - len - 1 : 0;
	unsigned char four[4];
	int64_t bits;

	if (len == 0 || len >= sizeof host)
		return "a range is no address";
	memcpy(host, text, len);
	host[len] = '\0';
	bool is4 = inet_pton(AF_INET, host, four) == 1;
	if (is4)
		map4(&out->net, four);
	else if (inet_pton(AF_INET6, host, out->net.bytes) != 1)
		return "a range is no address";
	bits = is4 ? 32 : 128;
	if (slash && (left == 0 || slash[1] < '0' || slash[1] > '9' || (left > 1 && slash[1] == '0') || !num_parse(slash + 1, left, 0, bits, &bits)))
		return "a range's prefix is not a number from 0 to 32 (IPv4) or 128 (IPv6)";
	out->bits = (int)bits + (is4 ? 96 : 0);
	return is_clean(out) ? NULL : "a range has bits behind its prefix";
}

static const char *read_ranges(const char *text, struct ranges *out)
{
	const char *why = NULL;

	while (text && *text && !why) {
		size_t n = strcspn(text, ","), len = n;
		const char *part = text;
		while (len > 0 && is_blank(part[len - 1]))
			len--;
		while (len > 0 && is_blank(*part)) {
			part++;
			len--;
		}
		out->list = mem_resize(out->list, (out->count + 1) * sizeof *out->list);
		why = read_range(part, len, &out->list[out->count]);
		out->count++;
		if (!why && text[n] == ',' && text[n + 1] == '\0')
			why = "a list of ranges ends with a comma";
		text += n + (text[n] == ',');
	}
	return why;
}

static bool holds(const struct range *r, const struct address *a)
{
	int whole = r->bits / 8, rest = r->bits % 8;

	if (memcmp(r->net.bytes, a->bytes, (size_t)whole) != 0)
		return false;
	return rest == 0 || (r->net.bytes[whole] ^ a->bytes[whole]) >> (8 - rest) == 0;
}

static bool any_holds(const struct ranges *ranges, const struct address *forms, int count)
{
	for (size_t i = 0; i < ranges->count; i++)
		for (int k = 0; k < count; k++)
			if (holds(&ranges->list[i], &forms[k]))
				return true;
	return false;
}

/* addresses */

/* The IPv4 address inside an IPv6 one, if there is one. :: and ::1 look like compatible forms and are none. */
static const unsigned char *inner4(const struct address *a)
{
	bool compatible = memcmp(a->bytes, zero, 12) == 0 && !(memcmp(a->bytes, zero, 15) == 0 && a->bytes[15] <= 1);

	return compatible || memcmp(a->bytes, nat64, 12) == 0 ? a->bytes + 12 : NULL;
}

/* All that an address may reach; the first form is itself. */
static int forms_of(const struct sockaddr *sa, struct address forms[FORMS_MAX])
{
	static const unsigned char any4[4], loop4[4] = { 127, 0, 0, 1 };
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	int count = 1;

	if (sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof in);
		map4(&forms[0], &in.sin_addr);
	} else {
		memcpy(&in6, sa, sizeof in6);
		memcpy(forms[0].bytes, &in6.sin6_addr, 16);
	}
	const unsigned char *four = inner4(&forms[0]);
	if (four)
		map4(&forms[count++], four);
	const struct address *last = &forms[count - 1];
	if (memcmp(last->bytes, mapped, 12) == 0 && memcmp(last->bytes + 12, any4, 4) == 0)
		map4(&forms[count++], loop4);
	else if (memcmp(last->bytes, zero, 15) == 0 && last->bytes[15] == 0) {
		memset(forms[count].bytes, 0, 16);
		forms[count++].bytes[15] = 1;
	}
	return count;
}

bool call_guard_lets(const struct call_guard *g, const struct sockaddr *sa)
{
	struct address forms[FORMS_MAX];
	int count;

	if (sa->sa_family != AF_INET && sa->sa_family != AF_INET6)
		return false;
	count = forms_of(sa, forms);
	return any_holds(&g->allow, forms, count) || !any_holds(&g->deny, forms, count);
}

struct call_guard *call_guard_new(const char *deny, const char *allow, const char **why)
{
	struct call_guard *g = mem_new(sizeof *g);

	*why = read_ranges(deny, &g->deny);
	if (!*why)
		*why = read_ranges(allow, &g->allow);
	if (!*why)
		return g;
	call_guard_free(g);
	return NULL;
}

void call_guard_free(struct call_guard *g)
{
	if (!g)
		return;
	free(g->deny.list);
	free(g->allow.list);
	free(g);
}
