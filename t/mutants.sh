#!/bin/sh
# mutants.sh [NAME...]: deliberate faults, one at a time: each is put into a copy of the sources, built, and must make a test fail. All, or those named.
# Prints one line each, what caught it first, and at the end how many were caught. A fault whose text is not in its file, or that does not compile, is an
# error of this table; so is a test that fails without any fault. JOBS: how many at a time (2). The table: name, file, the tests to ask first (then come
# the world, all unit tests, the real processes, more of the world), then the text that is taken away (-) and what stands there instead (+); both may be
# several lines.
set -u
cd "$(dirname "$0")/.." || exit 1
make="${MAKE:-make} -s STATIC=no CFLAGS=-O1"
jobs=${JOBS:-2}
only=" $* "
build=$(pwd)/build
began=$(date +%s)
units="recover turn poll journal db http conn loop json call run report conf url lookup migrate util env"
found=$build/mutants.found

table() { sed '1,/^exit .*# the table$/d' "$build/../t/mutants.sh"; }

# tree: a built copy, every test in it passing without a fault; and one more for each further job
tree() {
	rm -rf "$build"/mutants.*
	mkdir -p "$build/mutants.0"
	tar cf - --exclude=./build --exclude=./.git --exclude='*.o' --exclude='*.a' . | (cd "$build/mutants.0" && tar xf -)
	cd "$build/mutants.0" || exit 1
	log=$build/mutants.0.log
	rm -f server agent t/*_test t/jsoncheck t/httpget
	by="does not compile"
	$make all tools >"$log" 2>&1 && by=$(stage sim $units operator process more)
	if [ -n "$by" ]; then
		tail -n 40 "$log"
		echo "mutants: the sources fail without any fault: $by"
		exit 1
	fi
	for job in $(seq_to "$jobs"); do
		cp -Rp "$build/mutants.0" "$build/mutants.$job"
	done
}

# seq_to N: 1 .. N - 1
seq_to() { awk -v n="$1" 'BEGIN { for (i = 1; i < n; i++) print i }'; }

# replace OLD-FILE NEW-FILE SOURCE: the one place where all of OLD stands becomes NEW; false where there is none, or more, or nothing changes
replace() {
	awk 'FNR == 1 { file++ } file == 1 { old = old (FNR > 1 ? "\n" : "") $0 } file == 2 { new = new (FNR > 1 ? "\n" : "") $0 } file == 3 { all = all $0 "\n" }
		END { at = index(all, old); rest = substr(all, at + length(old)); if (!at || old == "" || old == new || index(rest, old)) exit 1
			printf "%s%s%s", substr(all, 1, at - 1), new, rest }' "$1" "$2" "$3" >mutant.c
}

# why: what failed, from the end of the log
why() {
	text=$(sed -n -e 's/^\[  FAILED  \] \([a-z][a-z_0-9]*\).*/\1/p' -e 's/.*\(G[0-9] violated: .*\)/\1/p' "$log" | head -n 1 | cut -c 1-100)
	[ -n "$text" ] || text=$(sed -n 's/^(.* \(ended with status .*\))$/\1/p' "$log")
	printf '%s: %s' "$1" "$text"
}

# stage TESTS: builds and runs them; says which failed, and on what
stage() {
	for test in "$@"; do
		program=t/${test}_test target=t/${test}_test
		case $test in
		sim) program="build/sim --seed=1 --runs=80" target=build/sim ;;
		more) program="build/sim --seed=81 --runs=900" target=build/sim ;;
		operator | process) target="all tools $target" ;;
		esac
		$make $target >"$log" 2>&1 || { echo "does not compile"; return 2; }
		LIMIT=${LIMIT:-150} sh t/check.sh "$program" >"$log" 2>&1 || { why "$test"; return 0; }
	done
	return 1
}

# one NAME FILE TESTS, with the texts in the files old and new
one() {
	name=$1 file=$2 tests=$3 mark=B by="its text is not there, or not once"
	cp -p "$file" original
	if replace old new "$file"; then
		cp mutant.c "$file"
		by=$(stage $tests sim $units operator process more)
		case $? in
		0) mark=C by="caught by $by" ;;
		1) mark=S by=SURVIVED ;;
		*) grep error: "$log" | head -n 3 ;;
		esac
		cp original "$file"
	fi
	printf '%-30s %-11s %s\n' "$name" "$file" "$by"
	echo "$mark $name" >>"$found"
}

