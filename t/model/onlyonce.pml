/* onlyonce: the protocol of DESIGN.md sections 2 to 5 as a Promela model: one command, one server, two agents, everything that can go wrong.
 * It owns the rules, not the code: t/sim runs the code. Each rule below cites the sentence of section 3 (s3) or 4 (s4) it models.
 *
 * The network is a set: whatever was once sent may be handled by the server at any later time, any number of times, in any order, or never.
 * That is loss, duplication, delay and overtaking without a bound. An answer is lost when the message is handled from that set. A poll's reply waits in the
 * agent's buffer (GOT) as long as it likes, or is given up with its connection (s4: "its connection is closed before the next is made").
 * Time is a set of possibilities: a lease may end whenever a command is RUNNING. One fact ties the clocks: a server's lease begins no earlier than the
 * poll was sent, so when it has ended, that poll's reply is stale for its reader.
 *
 * Bounds, all -D: CRASHES (of agents, anywhere), MAXN (attempts), MAXATT (maxAttempts), RETRIES, RESOLVES (COMPLETE or FAIL), CANCELS, LOSSES (journals lost),
 * ROLLBACKS (a journal put back), PUTBACKS (the database put back), REBOOTS (of the server, where it matters: FAULT 11 and 13; a restart without loss changes
 * nothing durable, and its fresh leases and dead connections are covered by leases that end at any time and replies given up at any time).
 * Shape: IDEM, AGENTS, SHARED (two slots of one process, one journal), NOROOM, CALM (the faults end; for G7). HONEST: G6 is checked on CANCELLED and NEVER_STARTED.
 * Rules that README.md describes, off as written: OLD_POLL, RESEND, CHAIN. FAULT=n: a rule left out. LIMIT=n: a limit of section 2 within reach, or (4) G4 to the letter. */

#ifndef IDEM
#define IDEM 0
#endif
#ifndef AGENTS
#define AGENTS 2
#endif
#ifndef SHARED
#define SHARED 0
#endif
#ifndef MAXN
#define MAXN 3
#endif
#ifndef MAXATT
#define MAXATT 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef RETRIES
#define RETRIES 0
#endif
#ifndef RESOLVES
#define RESOLVES 0
#endif
#ifndef CANCELS
#define CANCELS 0
#endif
#ifndef LOSSES
#define LOSSES 0
#endif
#ifndef ROLLBACKS
#define ROLLBACKS 0
#endif
#ifndef PUTBACKS
#define PUTBACKS 0
#endif
#ifndef REBOOTS
#define REBOOTS 0
#endif
#ifndef NOROOM
#define NOROOM 0
#endif
#ifndef CALM
#define CALM 0
#endif
#ifndef HONEST
#define HONEST 0
#endif
#ifndef OLD_POLL
#define OLD_POLL 0
#endif
#ifndef RESEND
#define RESEND 0
#endif
#ifndef CHAIN
#define CHAIN 0
#endif
#ifndef FAULT
#define FAULT 0
#endif
#ifndef LIMIT
#define LIMIT 0
#endif

#define NS (LOSSES -> 4 : 2)                                   /* who can speak: agent 0, 1, and each again with a new journal: 2, 3 */
#define NAME(s) ((s) & 1)                                      /* agentId */
#define LOG(s) (SHARED -> 0 : (s))                              /* journalId */
#define E(j, n) ((j) * (MAXN + 1) + (n))
#define BIT(m, n) (((m) >> (n)) & 1)
#define SET(m, n) m = m | (1 << (n))
#define CLEAR(m, n) m = m & ~(1 << (n))

/* status; failureCode; evidence at the server; journal entries; evidence asked about; answers */
#define PENDING 0
#define RUNNING 1
#define COMPLETED 2
#define FAILED 3

#define NONE 0
#define EXECUTION_FAILED 1
#define OUTCOME_UNKNOWN 2
#define EVIDENCE_LOST 3
#define AGENT_LOST 4
#define NEVER_STARTED 5
#define EXHAUSTED 6
#define CANCELLED 7
#define OPERATOR 8

#define K_BEAT 1
#define K_INT 2
#define K_OK 3
#define K_BAD 4
#define K_NOT 5
#define K_NOENTRY 6
#define K_NOLOG 7
#define K_SILENT 8

#define J_STARTED 1                                            /* other journal states: K_OK, K_BAD, K_NOT */

