// SPDX-License-Identifier: GPL-2.0-only
/* C functions for memory. */
#include <linux/slab.h>

#include "helpers.h"

void *rust_vfs_zalloc(size_t len)
{
	return kvzalloc(len, GFP_KERNEL);
}
