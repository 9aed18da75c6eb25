// SPDX-License-Identifier: GPL-2.0-only
/* C functions for superblocks. */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/seq_file.h>

#include "helpers.h"

void rust_vfs_set_dentry_operations(struct super_block *sb,
				    const struct dentry_operations *d_op)
{
	set_default_d_op(sb, d_op);
}

void rust_vfs_seq_show_option(struct seq_file *m, const char *name,
			      const char *value)
{
	seq_show_option(m, name, value);
}