#define A_HEARD 0
#define A_GIVEN 1
#define A_FENCED 2
#define A_STALE 3
#define A_SETTLED 4
#define A_NOTHOLDER 5

/* an agent's slot */
#define OFF 0
#define IDLE 1                                                 /* reporting while entries are open, polling when none is */
#define GOT 2                                                  /* a reply with an assignment is in its buffer */
#define WROTE 3                                                /* STARTED is synced */
#define READY 4                                                /* the last look at the clock is behind it */
#define RUN 5
#define DONE 6                                                 /* the effect is over, FINISHED not yet written */
#define FENCED 7

/* The server's database: one row of commands, one of journals each. */
byte st, fc, att, by = 9, byboot, held, red, nots, mx = MAXATT;
bit rv, cq;
byte newest[4];
bool paused;

/* The agents' journals: boot counter, entries, which are open, which slot's name they are answered under, which boot wrote them. */
byte boot[4];
byte log[4 * (MAXN + 1)];
byte wrote[4 * (MAXN + 1)];
byte open[4], slot[4];

/* The agents. */
byte pc[2], an[2], me[2];
bit stale[2], got_cancel[2];
bit rolled, was_copied;                                        /* agent 0 runs on a journal put back; a copy exists */

/* The network: what was ever sent, by speaker; bits by attempt, polls by boot. */
byte sent_beat[4], sent_int[4], sent_ok[4], sent_bad[4], sent_not[4], sent_poll[4];

/* Budgets left. */
byte crashes = CRASHES, retries = RETRIES, resolves = RESOLVES, cancels = CANCELS, losses = LOSSES, rollbacks = ROLLBACKS, putbacks = PUTBACKS, reboots = REBOOTS;
bool calm;
bit gone[2];

/* What only the checker knows. */
byte starts, retried;                                          /* effects begun; RETRYs given */
byte g_held;                                                   /* the strongest record of the latest attempt that ever reached the server; 9: overruled by a RETRY */
bit g_any;                                                     /* LIMIT 4: a FINISHED of any attempt has arrived (G4 read to the letter) */
bit begun, over;                                               /* the latest attempt has begun; a RETRY came after it was handed out */

/* Copies for rollback and put-back. */
byte j_boot, j_open, j_log[MAXN + 1], j_wrote[MAXN + 1];
bit d_taken;
byte d_st, d_fc, d_att, d_by = 9, d_byboot, d_held, d_red, d_nots, d_mx, d_g, d_newest[2];
bit d_rv, d_cq, d_over;

hidden byte ans, w_st, w_fc, v_s, v_n, v_k, k, hi;
hidden byte was, again;

hidden byte b_;                                                /* the boot that polls */
#define same_boot (byboot == b_)
#define settled (st == COMPLETED || (st == FAILED && !rv))
#define final(x) ((x) == K_OK || (x) == K_BAD)

/* G5 "A settled command never changes, RETRY by an operator aside": every step of the server stands between these two. */
inline before() { was = settled; w_st = st; w_fc = fc; again = 0 }
inline after() {
	assert(!was || (st == w_st && fc == w_fc));                /* G5 */
	/* s3 "that attempt never becomes RUNNING again, neither by a heartbeat nor at a poll; this is durable" */
	assert(!(st == RUNNING && g_held != 0) || (FAULT == 3 && HONEST));
	was = 0
}

/* s3, the table, and the line below it. */
inline cancelled() {
	assert(!(HONEST && !IDEM && begun && !over));              /* G6: nothing is called CANCELLED that has begun */
	st = FAILED; fc = CANCELLED; rv = 0
}

inline never_started() {
	assert(!(HONEST && begun && !over));                       /* "a RETRY is then known to be safe" */
	st = FAILED; fc = NEVER_STARTED; rv = 1
}

