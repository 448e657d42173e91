# onlyonce. POSIX make; works with GNU make and bmake. Yours to set: CC CFLAGS LDFLAGS PREFIX DESTDIR, and
#   TLS=auto|yes|no          https through OpenSSL's API (auto: when its headers and library are there)
#   STATIC=auto|yes|no       auto: static where the platform has static libraries, else dynamic with one line that says so
#   SQLITE_SRC=sqlite3.c     compile this amalgamation instead of linking the system's SQLite
#   CMOCKA_SRC=cmocka.c      the same for the tests' cmocka
.POSIX:
.SUFFIXES:
.SUFFIXES: .c .o

CC = cc
CFLAGS = -O2 -g
LDFLAGS =
PREFIX = /usr/local
DESTDIR =
TLS = auto
STATIC = auto
SQLITE_SRC =
CMOCKA_SRC =
STD = -std=c99 -D_POSIX_C_SOURCE=200809L -pedantic -Wall -Wextra -Wshadow -Wconversion

# In the order of the house: a file includes only headers above it.
OBJ = util.o env.o conf.o json.o url.o http.o loop.o tls.o lookup.o guard.o conn.o call.o db.o migrations.o \
	command.o store.o journal.o audit.o recover.o dispatch.o answer.o claim.o api.o run.o report.o poll.o
HDR = util.h env.h conf.h json.h url.h http.h loop.h tls.h lookup.h guard.h conn.h call.h db.h \
	command.h store.h journal.h audit.h recover.h dispatch.h answer.h claim.h api.h run.h report.h poll.h
SQL = migrations/server/0001_init.sql migrations/agent/0001_init.sql
UNITS = t/util_test t/env_test t/conf_test t/json_test t/url_test t/http_test t/loop_test t/tls_test t/lookup_test t/conn_test t/call_test \
	t/db_test t/migrate_test t/journal_test t/recover_test t/turn_test t/run_test t/report_test t/poll_test
LONGER = t/flood_test t/hostile_test t/crash_test
TESTS = $(UNITS) t/process_test t/operator_test $(LONGER)
SCRIPTS = t/man_test.sh t/install_test.sh t/chroot_test.sh
CRASH = build/crash_server build/crash_agent build/crash_server_normal build/crash_agent_normal
TOOLS = build/target t/jsoncheck t/httpget
TOBJ = t/util_test.o t/env_test.o t/conf_test.o t/json_test.o t/url_test.o t/http_test.o t/loop_test.o t/tls_test.o t/lookup_test.o t/conn_test.o t/call_test.o \
	t/db_test.o t/migrate_test.o t/journal_test.o t/recover_test.o t/turn_test.o t/run_test.o t/report_test.o t/poll_test.o t/process_test.o t/operator_test.o t/flood_test.o t/hostile_test.o t/fakeworld.o t/faultvfs.o t/dbfix.o t/proc.o \
	t/target.o t/jsoncheck.o t/httpget.o t/sim_main.o t/sim.o t/sim_nodes.o t/cover.o t/shelf.o t/cast.o t/checker.o t/tap.o t/world.o t/simdisk.o t/crash_test.o t/crash_node.o t/bench.o t/bench_client.o t/bench_world.o t/bench_fill.o
THDR = t/fakeworld.h t/faultvfs.h t/dbfix.h t/proc.h t/sim.h t/sim_nodes.h t/cover.h t/shelf.h t/cast.h t/checker.h t/tap.h t/world.h t/simdisk.h t/bench.h

all: server agent

.c.o:
	$(CC) $(STD) $(CFLAGS) `cat build/cflags` -c -o $@ $<

$(OBJ) server.o agent.o: $(HDR) build/cflags
$(TOBJ): $(HDR) $(THDR) build/cflags

# What this platform has: static libraries, TLS, a SQLite source. Asked again when a setting changes.
build/cflags: t/config.sh FORCE
	@sh t/config.sh "$(CC)" "$(CFLAGS) $(LDFLAGS)" "$(TLS)" "$(STATIC)" "$(SQLITE_SRC)" "$(CMOCKA_SRC)"
FORCE:

migrations.c: t/embed.sh $(SQL)
	sh t/embed.sh $@

onlyonce.a: $(OBJ)
	rm -f $@
	ar rc $@ $(OBJ)
	ranlib $@

server: server.o onlyonce.a
	@sh t/link.sh $(CC) $(CFLAGS) $(LDFLAGS) -o $@ server.o onlyonce.a
agent: agent.o onlyonce.a
	@sh t/link.sh $(CC) $(CFLAGS) $(LDFLAGS) -o $@ agent.o onlyonce.a

# Tests: one program a module; check.sh runs them and counts.
check: all $(TOOLS) $(TESTS) $(CRASH) build/sim
	@sh t/check.sh $(TESTS) $(SCRIPTS) "build/sim --seed=1 --runs=200"