# worker JOB: every jobs-th of the table, in its own tree
worker() {
	job=$1 at=0 name=
	cd "$build/mutants.$job" || exit 1
	log=$build/mutants.$job.log
	while IFS= read -r line || [ -n "$line" ]; do
		case $line in
		'#'*) ;;
		'') [ -z "$name" ] || turn; name= ;;
		'- '*) printf '%s\n' "${line#- }" >>old ;;
		'+ '*) printf '%s\n' "${line#+ }" >>new ;;
		'+') printf '\n' >>new ;;
		*) name=${line%% *} rest=${line#* } file=${rest%% *} tests=${rest#"$file"}; : >old; : >new ;;
		esac
	done <"$build/mutants.table"
	[ -z "$name" ] || turn
}

turn() {
	case $only in '  ' | *" $name "*) ;; *) return ;; esac
	at=$((at + 1))
	[ $((at % jobs)) -ne "$job" ] || one "$name" "$file" "$tests"
}

names() { sed -n "s/^$1 / /p" "$found" | tr -d '\n'; }
count() { grep -c "^$1" "$found"; }

mkdir -p "$build"
tree
table >"$build/mutants.table"
: >"$found"
pids=
trap 'kill $pids 2>/dev/null' INT TERM
for job in 0 $(seq_to "$jobs"); do
	worker "$job" &
	pids="$pids $!"
done
wait
[ -z "$(names B)" ] || echo "errors of the table:$(names B)"
[ -z "$(names S)" ] || echo "survived:$(names S)"
echo "$(count C) of $(count '[BCS]') caught, in $(($(date +%s) - began)) s"
[ "$(count C)" -gt 0 ] && [ "$(count '[BS]')" -eq 0 ]
exit $? # the table
# Durability.
sync-normal db.c db
- "PRAGMA synchronous=FULL", "PRAGMA synchronous", "2"
+ "PRAGMA synchronous=NORMAL", "PRAGMA synchronous", "1"

answer-before-commit api.c
- 	claim_match(api->claim);
- 	changed = db_within(db);
+ 	claim_match(api->claim);
+ 	conns_release(api->conns);
+ 	changed = db_within(db);

failed-sync-goes-on db.c db
- 	if (base == SQLITE_FULL ||
+ 	if (code == SQLITE_IOERR_FSYNC || base == SQLITE_FULL ||

memory-outlives-rollback api.c
- 	dispatch_load(api->dispatch);
- 	claim_load(api->claim);
- 	api->failing = true;
+ 	api->failing = true;

held-reply-after-rollback api.c
- 	conns_refuse_held(api->conns, &reply);
+ 	(void)reply;

rolled-back-rows-remembered store.c turn
- 	if (s->undone != db_undone(s->db))
- 		recent_forget(s);
+

key-not-kept api.c
- 	if (key)
- 		store_key_add(api->store, key, &c);
+ 	if (key && c.row < 0)
+ 		store_key_add(api->store, key, &c);

# The agent's journal.
effect-before-started poll.c
- 		s->state = SLOT_WRITING;
- 		write_add(p, WRITE_START, s, s->id, s->attempt, ANSWER_OPEN);
+ 		started(s);

started-not-synced poll.c
- 	if (kind != WRITE_ANSWERED || p->draining)
+ 	if ((kind != WRITE_ANSWERED && kind != WRITE_START) || p->draining)

report-before-finished poll.c
- 	write_add(s->home, WRITE_FINISH, s, s->id, s->attempt, ANSWER_OPEN);
- }
+ 	report_record(s, s->completed ? REPORT_COMPLETED : REPORT_FAILED);
+ }

report-beside-finished poll.c
- 	write_add(s->home, WRITE_FINISH, s, s->id, s->attempt, ANSWER_OPEN);
- }
+ 	write_add(s->home, WRITE_FINISH, s, s->id, s->attempt, ANSWER_OPEN);
+ 	report_record(s, s->completed ? REPORT_COMPLETED : REPORT_FAILED);
+ }