inline judge(e) {
	if
	:: e == K_OK -> st = COMPLETED; fc = NONE; rv = 0
	:: e == K_BAD -> st = FAILED; fc = EXECUTION_FAILED; rv = 0
	:: e == K_BEAT -> st = RUNNING; fc = NONE; rv = 0
	:: e == K_INT && !IDEM && FAULT != 16 -> st = FAILED; fc = OUTCOME_UNKNOWN; rv = 1
	:: e == K_NOLOG && !IDEM -> st = FAILED; fc = EVIDENCE_LOST; rv = 1
	:: e == K_SILENT && !IDEM && FAULT != 10 -> st = FAILED; fc = AGENT_LOST; rv = 1
	:: else ->
		if
		/* "PENDING or redelivery while cancel is requested: FAILED, CANCELLED, no review" */
		:: cq && !(e == K_NOENTRY && OLD_POLL && same_boot) -> cancelled()
		:: else ->
			if
			/* "or the same attempt redelivered maxAttempts times: NEVER_STARTED" */
			:: e == K_NOENTRY && red >= mx && !(OLD_POLL && same_boot) -> never_started()
			:: e == K_NOENTRY && red >= mx && OLD_POLL && same_boot    /* not again, and the lease is not renewed: its end decides */
			:: e == K_NOENTRY && red < mx -> st = RUNNING; fc = NONE; rv = 0; again = 1
			:: e != K_NOENTRY && att - nots >= mx -> st = FAILED; fc = EXHAUSTED; rv = 1
			:: else -> st = PENDING; fc = NONE; rv = 0
			fi
		fi
	fi
}

/* Reports. */
inline not_started() {
	nots++;                                                    /* "NOT_STARTED does not count towards maxAttempts" */
	judge(K_NOT)
}

/* "INTERRUPTED on AGENT_LOST makes it OUTCOME_UNKNOWN" */
inline interrupted(s, n) {
	if
	:: st == RUNNING || (st == FAILED && !IDEM && (fc == AGENT_LOST || fc == EVIDENCE_LOST || fc == NEVER_STARTED)) ->
		assert(!(log[E(LOG(s), n)] == K_OK || log[E(LOG(s), n)] == K_BAD) || st != RUNNING || LIMIT);   /* G4, of the journal of an agent that is back */
		judge(K_INT)
	:: else
	fi
}

/* "A heartbeat makes it RUNNING again only from AGENT_LOST or from requeued, only from the boot it was given to" */
inline heartbeat(s, n) {
	if
	:: settled -> ans = A_SETTLED
	:: !settled && held != 0 && FAULT != 3 -> ans = A_STALE
	:: else ->
		if
		:: st == RUNNING -> ans = A_HEARD
		:: (st == PENDING || (st == FAILED && fc == AGENT_LOST) || (FAULT == 3 && st == FAILED)) && wrote[E(LOG(s), n)] == byboot -> judge(K_BEAT); ans = A_HEARD
		:: else -> ans = A_NOTHOLDER
		fi
	fi
}

/* "Order of evidence for one attempt: heartbeat < INTERRUPTED < FINISHED, and NOT_STARTED excludes all three. Weaker than what is held: 409" */
inline current(s, n, kind) {
	if
	:: kind == K_BEAT -> heartbeat(s, n)
	:: kind != K_BEAT && held == kind && FAULT != 14 -> ans = A_HEARD      /* "a repeat of the report that the operator overruled is 200 and changes nothing" */
	:: kind != K_BEAT && held == kind && FAULT == 14 && settled -> ans = A_HEARD
	:: kind != K_BEAT && held != kind && held != 0 && !(held == K_INT && final(kind)) && FAULT != 15 -> ans = (settled -> A_SETTLED : A_STALE)
	:: else ->
		/* "Only evidence the server did not yet have counts" */
		assert(!(over && held == kind));
		held = kind;                                           /* "whatever the answer was ... this is durable" */
		g_held = kind;
		if
		:: settled && FAULT != 17 && FAULT != 15 -> ans = A_SETTLED
		:: else ->
			if
			:: kind == K_NOT -> not_started()
			:: kind == K_INT && FAULT != 15 -> interrupted(s, n)
			:: kind == K_INT && FAULT == 15 -> judge(K_INT)
			:: final(kind) ->
				assert(n == att);                              /* G5 "Only the holder of the latest attempt may settle it" */
				judge(kind)
			fi;
			ans = A_HEARD
		fi
	fi
}