# What needs no other process: seconds.
check-quick: all $(UNITS) build/sim
	@sh t/check.sh $(UNITS) "build/sim --seed=1 --runs=200"

# Every point of a crash, every loss, and a second crash at every point of what follows: an hour or more; then new seeds for so many hours.
HOURS = 1
check-long: all $(TOOLS) t/crash_test $(CRASH) build/sim
	@LIMIT=$$(($(HOURS) * 3600 + 14400)) sh t/check.sh "t/crash_test --all" "build/sim --hours=$(HOURS)"

# The same tests with every access checked.
check-asan:
	LIMIT=900 sh t/variant.sh asan check STATIC=no SCRIPTS= CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined"

# What needs no other process, under valgrind.
check-valgrind: all tools $(UNITS)
	@RUN="sh t/valgrind.sh" LIMIT=900 sh t/check.sh $(UNITS)

# What the analyzers that are here find in the sources.
lint: build/cflags migrations.c
	@sh t/lint.sh

# Many nodes in one seeded process: make sim SEED=1 RUNS=200
SEED = 1
RUNS = 200
MORE =
sim: build/sim
	build/sim --seed=$(SEED) --runs=$(RUNS) $(MORE)

# Any bytes into each parser: make fuzz SECONDS=600 FUZZ=json
SECONDS = 10
FUZZ =
fuzz:
	sh t/fuzz.sh $(SECONDS) $(FUZZ)

# Deliberate faults in the sources, each of which must make a test fail.
MUTANTS =
mutants:
	sh t/mutants.sh $(MUTANTS)

# The protocol as a model (spin).
model:
	sh t/model/run.sh

# Figures: make bench BENCH=--json
BENCH =
bench: all build/bench
	build/bench $(BENCH) .

# Other compilers, makes, C libraries and machines; a source tarball; a Debian package.
ports:
	sh t/ports.sh
dist:
	sh t/dist.sh
deb: all
	sh t/deb.sh

demo: all $(TOOLS)
	@sh t/demo.sh

LINK = $(CC) $(CFLAGS) $(LDFLAGS) -o $@
TEST = onlyonce.a `cat build/testlibs build/libs`
TOOL = onlyonce.a `cat build/libs`
$(TESTS) $(TOOLS): onlyonce.a
t/util_test: t/util_test.o
	$(LINK) t/util_test.o $(TEST)
t/env_test: t/env_test.o
	$(LINK) t/env_test.o $(TEST)
t/conf_test: t/conf_test.o
	$(LINK) t/conf_test.o $(TEST)
t/json_test: t/json_test.o
	$(LINK) t/json_test.o $(TEST)
t/url_test: t/url_test.o
	$(LINK) t/url_test.o $(TEST)
t/http_test: t/http_test.o
	$(LINK) t/http_test.o $(TEST)
t/loop_test: t/loop_test.o t/fakeworld.o
	$(LINK) t/loop_test.o t/fakeworld.o $(TEST)
t/tls_test: t/tls_test.o t/proc.o
	$(LINK) t/tls_test.o t/proc.o $(TEST)
t/lookup_test: t/lookup_test.o lookup.c
	$(LINK) t/lookup_test.o $(TEST)
t/conn_test: t/conn_test.o t/fakeworld.o
	$(LINK) t/conn_test.o t/fakeworld.o $(TEST)
t/call_test: t/call_test.o t/fakeworld.o
	$(LINK) t/call_test.o t/fakeworld.o $(TEST)
t/db_test: t/db_test.o t/dbfix.o t/faultvfs.o
	$(LINK) t/db_test.o t/dbfix.o t/faultvfs.o $(TEST)
t/migrate_test: t/migrate_test.o t/dbfix.o t/faultvfs.o
	$(LINK) t/migrate_test.o t/dbfix.o t/faultvfs.o $(TEST)
t/journal_test: t/journal_test.o t/dbfix.o t/faultvfs.o
	$(LINK) t/journal_test.o t/dbfix.o t/faultvfs.o $(TEST)
t/recover_test: t/recover_test.o
	$(LINK) t/recover_test.o $(TEST)
t/turn_test: t/turn_test.o t/dbfix.o t/faultvfs.o t/fakeworld.o
	$(LINK) t/turn_test.o t/dbfix.o t/faultvfs.o t/fakeworld.o $(TEST)
t/run_test: t/run_test.o t/fakeworld.o
	$(LINK) t/run_test.o t/fakeworld.o $(TEST)
t/report_test: t/report_test.o t/fakeworld.o
	$(LINK) t/report_test.o t/fakeworld.o $(TEST)
t/poll_test: t/poll_test.o t/dbfix.o t/faultvfs.o t/fakeworld.o
	$(LINK) t/poll_test.o t/dbfix.o t/faultvfs.o t/fakeworld.o $(TEST)

