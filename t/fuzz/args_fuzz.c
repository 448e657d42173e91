/* args_fuzz: any words as a command line: the first byte picks the program, NUL bytes part the words. What is refused has one line that says why; what is
 * accepted can be asked for. Run it in a directory without .env. */
#include "../../conf.h"
#include <stdlib.h>
#include <string.h>

#define WORDS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(const struct conf *c, enum conf_program program)
{
	struct conf_row row;

	must(conf_operands(c) >= 0);
	for (int i = 0; i < conf_operands(c); i++)
		must(conf_operand(c, i));
	for (size_t i = 0; conf_walk(i, &row); i++)
		if (row.programs & (unsigned)program)
			(void)conf_given(c, row.name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char name[] = "program";
	enum conf_program program = size > 0 && data[0] % 2 ? CONF_AGENT : CONF_SERVER;
	char *words = mem_dupn((const char *)data + (size > 0), size > 0 ? size - 1 : 0), *argv[WORDS + 2] = { name };
	struct buf warnings = {0}, err = {0};
	struct conf *c;
	int argc = 1, status = -1;

	for (size_t at = 0; at + 1 < size && argc <= WORDS; at += strlen(words + at) + 1)
		argv[argc++] = words + at;
	argv[argc] = NULL;
	c = conf_read(program, argc, argv, &warnings, &err, &status);
	if (c) {
		must(err.len == 0);
		check_accepted(c, program);
		conf_free(c);
	} else {
		must((status == 1 || status == 2) && err.len > 0 && !strchr(err.data, '\n'));
	}
	buf_free(&warnings);
	buf_free(&err);
	free(words);
	return 0;
}