inline report(s, n, kind) {
	before();
	if
	/* "A report for a higher attempt than the server knows proves that the database was put back: it is accepted, without a holder check" */
	:: n > att ->
		assert(PUTBACKS || FAULT == 13);
		if
		:: st == COMPLETED -> ans = A_SETTLED
		:: else ->
			st = RUNNING; fc = NONE; rv = 0; att = n; red = 0; held = 0; g_held = 0; over = 0; by = s; byboot = wrote[E(LOG(s), n)];
			was = 0;
			current(s, n, kind)
		fi
	/* "A report for an older attempt: 409 STALE_ATTEMPT" */
	:: n < att && FAULT != 6 -> ans = A_STALE; if :: LIMIT == 4 && final(kind) -> g_any = 1 :: else fi
	:: (n == att || (n < att && FAULT == 6)) ->
		if
		:: by != s && FAULT != 6 -> ans = A_NOTHOLDER
		:: else -> current(s, n, kind)
		fi
	fi;
	printf("server: report of %d, attempt %d, kind %d: answer %d, now status %d code %d attempt %d\n", s, n, kind, ans, st, fc, att);
	after()
}

/* Polls. */
inline hand_out(s, b) {
	/* G4 "Once an attempt's finished record has reached the server, no other attempt of that command begins because of a crash" */
	assert(!final(g_held) && !(LIMIT == 4 && g_any));
	if
	:: FAULT == 13 && reboots > 0 -> reboots--                 /* the reply is out, the commit is not: lost with the server */
	:: else -> st = RUNNING; att++; red = 0; held = 0; g_held = 0; begun = 0; over = 0; by = s; byboot = b
	fi;
	ans = A_GIVEN
}

/* "no entry in the very journal it was given to (the agent polls): the same attempt again, to the same agent, lease renewed" */
inline poll_running(s, b) {
	b_ = b;
	if
	:: (LOG(by) == LOG(s) || FAULT == 18) && FAULT != 7 -> judge(K_NOENTRY)
	:: LOG(by) == LOG(s) && FAULT == 7 -> st = PENDING         /* requeued on a poll's word alone */
	:: else -> judge(K_NOLOG)                                  /* "no log to look at: its journal is another one now" */
	fi;
	/* G4: a poll ends no attempt that is FINISHED in the very journal it speaks for */
	assert(st == RUNNING || !(HONEST && LOG(by) == LOG(s) && final(log[E(LOG(by), att)])));
	if
	:: again -> red++; by = s; byboot = b; ans = A_GIVEN
	:: else
	fi
}

inline poll(s, b, digits_differ) {
	before();
	ans = A_HEARD;
	if
	/* s4 "Lower N than the newest, or the same N with other digits: a rolled-back or cloned journal. 409 AGENT_CONFLICT" */
	:: (b < newest[LOG(s)] || (digits_differ && (b == newest[LOG(s)] || CHAIN))) && FAULT != 12 -> ans = A_FENCED
	:: else ->
		if :: newest[LOG(s)] < b -> newest[LOG(s)] = b :: else fi;
		if
		:: paused
		/* s4 "A live agentId polled under another journalId: 409 AGENT_CONFLICT with retryAfterMs": it waits; nothing changes */
		:: !paused && LOSSES && by < 9 && NAME(by) == NAME(s) && LOG(by) != LOG(s)
		:: !paused ->
			if
			/* "A poll never starts a FAILED command: an AGENT_LOST one whose journal proves that it never began becomes NEVER_STARTED" */
			:: st == FAILED && rv && fc == AGENT_LOST && NAME(by) == NAME(s) && FAULT != 9 ->
				if
				:: LOG(by) != LOG(s) -> fc = EVIDENCE_LOST
				:: LOG(by) == LOG(s) && OLD_POLL && byboot == b
				:: else -> never_started()
				fi
			:: FAULT == 9 && st == FAILED && rv && LOG(by) == LOG(s) && NAME(by) == NAME(s) -> st = RUNNING; fc = NONE; rv = 0; ans = A_GIVEN
			/* the table is asked "when an agent polls while the server holds a RUNNING command of its" */
			:: st == RUNNING && NAME(by) == NAME(s) -> poll_running(s, b)
			/* s4 "What an older boot's vanished slot held may be given, same attempt, to any slot of a newer boot of the same journal" */
			:: st == RUNNING && NAME(by) != NAME(s) && LOG(by) == LOG(s) && byboot != newest[LOG(s)] -> poll_running(s, b)
			:: else
			fi;
			if
			:: ans == A_HEARD && st == PENDING && att < MAXN -> hand_out(s, b)
			:: else
			fi
		fi
	fi;
	printf("server: poll of %d, boot %d: answer %d, now status %d code %d attempt %d\n", s, b, ans, st, fc, att);
	after()
}