journal-not-asked poll.c poll
- 	} else if (journal_highest(p->journal, s->id, &held) && held.attempt >= s->attempt) {
+ 	} else if (journal_get(p->journal, s->id, s->attempt + 1000, &held)) {

older-attempt-started poll.c poll
- held.attempt >= s->attempt) {
+ held.attempt == s->attempt) {

answered-deleted journal.c journal
- "UPDATE entries SET answer = ?3, answered_at = ?4 WHERE command_id = ?1 AND attempt = ?2"
+ "DELETE FROM entries WHERE command_id = ?1 AND attempt = ?2 AND ?3 = ?3 AND ?4 = ?4"

tombstone-not-written poll.c
- 	write_add(s->home, WRITE_NOT_STARTED, s, s->id, s->attempt, ANSWER_OPEN);
+ 	report_record(s, REPORT_NOT_STARTED);

polls-while-it-owes poll.c
- 	return !p->draining && !p->full && !p->reopening && !owes(p)
+ 	return !p->draining && !p->full && !p->reopening

polls-without-room poll.c
- 	return !p->draining && !p->full &&
+ 	return !p->draining &&

freshness-never-asked poll.c
- 	return now_us(s->home) - s->asked_us > s->lease_ms * 1000;
+ 	return now_us(s->home) - s->asked_us > s->lease_ms * INT64_C(1000000000);

freshness-before-effect poll.c
- 	if (stale(s)) {
- 		not_start(s,
+ 	if (stale(s) && s->attempt < 0) {
+ 		not_start(s,

report-not-retried report.c report
- 	if (m == MEANS_AGAIN) {
- 		send_later(r, a);
- 		return;
- 	}
+ 	if (m == MEANS_AGAIN)
+ 		m = MEANS_HEARD;

any-200-is-an-answer report.c report
- 		return json && is_command(r, body) ? MEANS_HEARD : MEANS_AGAIN;
+ 		return MEANS_HEARD;

busy-means-orphan report.c report
- 	return a->status >= 400 && a->status <= 499 ? MEANS_ORPHAN : MEANS_AGAIN;
+ 	return a->status >= 400 ? MEANS_ORPHAN : MEANS_AGAIN;

boot-not-raised journal.c journal
- 	j->boot++;
+ 	j->boot += j->boot == 0;

fence-forgotten journal.c journal
- 	j->fenced = meta_get(j, "fenced", &text);
- 	buf_free(&text);
- 	if (journal_commit(j) == DB_OK)
+ 	buf_free(&text);
+ 	if (journal_commit(j) == DB_OK)

restore-not-heard poll.c operator
- 	if (restore && !p->reopening && !owes(p) && journal_reopen(p->journal, restore)) {
+ 	if (restore && p->quiet && journal_reopen(p->journal, restore)) {

get-sent-again call.c call
- 	c->reused = link_take(c->link, &c->url, &c->wire);
+ 	c->reused = link_take(c->link, &c->url, &c->wire) || c->link;

# Evidence and verdicts.
silent-is-requeued recover.c recover
- 	[EVIDENCE_SILENT]      = { STATUS_PENDING,   false, true,  FAILURE_AGENT_LOST },
+ 	[EVIDENCE_SILENT]      = { STATUS_PENDING,   false, true,  FAILURE_NONE },

interrupted-is-requeued recover.c recover
- 	[EVIDENCE_INTERRUPTED] = { STATUS_PENDING,   false, true,  FAILURE_OUTCOME_UNKNOWN },
+ 	[EVIDENCE_INTERRUPTED] = { STATUS_PENDING,   false, true,  FAILURE_NONE },

no-log-is-no-entry recover.c recover
- 	enum evidence evidence = same_journal(c, who) ? EVIDENCE_NO_ENTRY : EVIDENCE_NO_LOG;
+ 	enum evidence evidence = c->journal_id || same_journal(c, who) ? EVIDENCE_NO_ENTRY : EVIDENCE_NO_LOG;

cancel-ignored recover.c recover
- 	if (q->cancel_requested)
- 		return failed(FAILURE_CANCELLED, false);
+

attempts-without-end recover.c recover
- 	if (!v.again && q->attempt >= q->max_attempts)
+ 	if (!v.again && q->attempt > q->max_attempts)

redelivery-without-end recover.c recover
- 	if (v.again && q->redelivered >= q->max_attempts)
+ 	if (v.again && q->redelivered > q->max_attempts)

not-started-counts recover.c recover
- c->attempt - c->not_started, c->max_attempts
+ c->attempt, c->max_attempts

evidence-order recover.c recover
- 	return held == HELD_INTERRUPTED && (report == REPORT_COMPLETED || report == REPORT_FAILED);
+ 	return held == HELD_INTERRUPTED || held == HELD_NOT_STARTED;

evidence-not-kept recover.c recover
- 	c->held = held;
- 	if (settled(c)) {
+ 	if (settled(c)) {

heartbeat-revives-all recover.c recover
- 	if (c->held != HELD_NONE)
- 		return RECOVER_STALE_ATTEMPT;
- 	if (c->status != STATUS_RUNNING) {
+ 	if (c->status != STATUS_RUNNING) {

revives-another-boot recover.c recover
- 	return same(c->boot_id, who->boot_id) && store_held
+ 	return store_held

revives-what-is-busy recover.c recover
-  && store_held(s, who->agent_id, &row, 1) == 0;
+  && store_held(s, who->agent_id, &row, 0) == 0;

stale-report-counts recover.c recover
- 	if (attempt < c->attempt) {
+ 	if (attempt < 0) {

holder-not-asked recover.c recover
- 	if (c->attempt == 0 || !same(c->agent_id, in->who.agent_id) || !same(c->journal_id, in->who.journal_id))
+ 	if (c->attempt == 0)

higher-attempt-refused recover.c recover
- 	if (attempt > c->attempt)
- 		return adopt(s, c, in, now_ms, renew);
+ 	if (attempt > c->attempt)
+ 		return RECOVER_STALE_ATTEMPT;

attempt-not-raised recover.c recover
- 	c->status = STATUS_RUNNING;
- 	c->attempt++;
+ 	c->status = STATUS_RUNNING;
+ 	c->attempt += c->attempt == 0;

settled-is-overwritten recover.c recover
- 	return c->status == STATUS_COMPLETED || (c->status == STATUS_FAILED && !c->needs_review);
+ 	return c->status == STATUS_COMPLETED && c->needs_review;

resolve-twice recover.c recover
- 	if (!c->needs_review && action != RESOLVE_RETRY)
+ 	if (c->row < 0)

poll-starts-what-failed recover.c recover
- 	struct verdict v = { STATUS_FAILED, never ? FAILURE_NEVER_STARTED : FAILURE_EVIDENCE_LOST, true, false };
+ 	struct verdict v = { never ? STATUS_PENDING : STATUS_FAILED, never ? FAILURE_NONE : FAILURE_EVIDENCE_LOST, !never, false };

# Who is who, polls, leases.
boot-not-compared claim.c
- 		if (boot >= who->boot) {
+ 		if (boot > who->boot + 1000) {

clone-accepted claim.c
- 		if (boot == who->boot && same(boot_id, who->boot_id))
+ 		if (boot == who->boot)

name-taken claim.c
- 	return left_us > 0 ? left_us / 1000 + 1 : 0;
+ 	return left_us > 1000000000 ? left_us / 1000 + 1 : 0;

older-poll-stays claim.c
- 	if (h->parked)
- 		end_empty(h->parked);
+

handed-to-the-dead claim.c turn
- 		if (!conn_alive(w->conn))
- 			continue;
+

own-not-recovered claim.c
- 	if (!m->paused && recover_own(m, conn, &p->who))
+ 	if (m->paused && recover_own(m, conn, &p->who))

handed-out-while-paused claim.c turn
- 	bool work = !m->paused && m->first && next_pending(m, &c);
+ 	bool work = m->first && next_pending(m, &c);

lease-never-ends dispatch.c
- 	lease_drop(l);
- 	d->expired(d->arg, row);
+ 	lease_drop(l);
+ 	(void)row;

lease-on-the-wall-clock dispatch.c
- 	return loop_now_us(d->loop) - loop_deaf_us(d->loop);
+ 	return db_env(store_db(d->store))->wall_ms(db_env(store_db(d->store))->world) * 1000;

deaf-time-counts loop.c loop
- 		l->deaf_us += l->now_us - meant_us;
+ 		l->deaf_us += 0;

timers-before-input loop.c loop
- 	run_ready(l, count, &rd, &wr);
- 	run_signals(l);
- 	run_timers(l);
+ 	run_timers(l);
+ 	run_ready(l, count, &rd, &wr);
+ 	run_signals(l);

# What strangers send.
doubled-member-accepted api.c
- 		if (i < count && !members[i].given) {
+ 		if (i < count) {

other-host-accepted api.c
- 	if (head->host.p && !host_allowed(api, head->host))
+ 	if (head->host.p && !host_allowed(api, head->host) && api->set.lease_ms < 0)

token-prefix-accepted api.c
- 	unsigned differ = n == 0 || given.n != n;
+ 	unsigned differ = n == 0 || given.n > n;

backup-hands-out server.c operator
- 	bool good = db_backup(env, path, file, store_pause_sql(), &text);
+ 	bool good = db_backup(env, path, file, "SELECT 1", &text);

audit-sees-no-double audit.c operator
- 	judge_starts(a, c, id, &story);
+ 	(void)judge_starts;

# More of durability.
rolled-back-is-well db.c db
- 	db_rollback(d);
- 	return DB_FULL;
+ 	db_rollback(d);
+ 	return DB_OK;

deleted-file-not-seen db.c db
- 	if (stat(d->path, &st) != 0 || st.st_dev != d->dev || st.st_ino != d->ino)
+ 	if (stat(d->path, &st) == 0 && st.st_ino == 0)

file-not-locked db.c db
- 	else if (fcntl(d->lock, F_SETLK, &want) == 0) {
+ 	else if (fcntl(d->lock, F_SETLK, &want) == 0 || d->lock >= 0) {

key-in-a-later-transaction api.c
- 	if (key)
- 		store_key_add(api->store, key, &c);
+ 	if (key) {
+ 		(void)db_commit(store_db(api->store));
+ 		db_begin(store_db(api->store));
+ 		store_key_add(api->store, key, &c);
+ 	}

held-not-saved store.c recover
- 	db_bind_int(q, 7, c->held);
+ 	db_bind_int(q, 7, 0);

cancel-not-saved store.c recover
- 	db_bind_int(q, 14, c->cancel_requested);
+ 	db_bind_int(q, 14, 0);

redeliveries-not-saved store.c recover
- 	db_bind_int(q, 6, c->redelivered);
+ 	db_bind_int(q, 6, 0);

row-taken-for-the-id store.c
-  && store_get(s, row, out) && out->nonce == nonce && out->created_at == created_at;
+  && store_get(s, row, out);

# More of the journal.
open-entries-not-owed poll.c
- 	owe_all_open(p);
- 	for (int i = 0; i < set->slots; i++)
+ 	for (int i = 0; i < set->slots; i++)

interrupted-told-as-unbegun poll.c
- 		: e.state == JOURNAL_STARTED ? REPORT_INTERRUPTED : REPORT_NOT_STARTED, done
+ 		: REPORT_NOT_STARTED, done

held-told-as-unbegun poll.c poll
- 	report_record(s, e->state == JOURNAL_NOT_STARTED ? REPORT_NOT_STARTED : e->state == JOURNAL_STARTED ? REPORT_INTERRUPTED
+ 	report_record(s, e->state != JOURNAL_FINISHED ? REPORT_NOT_STARTED

unwritten-is-begun poll.c
- 		if (good) {
- 			written(p, w);
+ 		if (good || w->kind == WRITE_START) {
+ 			written(p, w);

start-waits-for-room poll.c poll
- 	if (w->kind == WRITE_START) {
+ 	if (w->kind == WRITE_START && s->attempt < 0) {

result-waits-for-room poll.c poll
- 	} else if (w->kind == WRITE_FINISH && s->state == SLOT_WRITING) {
+ 	} else if (w->kind == WRITE_FINISH && s->attempt < 0) {

answer-of-before-the-restore poll.c operator
- 		if (!p->reopening || w->kind != WRITE_ANSWERED)
- 			apply(p, w);
+ 		apply(p, w);

restore-opens-nothing journal.c journal
- 	db_run(j->db, change(j, "UPDATE entries SET answer = 'OPEN' WHERE answer <> 'OPEN'"));
+

restore-heard-each-time journal.c journal
- 	meta_put(j, "restore", restore);
+

open-entries-pruned journal.c journal
- 		"AND answer <> 'OPEN' AND answered_at < ?1");
+ 		"AND IFNULL(answered_at, 0) < ?1");

young-answers-pruned journal.c journal
- 		"AND answer <> 'OPEN' AND answered_at < ?1");
+ 		"AND answer <> 'OPEN'");

tombstone-over-an-end journal.c journal
- 		"WHERE state = 'STARTED' AND answer = 'OPEN'");
+ 	);

unreadable-is-nothing-held journal.c journal
- 	if (db_broken(j->db))
- 		env_fatal(j->env, "the journal cannot be read after a change to it failed");
+

fence-not-written poll.c operator
- 	if (fence)
- 		journal_fence(p->journal);
+

fenced-polls-on poll.c
- 	p->fencing = p->draining = p->eager = true;
- 	s->state = SLOT_RESTING;
+ 	rest_on(s);

stopping-agent-begins poll.c poll
- 	} else if (p->draining || p->fencing) {
+ 	} else if (p->fencing) {

stopping-agent-polls poll.c poll
- 	return !p->draining && !p->full &&
+ 	return !p->full &&

other-slot-not-asked poll.c poll
- o->attempt >= s->attempt && strcmp(o->id, s->id) == 0)
+ o->attempt > s->attempt && strcmp(o->id, s->id) == 0)

beats-too-rare poll.c poll
- s->lease_ms * 1000 / 3, send_beat, s);
+ s->lease_ms * 1000 * 2, send_beat, s);

cancel-not-heard poll.c poll
- 	if (beat == BEAT_CANCEL)
+ 	if (beat == BEAT_CANCEL && s->attempt < 0)

overruled-runs-on poll.c poll
- 	else if (beat == BEAT_STOP)
+ 	else if (beat == BEAT_STOP && s->attempt < 0)

outage-stops-what-runs report.c report
- m != MEANS_HEARD ? BEAT_UNHEARD :
+ m != MEANS_HEARD ? BEAT_STOP :

overruled-sent-again report.c report
- 		return MEANS_OVERRULED;
+ 		return r->beat ? MEANS_OVERRULED : MEANS_AGAIN;

denied-means-orphan report.c report
- 	if (a->status == 401 || a->status == 403 || a->status == 408 || a->status == 429)
- 		return MEANS_AGAIN;
+

orphan-sent-again report.c report
- 	return a->status >= 400 && a->status <= 499 ? MEANS_ORPHAN : MEANS_AGAIN;
+ 	return MEANS_AGAIN;

pause-beyond-its-cap report.c report
- 	pause = pause > cap ? cap : pause;
+

redirects-without-end run.c run
- 	if (++r->redirects > REDIRECTS_MAX) {
+ 	if (++r->redirects > 1000000) {

# More of evidence.
no-journal-is-no-entry recover.c recover
- 	return who->journal_id && same(c->journal_id, who->journal_id);
+ 	return same(c->journal_id, who->journal_id);

doubt-is-cancelled recover.c recover
- 	if (table[q->evidence].doubt != FAILURE_NONE && !q->is_idempotent)
+ 	if (table[q->evidence].doubt != FAILURE_NONE && !q->is_idempotent && !q->cancel_requested)

completed-begins-again recover.c recover
- 	if (c->status == STATUS_COMPLETED)
- 		return RECOVER_ALREADY_SETTLED;
- 	become(c, &running, now_ms);
+ 	become(c, &running, now_ms);

adopted-without-a-holder recover.c recover
- 	c->agent_id = in->who.agent_id;
- 	c->journal_id = in->who.journal_id;
- 	c->boot_id = in->who.boot_id;
- 	c->lease_ms = 0;
+ 	c->lease_ms = 0;

adopted-attempt-not-kept recover.c recover
- 	c->attempt = in->attempt;
+ 	c->attempt++;

adopted-with-old-evidence recover.c recover
- 	c->held = HELD_NONE;
- 	learn_boot(s, &in->who);
+ 	learn_boot(s, &in->who);

adopted-boot-not-learnt recover.c recover
- 	learn_boot(s, &in->who);
+

given-with-old-evidence recover.c recover
- 	c->redelivered = 0;
- 	c->held = HELD_NONE;
- 	c->agent_id = who->agent_id;
+ 	c->redelivered = 0;
+ 	c->agent_id = who->agent_id;

given-with-old-redeliveries recover.c recover
- 	c->attempt++;
- 	c->redelivered = 0;
+ 	c->attempt++;

repeat-is-refused recover.c recover
- 	if (c->held == held)
- 		return RECOVER_OK;
+

retry-forgets-evidence recover.c recover
- 		c->max_attempts++;
+ 		c->max_attempts++;
+ 		c->held = HELD_NONE;

retry-allows-no-more recover.c recover
- 		c->max_attempts++;
+

retry-stays-cancelled recover.c recover
- 		c->cancel_requested = false;
+

resolves-what-runs recover.c recover
- 	if (c->status != STATUS_FAILED)
- 		return RESOLVE_NOT_FAILED;
+ 	if (c->status == STATUS_COMPLETED)
+ 		return RESOLVE_NOT_FAILED;

interrupted-undoes-a-retry recover.c recover
- 	if (c->status == STATUS_RUNNING || in_doubt)
+ 	if (c->status == STATUS_RUNNING || in_doubt || !c->is_idempotent)

interrupted-says-nothing-new recover.c recover
- 	if (c->status == STATUS_RUNNING || in_doubt)
+ 	if (c->status == STATUS_RUNNING && !in_doubt)

heartbeat-undoes-doubt recover.c recover
- !(c->status == STATUS_FAILED && c->failure == FAILURE_AGENT_LOST))
+ c->status != STATUS_FAILED)

redelivery-keeps-the-boot recover.c recover
- 	c->boot_id = who->boot_id;
- 	c->started_at = now_ms;
+ 	c->started_at = now_ms;

redelivery-not-counted recover.c recover
- 	c->redelivered++;
+

lost-journal-proves-it recover.c recover
- 	bool never = same_journal(c, who);
+ 	bool never = same_journal(c, who) || c->row > 0;

cancel-ends-what-runs recover.c recover
- 	if (c->status == STATUS_PENDING)
- 		become(c, &v, now_ms);
+ 	become(c, &v, now_ms);

late-evidence-untold recover.c recover
- 	if (late)
- 		tell(
+ 	if (late && c->row < 0)
+ 		tell(

# More of polls and leases.
boot-not-kept claim.c
- 	store_journal_put(m->store, who->journal_id, who->boot, who->boot_id);
+

vanished-slot-forgotten claim.c turn
- 	store_running(m->store, find_stray, m);
- 	return true;
+ 	return true;

vanished-slot-of-this-boot claim.c turn
-  && same(out->journal_id, who->journal_id) && !same(out->boot_id, who->boot_id))
+  && same(out->journal_id, who->journal_id))

vanished-slots-outlive-rollback api.c turn
- 	dispatch_load(api->dispatch);
- 	claim_load(api->claim);
+ 	dispatch_load(api->dispatch);

start-is-no-hearing claim.c turn
- 		heard_us = m->start_us;
+ 		heard_us = m->start_us - m->lease_ms * 1000;

refused-poll-is-heard claim.c turn
- 	if (taken_ms > 0) {
+ 	if (taken_ms > 0) {
+ 		if (h)
+ 			h->at_us = dispatch_clock_us(m->dispatch);

reports-are-not-heard api.c turn
- 	claim_hear(rq->api->claim, &in.who);
+

parked-for-a-lease claim.c turn
- 	wait = wait > lease / 3 ? lease / 3 : wait;
+ 	wait = wait > lease ? lease : wait;

parked-for-ever claim.c turn
- 	wait = wait > WAIT_MS_MAX ? WAIT_MS_MAX : wait;
+

redelivered-to-the-dead claim.c turn
- 	if ((n > 0 || m->strays_count > 0) && !conn_alive(conn))
- 		return false;
+

ready-means-pending claim.c
- 		if (store_get(m->store, row, c) && c->status == STATUS_PENDING)
+ 		if (store_get(m->store, row, c))

refused-work-is-forgotten claim.c
- 	if (work)
- 		dispatch_note(m->dispatch, &c);
+

redelivered-on-the-old-lease claim.c
- 	dispatch_renew(m->dispatch, c);
- 	answer_command(
+ 	answer_command(

redelivery-while-paused claim.c turn
- 	if (!m->paused && recover_own(m, conn, &p->who))
+ 	if (recover_own(m, conn, &p->who))

pause-not-told claim.c turn
- 	if (w->home->paused)
+ 	if (w->home->paused && w->home->lease_ms < 0)

leases-forgotten-at-the-start dispatch.c turn
- 	store_running(d->store, load_lease, d);
+ 	(void)load_lease;

lease-ends-while-deaf dispatch.c
- 	if (dispatch_clock_us(d) < l->end_us) {
+ 	if (d->lease_us < 0) {

own-lease-not-kept dispatch.c turn
- (lease_ms ? lease_ms * 1000 : d->lease_us);
+ (lease_ms < 0 ? lease_ms * 1000 : d->lease_us);

heartbeat-renews-nothing api.c turn
- 	if (renew)
- 		dispatch_renew(
+ 	if (renew && c.lease_ms < 0)
+ 		dispatch_renew(

youngest-first dispatch.c turn
- d->ready[(i - 1) / 2] > row; i = (i - 1) / 2)
+ d->ready[(i - 1) / 2] < row; i = (i - 1) / 2)

requeued-is-not-ready dispatch.c
- 	if (row > d->horizon)
- 		return;
+ 	if (row > d->horizon || row < d->newest)
+ 		return;

beyond-the-queue-is-lost dispatch.c turn
- 	d->horizon = n == READY_FETCH ? rows[n - 1] : INT64_MAX;
+ 	d->horizon = INT64_MAX;

full-queue-takes-none dispatch.c turn
- 	if (d->ready_count >= READY_MAX && row > d->newest) {
- 		d->horizon = row - 1;
- 		return;
- 	}
+ 	if (d->ready_count >= READY_MAX && row > d->newest)
+ 		return;

live-names-forgotten dispatch.c turn
- 			if (h->heard.parked || dispatch_live(d, &h->heard))
- 				continue;
+ 			if (h->heard.parked)
+ 				continue;

# More of what strangers send.
key-of-another-payload api.c turn
-  || memcmp(held.payload, asked->payload, held.payload_len) != 0)
+ )

key-of-another-kind api.c turn
- held.is_idempotent != asked->is_idempotent ||
+

unknown-member-accepted api.c
- 		} else if (i < count || strict) {
+ 		} else if (i < count) {

other-origin-accepted api.c
- 	else if (from_elsewhere(head))
+ 	else if (from_elsewhere(head) && api->set.lease_ms < 0)

agents-token-opens-all api.c
-  || (access == FOR_AGENTS && token_is(auth, api->set.agent_token));
+  || token_is(auth, api->set.agent_token);

address-not-asked call.c call
- 		if (!allowed(c, a))
- 			continue;
+

newer-database-opened db.c migrate
- 	else if (version > newest)
+ 	else if (version > newest + 1000)

link-followed db.c db
- 	if (!S_ISREG(st.st_mode)) {
+ 	if (S_ISDIR(st.st_mode)) {

two-framings-accepted http.c http
- 	if (f->codings > 0 && f->lengths > 0)
- 		return bad(&f->why, 400, "both Content-Length and Transfer-Encoding");
+

resume-not-kept api.c turn
- 	store_fact_put(api->store, "paused", NULL);
+

audit-sees-no-loss audit.c operator
- 		judge_unknown(&a);
+

audit-sees-no-outcome audit.c operator
- 	judge_outcome(a, c, id, &story);
+

audit-guesses audit.c operator
- 		finding(a, false, id, c->attempt, "A1", "its agent keeps no journal");
+ 		;
