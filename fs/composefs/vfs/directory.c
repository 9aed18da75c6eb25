// SPDX-License-Identifier: GPL-2.0-only
/* C functions for directories. */
#include <linux/dcache.h>
#include <linux/fs.h>

#include "helpers.h"

const char *rust_vfs_dentry_name(const struct dentry *dentry, u32 *len)
{
	*len = dentry->d_name.len;
	return dentry->d_name.name;
}

bool rust_vfs_dir_emit(struct dir_context *ctx, const char *name, int len,
		       u64 ino, unsigned int type)
{
	return dir_emit(ctx, name, len, ino, type);
}