/* An agent's slot. j: its journal. */
inline send(s, n, kind) {
	if
	:: kind == K_OK -> SET(sent_ok[s], n)
	:: kind == K_BAD -> SET(sent_bad[s], n)
	:: kind == K_NOT -> SET(sent_not[s], n)
	:: kind == K_INT -> SET(sent_int[s], n)
	fi
}

inline highest(j) {
	hi = MAXN;
	do
	:: hi > 0 && log[E(j, hi)] == 0 -> hi--
	:: else -> break
	od
}

inline lowest_open(j) {
	hi = 1;
	do
	:: hi < MAXN && !BIT(open[j], hi) -> hi++
	:: else -> break
	od
}

inline entry(j, n, state, s) {
	log[E(j, n)] = state;
	wrote[E(j, n)] = boot[j];
	SET(open[j], n);
	if :: NAME(s) -> SET(slot[j], n) :: else -> CLEAR(slot[j], n) fi
}

/* "NOT_STARTED (a tombstone) is fsynced before an attempt is handed back unrun" */
inline hand_back(i, j) {
	printf("agent %d: NOT_STARTED, attempt %d\n", i, an[i]);
	if
	:: FAULT != 5 -> entry(j, an[i], K_NOT, me[i])
	:: FAULT == 5 -> log[E(j, an[i])] = 0; SET(sent_not[me[i]], an[i])
	fi;
	pc[i] = IDLE; an[i] = 0; stale[i] = 0; got_cancel[i] = 0
}

inline rest(i) { pc[i] = IDLE; an[i] = 0; stale[i] = 0; got_cancel[i] = 0 }

/* "A slot polls only when every entry it wrote has been answered; at its start an agent first answers for every open entry of all slots": the entries this slot owes. */
#define theirs(i, n) (SHARED && BIT(slot[LOG(me[i])], n) != (i))
#define J (LOG(me[i]))
#define working(o, n) (pc[o] >= WROTE && pc[o] <= DONE && an[o] == (n))
#define owed_(i, n) (BIT(open[LOG(me[i])], n) && !(theirs(i, n) && wrote[E(LOG(me[i]), n)] == boot[LOG(me[i])]) && !working(1 - (i), n))
#define owed(i, n) (n <= MAXN && BIT(open[LOG(me[i])], n) && (!SHARED || owed_(i, n)))
#define owes(i) (owed(i, 1) || owed(i, 2) || owed(i, 3) || (MAXN > 3 && owed(i, 4)))

#define idle(i) (SHARED -> (open[0] & ((i) -> slot[0] : ~slot[0])) == 0 && !owes(i) : open[LOG(me[i])] == 0)

