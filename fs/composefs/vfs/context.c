// SPDX-License-Identifier: GPL-2.0-only
/* C functions for what whoever mounts is told. */
#include <linux/fs_context.h>
#include <linux/printk.h>

#include "helpers.h"

void rust_vfs_fc_error(struct fs_context *fc, const char *msg)
{
	errorfc(fc, "%s", msg);
}

/* Without a log that somebody may read, it goes to the kernel's anyway. */
void rust_vfs_fc_warn(struct fs_context *fc, const char *msg)
{
	warnfc(fc, "%s", msg);
	if (fc->log.log)
		pr_warn("%s: %s\n", fc->fs_type->name, msg);
}
