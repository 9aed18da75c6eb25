// SPDX-License-Identifier: GPL-2.0-only
/* C functions for memory. */
#include <linux/slab.h>
#include <linux/string.h>

#include "helpers.h"

void *rust_vfs_zalloc(size_t len)
{
	return kvzalloc(len, GFP_KERNEL);
}

/* A copy that kfree() gives back, or NULL. */
char *rust_vfs_copy_string(const char *string)
{
	return kstrdup(string, GFP_KERNEL_ACCOUNT);
}