proctype agent(byte i) {
	byte n;
	do
	/* its records, oldest first; answered: 200, STALE_ATTEMPT, ALREADY_SETTLED; else orphaned; either no longer blocks */
	:: atomic { pc[i] == IDLE && owes(i) ->
		n = 1;
		do :: n < MAXN && !owed(i, n) -> n++ :: else -> break od;
		k = log[E(J, n)];
		if :: k == J_STARTED -> k = K_INT :: else fi;         /* "started, not finished, process gone (INTERRUPTED)" */
		v_s = (SHARED -> BIT(slot[J], n) : me[i]);
		send(v_s, n, k);
		if
		:: report(v_s, n, k);
			CLEAR(open[J], n);
			if :: FAULT == 4 -> log[E(J, n)] = 0 :: else fi    /* "An answered entry is marked, not deleted" */
		:: !calm                                               /* sent; no answer */
		fi;
		n = 0 }
	/* polls: "polling means idle" */
	:: atomic { pc[i] == IDLE && (idle(i) || FAULT == 19) ->
		if
		:: if :: !(rolled && i == 0) -> SET(sent_poll[me[i]], boot[J]) :: else fi;
			poll(me[i], boot[J], (rolled && i == 0));
			if
			:: ans == A_GIVEN && FAULT == 13 && st == PENDING -> pc[i] = GOT; an[i] = att + 1; stale[i] = 0
			:: ans == A_GIVEN && !(FAULT == 13 && st == PENDING) -> pc[i] = GOT; an[i] = att; stale[i] = 0; got_cancel[i] = cq
			:: ans == A_FENCED -> pc[i] = FENCED
			:: else
			fi
		:: !calm && !BIT(sent_poll[me[i]], boot[J]) && !(rolled && i == 0) -> SET(sent_poll[me[i]], boot[J])
		fi }
	:: atomic { pc[i] == GOT && !calm -> printf("agent %d: gives the reply up\n", i); rest(i) }             /* the connection broke before the reply was read */
	:: atomic { pc[i] == GOT ->
		highest(J);
		if
		/* "An agent never starts an attempt that its journal holds, nor one older than any it holds: it answers with the record it has" */
		:: hi >= an[i] && FAULT != 1 ->
			SET(open[J], hi);
			if :: NAME(me[i]) -> SET(slot[J], hi) :: else -> CLEAR(slot[J], hi) fi;
			rest(i)
		:: (hi < an[i] || FAULT == 1) && (!calm || stale[i] || got_cancel[i]) && !(FAULT == 8 && !got_cancel[i]) -> hand_back(i, J)   /* stale, stopping, no room: NOT_STARTED */
		:: (hi < an[i] || FAULT == 1) && (!stale[i] || FAULT == 8) && !(OLD_POLL && got_cancel[i]) ->
			if
			:: FAULT != 2 -> entry(J, an[i], J_STARTED, me[i]); pc[i] = WROTE      /* "STARTED is fsynced before the effect begins" */
			:: FAULT == 2 -> pc[i] = READY
			fi;
			printf("agent %d: STARTED, attempt %d\n", i, an[i]);
			got_cancel[i] = 0
		fi }
	/* "The check is made again just before the effect, after the fsync of STARTED; there too the answer is NOT_STARTED, journalled over STARTED" */
	:: atomic { pc[i] == WROTE && (stale[i] || !calm) && FAULT != 8 -> hand_back(i, J) }
	:: atomic { pc[i] == WROTE && (!stale[i] || FAULT == 8) ->
		assert(!(settled && an[i] == att && !over));           /* s2, limits: only "an agent stopped between its last check and the effect" begins after the end */
		pc[i] = READY }
	/* the effect begins; between the last check and here the agent may have been stopped for any time */
	:: atomic { pc[i] == READY ->
		starts++;
		printf("agent %d: begins the effect of attempt %d: start %d\n", i, an[i], starts);
		assert(IDEM || starts <= 1 + retried);                 /* G3 */
		assert(!(HONEST && !IDEM && an[i] == att && !over && st == FAILED && fc == CANCELLED));   /* G6 */
		if :: an[i] == att -> begun = 1 :: else fi;
		SET(sent_beat[me[i]], an[i]);
		stale[i] = 0;
		pc[i] = RUN }
	:: atomic { pc[i] == RUN ->                                /* done, failed, or stopped by a cancel, a deadline, a 409 */
		if
		:: pc[i] = DONE
		:: pc[i] = DONE; stale[i] = 1                          /* DONE, stale: the outcome is FAILED */
		fi }
	/* "No room for FINISHED: keep the result in memory, report it, keep retrying the write" */
	:: atomic { pc[i] == DONE && NOROOM && !calm && !BIT(sent_ok[me[i]], an[i]) && !BIT(sent_bad[me[i]], an[i]) -> send(me[i], an[i], (stale[i] -> K_BAD : K_OK)) }
	:: atomic { pc[i] == DONE ->                               /* "FINISHED with the result is fsynced before it is reported" */
		log[E(J, an[i])] = (stale[i] -> K_BAD : K_OK);         /* under whatever name the attempt is answered now */
		wrote[E(J, an[i])] = boot[J];
		SET(open[J], an[i]);
		printf("agent %d: FINISHED, attempt %d\n", i, an[i]);
		rest(i) }
	/* a new start: the counter is synced; what was open is owed */
	:: atomic { pc[i] == OFF && !gone[i] && (!SHARED || i == 0) -> boot[J]++; printf("agent %d: boot %d\n", i, boot[J]); pc[i] = IDLE; if :: SHARED -> pc[1] = IDLE :: else fi }
	od
}

/* What was sent comes at last, once more, or in another order; its answer reaches nobody. */
#define late(m, s, n, kd) :: s < NS && n <= MAXN && BIT(m[s], n) -> v_s = s; v_n = n; v_k = kd
#define lates(s, n) late(sent_beat, s, n, K_BEAT) late(sent_int, s, n, K_INT) late(sent_ok, s, n, K_OK) late(sent_bad, s, n, K_BAD) late(sent_not, s, n, K_NOT)
#define late_poll(s, b) :: s < NS && BIT(sent_poll[s], b) -> v_s = s; v_n = b

