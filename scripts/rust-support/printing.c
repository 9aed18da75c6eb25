// SPDX-License-Identifier: GPL-2.0-only
/*
 * What Rust code prints, in a module that brings its own copy of the kernel
 * crate.
 *
 * For "%pA", printk() and seq_printf() call the kernel's own Rust code with a
 * core::fmt::Arguments. Another compiler lays that out in another way, and a
 * kernel without CONFIG_RUST has nobody to call. So here the module's copy of
 * the kernel crate turns it into text. The linker sends the module's calls
 * here (--wrap).
 */
#include <linux/printk.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>

/* As much as printk() takes in one line. */
#define LINE_SIZE 1024

/* rust/kernel/print.rs; may give a position after @end, but does not write there. */
char *rust_fmt_argument(char *buf, char *end, const void *arguments);

asmlinkage int __wrap__printk(const char *format, ...);
asmlinkage __printf(1, 2) int __real__printk(const char *format, ...);
void __wrap_seq_printf(struct seq_file *file, const char *format, ...);

static void print_arguments(char *to, size_t size, const void *arguments)
{
	char *end = to + size - 1;

	*min(rust_fmt_argument(to, end, arguments), end) = '\0';
}

asmlinkage int __wrap__printk(const char *format, ...)
{
	char small[128], *line = small;
	const char *module = "", *between = "";
	size_t size = sizeof(small);
	va_list args;
	int ret;

	va_start(args, format);
	if (!strstr(format, "%pA")) {
		ret = vprintk(format, args);
		va_end(args);
		return ret;
	}
	/* The kernel crate's only formats: LEVEL "%s: %pA", and LEVEL "%pA". */
	if (strstr(format, "%s: ")) {
		module = va_arg(args, const char *);
		between = ": ";
	}
	line = kmalloc(LINE_SIZE, GFP_ATOMIC | __GFP_NOWARN);
	if (line)
		size = LINE_SIZE;
	else
		line = small;
	print_arguments(line, size, va_arg(args, const void *));
	va_end(args);
	/* printk() looks for the level at the start of the text. */
	ret = __real__printk("%.*s%s%s%s", (int)(printk_skip_level(format) - format),
			     format, module, between, line);
	if (line != small)
		kfree(line);
	return ret;
}

void __wrap_seq_printf(struct seq_file *file, const char *format, ...)
{
	va_list args;
	char *room;
	size_t size;

	va_start(args, format);
	if (strcmp(format, "%pA")) {
		seq_vprintf(file, format, args);
	} else {
		size = seq_get_buf(file, &room);
		if (size) {
			char *end = rust_fmt_argument(room, room + size,
						      va_arg(args, const void *));

			/* Too small: seq_file calls again, with a larger one. */
			seq_commit(file, end < room + size ? end - room : -1);
		} else {
			seq_commit(file, -1);
		}
	}
	va_end(args);
}
