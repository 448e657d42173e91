#!/bin/sh
# mutants.sh [NAME...]: deliberate faults, one at a time: each is put into a copy of the sources, built, and must make a test fail. All, or those named.
# Prints one line each, which test caught it first, and at the end how many were caught. A fault whose text is no longer in its file, or that does not
# compile, is an error of this table. The table: name, file, the tests to ask first (unit tests by name; the world is asked after them, then all unit
# tests, then the real processes), then the text that is taken away (-) and what stands there instead (+); both may be several lines.
set -u
cd "$(dirname "$0")/.." || exit 1
make=${MAKE:-make}
only=" $* "
dir=build/mutants
log=$(pwd)/build/mutants.log
began=$(date +%s)
caught=0 survived='' broken=''

table() { sed '1,/^exit .*# the table$/d' "$0"; }

# tree: a built copy, every test in it passing without a fault
tree() {
	rm -rf "$dir"
	mkdir -p "$dir"
	tar cf - --exclude=./build --exclude=./.git --exclude='*.o' --exclude='*.a' . | (cd "$dir" && tar xf -)
	cd "$dir" || exit 1
	rm -f server agent t/*_test
	$make -s STATIC=no all tools check-quick >"$log" 2>&1 || { tail -n 20 "$log"; echo "mutants: the sources fail without any fault"; exit 1; }
}

# replace OLD-FILE NEW-FILE SOURCE: the first place where all of OLD stands becomes NEW; false where there is none
replace() {
	awk 'FNR == 1 { file++ } file == 1 { old = old (FNR > 1 ? "\n" : "") $0 } file == 2 { new = new (FNR > 1 ? "\n" : "") $0 } file == 3 { all = all $0 "\n" }
		END { at = index(all, old); if (!at || old == "") exit 1; printf "%s%s%s", substr(all, 1, at - 1), new, substr(all, at + length(old)) }' "$1" "$2" "$3" >mutant.c
}

# stage TESTS: builds and runs them; says on which it failed
stage() {
	for test in "$@"; do
		case $test in sim) program="build/sim --seed=1 --runs=600" target=build/sim ;; *) program=t/${test}_test target=t/${test}_test ;; esac
		case $test in operator | process) target="all tools $target" ;; esac
		# shellcheck disable=SC2086
		$make -s STATIC=no $target >>"$log" 2>&1 || { echo "does not compile"; return 2; }
		LIMIT=${LIMIT:-150} sh t/check.sh "$program" >>"$log" 2>&1 || { echo "$test"; return 0; }
	done
	return 1
}

# one NAME FILE TESTS, with the texts in the files old and new
one() {
	name=$1 file=$2 tests=$3
	[ "$only" = '  ' ] || case $only in *" $name "*) ;; *) return ;; esac
	cp "$file" original
	printf '' >"$log"
	if ! replace old new "$file"; then
		broken="$broken $name"
		printf '%-28s %-12s THE TEXT IS NOT THERE\n' "$name" "$file"
		return
	fi
	cp mutant.c "$file"
	# shellcheck disable=SC2086
	by=$(stage $tests sim recover journal db http conn loop json call run conf url lookup operator process)
	case $? in
	0) caught=$((caught + 1)) && printf '%-28s %-12s caught by %s\n' "$name" "$file" "$by" ;;
	1) survived="$survived $name" && printf '%-28s %-12s SURVIVED\n' "$name" "$file" ;;
	*) broken="$broken $name" && printf '%-28s %-12s %s\n' "$name" "$file" "$by" && tail -n 5 "$log" ;;
	esac
	cp original "$file"
}

lines=$(mktemp) && table >"$lines" || exit 1
trap 'rm -f "$lines"' EXIT
tree
name=
while IFS= read -r line || [ -n "$line" ]; do
	case $line in
	'#'*) ;;
	'') [ -z "$name" ] || one "$name" "$file" "$tests"; name= ;;
	'- '*) printf '%s\n' "${line#- }" >>old ;;
	'+ '*) printf '%s\n' "${line#+ }" >>new ;;
	'+') printf '\n' >>new ;;
	*) name=${line%% *} rest=${line#* } file=${rest%% *} tests=${rest#"$file"}; : >old; : >new ;;
	esac
done <"$lines"
[ -z "$name" ] || one "$name" "$file" "$tests"
[ -z "$broken" ] || echo "errors of the table:$broken"
[ -z "$survived" ] || echo "survived:$survived"
total=$caught
for name in $survived $broken; do total=$((total + 1)); done
echo "$caught of $total caught, in $(($(date +%s) - began)) s"
[ -z "$survived$broken" ]
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

journal-not-asked poll.c
- 	} else if (journal_highest(p->journal, s->id, &held) && held.attempt >= s->attempt) {
+ 	} else if (journal_get(p->journal, s->id, s->attempt + 1000, &held)) {

older-attempt-started poll.c
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

report-not-retried report.c
- 	if (m == MEANS_AGAIN) {
- 		send_later(r, a);
- 		return;
- 	}
+ 	if (m == MEANS_AGAIN)
+ 		m = MEANS_HEARD;

any-200-is-an-answer report.c
- 		return json && is_command(r, body) ? MEANS_HEARD : MEANS_AGAIN;
+ 		return MEANS_HEARD;

busy-means-orphan report.c
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

restore-not-heard poll.c
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

handed-to-the-dead claim.c
- 		if (!conn_alive(w->conn))
- 			continue;
+

own-not-recovered claim.c
- 	if (!m->paused && conn_alive(conn) && recover_own(m, conn, &p->who))
+ 	if (m->paused && conn_alive(conn) && recover_own(m, conn, &p->who))

handed-out-while-paused claim.c
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

backup-hands-out server.c
- 	store_pause_sql(name, &mark);
+ 	buf_str(&mark, "SELECT 1");

audit-sees-no-double audit.c
- 	judge_starts(a, c, id, &story);
+ 	(void)judge_starts;
