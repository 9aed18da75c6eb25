// SPDX-License-Identifier: GPL-2.0-only
/* C functions for reading small files. */
#include <linux/fs.h>

#include "helpers.h"

/*
 * Reads @file from its beginning to its end, or until @buf is full.
 * Return: how many bytes those are, or an error.
 */
ssize_t rust_vfs_read_whole(struct file *file, void *buf, size_t size)
{
	loff_t pos = 0;
	ssize_t n;

	do {
		n = kernel_read(file, buf + pos, size - pos, &pos);
	} while (n > 0 && pos < size);
	return n < 0 ? n : pos;
}