proctype network() {
	do
	:: atomic {
		if
		lates(0, 1) lates(0, 2) lates(0, 3) lates(1, 1) lates(1, 2) lates(1, 3)
#if MAXN > 3
		lates(0, 4) lates(1, 4)
#endif
#if LOSSES
		lates(2, 1) lates(2, 2) lates(2, 3) lates(3, 1) lates(3, 2) lates(3, 3)
#endif
		fi;
		printf("network: late or again:\n");
		report(v_s, v_n, v_k) }
	:: atomic {
		if
		late_poll(0, 1) late_poll(0, 2) late_poll(0, 3) late_poll(1, 1) late_poll(1, 2) late_poll(1, 3)
#if LOSSES
		late_poll(2, 1) late_poll(2, 2) late_poll(3, 1) late_poll(3, 2)
#endif
		fi;
		printf("network: late or again:\n");
		poll(v_s, v_n, 0) }
	od
}

/* The lease. "silent past the lease"; "a server outage, however long, stops nothing": it only starts leases anew, which an end at any time covers. */
#define doing(o) (pc[o] >= GOT && pc[o] <= DONE && an[o] == att)
#define waited (by < 9 && (doing(NAME(by)) || (pc[NAME(by)] != OFF && BIT(open[LOG(by)], att))))

proctype lease() {
	do
	:: atomic { st == RUNNING && FAULT != 20 && !(calm && waited) ->
		before();
		judge(K_SILENT);
		printf("server: the lease ends: now status %d code %d\n", st, fc);
		after();
		if :: pc[0] >= GOT && pc[0] <= WROTE && an[0] == att && by == me[0] -> stale[0] = 1 :: else fi;
		if :: pc[1] >= GOT && pc[1] <= WROTE && an[1] == att && by == me[1] -> stale[1] = 1 :: else fi }
	od
}

inline crash(i) {
	printf("agent %d: dies\n", i);
	pc[i] = OFF; an[i] = 0; stale[i] = 0; got_cancel[i] = 0;
	if :: SHARED -> pc[1 - i] = OFF; an[1 - i] = 0; stale[1 - i] = 0; got_cancel[1 - i] = 0 :: else fi
}

