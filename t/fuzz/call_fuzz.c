/* call_fuzz: the agent's client against any bytes. The first byte picks cut, link, close and how the pieces lie; the rest is what the server says. The call must
 * end once, by its deadline at the latest, within its caps, and the same way however the bytes are cut. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../fakeworld.h"
#include "../../call.h"

#define BODY_MAX 64
#define CUT 1
#define LINKED 2
#define CLOSES 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct heard { int calls, status; bool truncated; struct buf error, body; };

static void done(void *arg, const struct call_answer *a)
{
	struct heard *h = arg;

	h->calls++;
	h->status = a->status;
	h->truncated = a->truncated;
	must(a->body_len <= BODY_MAX && (a->error != NULL) == (a->head == NULL));
	must(!a->error || (*a->error && utf8_valid(a->error, strlen(a->error))));
	buf_str(&h->error, a->error ? a->error : "");
	buf_add(&h->body, a->body, a->body_len);
}

static void turn(struct fakeworld *w, struct loop *loop)
{
	fakeworld_pass(w, 1);
	loop_turn(loop, 0);
}

/* The server: takes one connection, says all it has as soon as the request is there. */
static void talk(struct fakeworld *w, struct env *env, struct loop *loop, int listener, const uint8_t *p, size_t n, bool closes, struct heard *h)
{
	struct sockaddr_storage peer;
	socklen_t len;
	char asked[1024];
	size_t len_asked = 0;
	int fd;

	turn(w, loop);
	turn(w, loop);
	fd = env->accept(w, listener, &peer, &len);
	must(fd >= 0);
	while (len_asked < 4 || memcmp(asked + len_asked - 4, "\r\n\r\n", 4) != 0) {
		ssize_t got = env->recv(w, fd, asked + len_asked, sizeof asked - len_asked);
		must(got > 0 || (got < 0 && errno == EAGAIN));
		len_asked += got > 0 ? (size_t)got : 0;
		turn(w, loop);
	}
	while (n > 0 && h->calls == 0) {
		ssize_t put = env->send(w, fd, p, n);
		must(put > 0 || errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
		p += put > 0 ? put : 0;
		n -= put > 0 ? (size_t)put : 0;
		turn(w, loop);
	}
	for (int i = 0; i < 40 && h->calls == 0; i++)
		turn(w, loop);
	if (closes)
		env->close(w, fd);
	for (int i = 0; i < 5; i++)
		turn(w, loop);
	fakeworld_pass(w, 2000000);
	for (int i = 0; i < 5; i++)
		turn(w, loop);
	if (!closes)
		env->close(w, fd);
}

static void play(const uint8_t *p, size_t n, uint8_t flags, size_t cut, struct heard *h)
{
	struct fakeworld *w = fakeworld_new(1);
	struct env env;
	struct http_url url = { .host = "127.0.0.1", .port = 3000, .target = mem_dup("/") };
	struct call_spec spec = { .method = "GET", .url = &url, .body_max = BODY_MAX, .cut = flags & CUT };
	struct loop *loop;
	int listener, port;

	fakeworld_env(w, &env);
	fakeworld_cut(w, cut);
	loop = loop_new(&env);
	listener = fakeworld_listen(w, 3000, &port);
	spec.deadline_us = fakeworld_now_us(w) + 1000000;
	spec.link = flags & LINKED ? call_link_new(loop, &env) : NULL;
	call_start(loop, &env, &spec, done, h);
	talk(w, &env, loop, listener, p, n, flags & CLOSES, h);
	must(h->calls == 1);
	call_link_free(spec.link);
	env.close(w, listener);
	must(fakeworld_open(w) == 0);
	loop_free(loop);
	fakeworld_free(w);
	http_url_free(&url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct heard whole = {0}, cut = {0};

	if (size < 1 || size > 4096)
		return 0;
	play(data + 1, size - 1, data[0], 0, &whole);
	play(data + 1, size - 1, data[0], 1 + (data[0] >> 3), &cut);
	must(whole.status == cut.status && whole.truncated == cut.truncated && whole.body.len == cut.body.len);
	must((whole.error.len == 0) == (cut.error.len == 0));
	must(whole.body.len == 0 || memcmp(whole.body.data, cut.body.data, whole.body.len) == 0);
	buf_free(&whole.error);
	buf_free(&whole.body);
	buf_free(&cut.error);
	buf_free(&cut.body);
	return 0;
}