t/process_test: t/process_test.o t/proc.o
	$(LINK) t/process_test.o t/proc.o $(TEST)
t/operator_test: t/operator_test.o t/proc.o
	$(LINK) t/operator_test.o t/proc.o $(TEST)

t/flood_test: t/flood_test.o t/proc.o
	$(LINK) t/flood_test.o t/proc.o $(TEST)
t/hostile_test: t/hostile_test.o t/proc.o
	$(LINK) t/hostile_test.o t/proc.o $(TEST)
t/crash_test: t/crash_test.o t/proc.o
	$(LINK) t/crash_test.o t/proc.o $(TEST)

# The two programs with doors that kill them; and once more with a database that is synced less.
DOORS = t/crash_node.o t/faultvfs.o
t/crash_server.o: server.c $(HDR) build/cflags
	$(CC) $(STD) $(CFLAGS) `cat build/cflags` -Denv_real=crash_env -c -o $@ server.c
t/crash_agent.o: agent.c $(HDR) build/cflags
	$(CC) $(STD) $(CFLAGS) `cat build/cflags` -Denv_real=crash_env -c -o $@ agent.c
t/db_normal.o: db.c $(HDR) build/cflags
	sed 's/=FULL", "PRAGMA synchronous", "2"/=NORMAL", "PRAGMA synchronous", "1"/' db.c >build/db_normal.c
	@! cmp -s db.c build/db_normal.c || { echo "db.c does not ask for synchronous=FULL"; exit 1; }
	$(CC) $(STD) $(CFLAGS) `cat build/cflags` -I. -c -o $@ build/db_normal.c
$(CRASH): $(DOORS) onlyonce.a
build/crash_server: t/crash_server.o
	$(LINK) t/crash_server.o $(DOORS) $(TOOL)
build/crash_agent: t/crash_agent.o
	$(LINK) t/crash_agent.o $(DOORS) $(TOOL)
build/crash_server_normal: t/crash_server.o t/db_normal.o
	$(LINK) t/crash_server.o $(DOORS) t/db_normal.o $(TOOL)
build/crash_agent_normal: t/crash_agent.o t/db_normal.o
	$(LINK) t/crash_agent.o $(DOORS) t/db_normal.o $(TOOL)

tools: $(TOOLS)
build/target: t/target.o
	$(LINK) t/target.o $(TOOL)
t/jsoncheck: t/jsoncheck.o
	$(LINK) t/jsoncheck.o $(TOOL)
t/httpget: t/httpget.o
	$(LINK) t/httpget.o $(TOOL)

build/sim: t/sim_main.o t/sim.o t/sim_nodes.o t/cover.o t/shelf.o t/cast.o t/checker.o t/tap.o t/world.o t/simdisk.o onlyonce.a
	$(LINK) t/sim_main.o t/sim.o t/sim_nodes.o t/cover.o t/shelf.o t/cast.o t/checker.o t/tap.o t/world.o t/simdisk.o $(TOOL)
build/bench: t/bench.o t/bench_client.o t/bench_world.o t/bench_fill.o onlyonce.a
	$(LINK) t/bench.o t/bench_client.o t/bench_world.o t/bench_fill.o $(TOOL)

BIN = $(DESTDIR)$(PREFIX)/bin
MAN = $(DESTDIR)$(PREFIX)/share/man
UNIT = $(DESTDIR)$(PREFIX)/lib/systemd/system
install: all
	mkdir -p $(BIN) $(MAN)/man7 $(MAN)/man8 $(UNIT)
	cp server $(BIN)/onlyonce-server
	cp agent $(BIN)/onlyonce-agent
	cp onlyonce-server.8 onlyonce-agent.8 $(MAN)/man8
	cp onlyonce-protocol.7 $(MAN)/man7
	sed 's|/usr/local/bin|$(PREFIX)/bin|' dist/onlyonce-server.service >$(UNIT)/onlyonce-server.service
	sed 's|/usr/local/bin|$(PREFIX)/bin|' dist/onlyonce-agent.service >$(UNIT)/onlyonce-agent.service
	chmod 755 $(BIN)/onlyonce-server $(BIN)/onlyonce-agent
	chmod 644 $(MAN)/man8/onlyonce-server.8 $(MAN)/man8/onlyonce-agent.8 $(MAN)/man7/onlyonce-protocol.7 \
		$(UNIT)/onlyonce-server.service $(UNIT)/onlyonce-agent.service
uninstall:
	rm -f $(BIN)/onlyonce-server $(BIN)/onlyonce-agent $(MAN)/man8/onlyonce-server.8 $(MAN)/man8/onlyonce-agent.8 $(MAN)/man7/onlyonce-protocol.7 \
		$(UNIT)/onlyonce-server.service $(UNIT)/onlyonce-agent.service

clean:
	rm -rf build
	rm -f *.o t/*.o onlyonce.a migrations.c server agent $(TESTS) t/jsoncheck t/httpget