/* Everything else that befalls: crashes, operators, disks put back. */
proctype world() {
	byte n;
	do
	:: atomic { !calm && crashes > 0 && pc[0] != OFF && !(rolled && LIMIT != 2) -> crashes--; crash(0) }
	:: atomic { !calm && AGENTS > 1 && !SHARED && crashes > 0 && pc[1] != OFF -> crashes--; crash(1) }
	/* operators (section 5, resolve; cancel) */
	:: atomic { !calm && st == FAILED && retries > 0 -> retries--; retried++; printf("operator: RETRY\n"); st = PENDING; fc = NONE; rv = 0; mx++; cq = 0; over = (att > 0);
		if :: g_held -> g_held = 9 :: else fi }
	:: atomic { !calm && st == FAILED && rv && resolves > 0 -> resolves--; printf("operator: settles it\n"); rv = 0; fc = OPERATOR; if :: st = COMPLETED; fc = NONE :: skip fi }
	:: atomic { !calm && cancels > 0 && st == RUNNING && !cq -> cancels--; printf("client: cancel, asked\n"); cq = 1 }
	:: atomic { !calm && cancels > 0 && st == PENDING -> cancels--; cq = 1; before(); cancelled(); after() }
	/* the server dies and comes back: its database is as it was, its connections are gone, its leases start anew */
	:: atomic { !calm && reboots > 0 && FAULT == 11 -> reboots--; held = 0 }
	/* s4: a journal lost, and one made anew */
#if LOSSES
	:: atomic { !calm && losses > 0 && pc[0] == OFF && me[0] < 2 -> losses--; me[0] = 2; printf("agent 0: a new journal\n") }
	:: atomic { !calm && losses > 0 && pc[1] == OFF && me[1] < 2 && AGENTS > 1 -> losses--; me[1] = 3; printf("agent 1: a new journal\n") }
#endif
	/* s4: a journal copied, and the copy put back in its place. LIMIT 1: a copy of the boot that runs, LIMIT 2: started again before it was heard */
#if ROLLBACKS
	:: d_step { !calm && !was_copied && rollbacks > 0 ->
		was_copied = 1; j_boot = boot[0]; j_open = open[0];
		for (n : 1 .. MAXN) { j_log[n] = log[E(0, n)]; j_wrote[n] = wrote[E(0, n)] }
		n = 0 }
	:: d_step { !calm && was_copied && rollbacks > 0 && pc[0] == OFF && me[0] == 0 && (j_boot + 1 <= newest[0] || LIMIT == 1) ->
		printf("agent 0: its journal is put back\n"); rollbacks--; rolled = (j_boot + 1 <= newest[0]); boot[0] = j_boot; open[0] = j_open;
		for (n : 1 .. MAXN) { log[E(0, n)] = j_log[n]; wrote[E(0, n)] = j_wrote[n]; j_log[n] = 0; j_wrote[n] = 0 }
		j_boot = 0; j_open = 0; n = 0 }
#endif
	/* the server's database copied, and put back */
#if PUTBACKS
	:: d_step { !calm && !d_taken && putbacks > 0 ->
		d_taken = 1; d_st = st; d_fc = fc; d_att = att; d_by = by; d_byboot = byboot; d_held = held; d_red = red; d_nots = nots; d_mx = mx; d_rv = rv; d_cq = cq; d_g = g_held; d_over = over;
		d_newest[0] = newest[0]; d_newest[1] = newest[1] }
	:: atomic { !calm && d_taken && putbacks > 0 ->
		printf("server: its database is put back\n"); putbacks--; st = d_st; fc = d_fc; att = d_att; by = d_by; byboot = d_byboot; held = d_held; g_held = d_g; red = d_red; nots = d_nots; mx = d_mx; rv = d_rv; cq = d_cq;
		newest[0] = d_newest[0]; newest[1] = d_newest[1]; begun = 0; over = d_over;
		paused = (AGENTS > 1 && !SHARED);
		if
		:: RESEND -> n = 1;
			do
			:: n <= MAXN ->
				if :: log[E(0, n)] -> SET(open[0], n) :: else fi;
				if :: log[E(1, n)] -> SET(open[1], n) :: else fi;
				n++
			:: else -> break
			od
		:: else
		fi;
		n = 0 }
	/* "A database made by --backup starts with handing-out paused until --resume: first the agents send what they know" */
	:: atomic { paused && open[0] == 0 && open[1] == 0 -> paused = 0;      /* no sooner than one lease after the server's start */
		if :: pc[0] == GOT -> stale[0] = 1 :: else fi;
		if :: pc[1] == GOT -> stale[1] = 1 :: else fi }
#endif
	/* the faults end: the network delivers, nobody crashes; an agent may be gone for ever, not both */
#if CALM
	:: atomic { !calm ->
		if
		:: skip
		:: gone[0] = 1; crash(0)
		:: AGENTS > 1 && !SHARED -> gone[1] = 1; crash(1)
		fi;
		calm = 1;
		sent_beat[0] = 0; sent_int[0] = 0; sent_ok[0] = 0; sent_bad[0] = 0; sent_not[0] = 0; sent_poll[0] = 0;
		sent_beat[1] = 0; sent_int[1] = 0; sent_ok[1] = 0; sent_bad[1] = 0; sent_not[1] = 0; sent_poll[1] = 0;
		sent_beat[2] = 0; sent_int[2] = 0; sent_ok[2] = 0; sent_bad[2] = 0; sent_not[2] = 0; sent_poll[2] = 0;
		sent_beat[3] = 0; sent_int[3] = 0; sent_ok[3] = 0; sent_bad[3] = 0; sent_not[3] = 0; sent_poll[3] = 0;
		break }
#endif
	od
}

init {
	atomic {
		boot[0] = 1; boot[1] = 1; me[0] = 0; me[1] = 1; pc[0] = IDLE;
		if :: AGENTS > 1 -> pc[1] = IDLE :: else -> gone[1] = 1 fi;
		run agent(0);
		if :: AGENTS > 1 -> run agent(1) :: else fi;
		run network(); run lease(); run world()
	}
}

#if CALM
/* G7 "Nothing hangs", under weak fairness: once the faults end nothing is RUNNING or PENDING for ever. A command PENDING at the model's bound MAXN is out of its reach. */
ltl g7 { [] (calm -> <> (st == COMPLETED || st == FAILED || (st == PENDING && (att == MAXN || (gone[0] && (AGENTS == 1 || SHARED)))))) }
#endif
