// SPDX-License-Identifier: GPL-2.0-only
/* C functions for the targets of symlinks, which inodes keep. */
#include <linux/fs.h>
#include <linux/slab.h>

#include "helpers.h"

/*
 * Makes @link the cached target of a symlink unless another task was first.
 * Return: the target that is cached now; @link is freed if it is not that.
 *
 * Pairs with the READ_ONCE() of i_link in pick_link().
 */
const char *rust_vfs_inode_publish_link(struct inode *inode, char *link)
{
	char *first = cmpxchg_release(&inode->i_link, NULL, link);

	if (first) {
		kfree(link);
		return first;
	}
	return link;
}

/* The target that is cached, or null. */
const char *rust_vfs_inode_link(const struct inode *inode)
{
	return READ_ONCE(inode->i_link);
}

/* For free_inode(): RCU path walk may follow the link until then. */
void rust_vfs_inode_free_link(struct inode *inode)
{
	if (S_ISLNK(inode->i_mode))
		kfree(inode->i_link);
}

/* For a symlink's target, which is kept for as long as its inode. */
void *rust_vfs_zalloc_link(size_t len)
{
	return kzalloc(len, GFP_KERNEL_ACCOUNT);
}
