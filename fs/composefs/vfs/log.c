// SPDX-License-Identifier: GPL-2.0-only
/* C functions for how often messages may be printed. */
#include <linux/ratelimit.h>
#include <linux/slab.h>

#include "helpers.h"

struct ratelimit_state *rust_vfs_ratelimit_alloc(void)
{
	struct ratelimit_state *rs = kmalloc(sizeof(*rs), GFP_KERNEL_ACCOUNT);

	if (rs)
		ratelimit_default_init(rs);
	return rs;
}

bool rust_vfs_ratelimit(struct ratelimit_state *rs)
{
	return __ratelimit(rs);
}

void rust_vfs_ratelimit_free(struct ratelimit_state *rs)
{
	kfree(rs);
}
