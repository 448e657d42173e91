/* replay: a main for the fuzzers where libFuzzer's is not linked: hands each file named, or standard input, to the entry point once. For AFL++, for
 * findings, and, with --mutate N, for compilers without a fuzzer: each file is also handed over N times with some of its bytes changed. */
#include "../../util.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t any(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *seed >> 33;
}

/* Memory that ends where the bytes do, so that a sanitizer sees one more. */
static void hand_over(const char *p, size_t n)
{
	uint8_t *copy = mem_new(n);

	if (n)
		memcpy(copy, p, n);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

static void mutate(const struct buf *text, long times)
{
	uint64_t seed = text->len + 1;
	struct buf m = {0};

	for (long i = 0; i < times; i++) {
		buf_clear(&m);
		buf_add(&m, text->data, text->len);
		for (uint64_t changes = 1 + any(&seed) % 4; changes > 0 && m.len > 0; changes--) {
			size_t at = (size_t)(any(&seed) % m.len);
			if (any(&seed) % 3 == 0) {
				memmove(m.data + at, m.data + at + 1, m.len - at);
				m.len--;
			} else {
				m.data[at] = (char)any(&seed);
			}
		}
		hand_over(m.data ? m.data : "", m.len);
	}
	buf_free(&m);
}

static void replay(FILE *f, long times)
{
	struct buf text = {0};
	size_t n;

	while ((n = fread(buf_room(&text, 4096), 1, 4096, f)) > 0)
		text.len += n;
	must(!ferror(f));
	hand_over(text.data ? text.data : "", text.len);
	mutate(&text, times);
	buf_free(&text);
}

int main(int argc, char **argv)
{
	long times = argc > 2 && strcmp(argv[1], "--mutate") == 0 ? strtol(argv[2], NULL, 10) : 0;
	int first = times > 0 ? 3 : 1;

	if (argc <= first)
		replay(stdin, times);
	for (int i = first; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		if (!f) {
			perror(argv[i]);
			return 2;
		}
		replay(f, times);
		must(fclose(f) == 0);
	}
	return 0;
}
