/* guard: which addresses the agent's fetches may connect to. Judges addresses, never names: what is checked is what is connected to. */
#ifndef GUARD_H
#define GUARD_H
#include <stdbool.h>
#include <sys/socket.h>

struct call_guard;                                             /* address ranges allowed and denied */

/* Comma-separated CIDR ranges or addresses, NULL or "" for none; allow wins over deny. NULL and *why set (static words): a bad range. */
struct call_guard *call_guard_new(const char *deny, const char *allow, const char **why);
/* IPv6 forms that hold an IPv4 address (mapped, compatible, NAT64) are judged as that one too, and 0.0.0.0 and :: as the loopback they reach. */
bool call_guard_lets(const struct call_guard *, const struct sockaddr *);
void call_guard_free(struct call_guard *);
#endif
