// SPDX-License-Identifier: GPL-2.0-only
/*
 * File systems on file systems.
 */
#include <linux/fs.h>
#include <linux/magic.h>

#include "helpers.h"

/*
 * The s_stack_depth of a file system of type @own that reads from @sb.
 *
 * It is no level of its own on a file system that has the content itself, and
 * so leaves the two levels that the kernel allows to those that stand on it. It
 * is one on all that reads in files of others, on the stack of its reader: that
 * is what s_stack_depth says, but for EROFS on a file, and @own by this rule. So
 * at most these two, and once each, are below the levels that are counted.
 */
u32 rust_vfs_stack_depth_on(const struct super_block *sb,
			    const struct file_system_type *own)
{
	if (sb->s_stack_depth || sb->s_type == own ||
	    (sb->s_magic == EROFS_SUPER_MAGIC_V1 && !sb->s_bdev))
		return sb->s_stack_depth + 1;
	return 0;
}
