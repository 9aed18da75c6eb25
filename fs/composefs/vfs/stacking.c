// SPDX-License-Identifier: GPL-2.0-only
/*
 * File systems on file systems: which are ours, how many may stand on one
 * another, and what lockdep has to know of it.
 */
#include <linux/fs.h>
#include <linux/lockdep.h>
#include <linux/magic.h>

#include "helpers.h"

bool rust_vfs_is_on(const struct inode *inode,
		    const struct file_system_type *type)
{
	return inode->i_sb->s_type == type;
}

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

/*
 * An image may be in the page cache of a file in a mount of ours, which is read
 * while the lock of another page cache of ours is held.
 */
void rust_vfs_inode_set_lock_classes(struct inode *inode)
{
#ifdef CONFIG_LOCKDEP
	static struct lock_class_key keys[FILESYSTEM_MAX_STACK_DEPTH + 1];
	int depth = inode->i_sb->s_stack_depth;

	if (!WARN_ON_ONCE(depth < 0 || depth >= ARRAY_SIZE(keys)))
		lockdep_set_class_and_name(&inode->i_data.invalidate_lock,
					   &keys[depth],
					   "composefs.invalidate_lock");
#endif
}
