/* api: a whole server node: routes, checks, the turn that commits and lets go. Made over a loop and an open store, so that a test world can hold several. */
#ifndef API_H
#define API_H
#include "conn.h"
#include "store.h"

struct api;
struct api_settings {
	int64_t lease_ms, max_attempts;
	int connections;                                           /* 0: what fits */
	const char *listen_host;                                   /* accepted as Host beside the loopback names */
	const char *allow_hosts;                                   /* further Host names, comma-separated, or NULL */
	const char *api_token, *agent_token;                       /* or NULL: none asked for */
};

struct api *api_new(struct loop *, const struct env *, struct store *, const struct api_settings *);   /* loads what the store holds; settings' strings must outlive it; owns the store from now on */
bool api_listen(struct api *, const struct sockaddr *, socklen_t, struct sockaddr_storage *bound, socklen_t *bound_len);   /* false: errno */
void api_stop(struct api *);                                   /* no more work: parked polls end, answers go out, connections close */
int api_connections(const struct api *);
bool api_paused(const struct api *);
void api_resume(struct api *);                                 /* hands out again after a restore */
void api_free(struct api *);                                   /* closes the store too */
#endif
