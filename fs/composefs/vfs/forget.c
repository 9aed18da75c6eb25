// SPDX-License-Identifier: GPL-2.0-only
/*
 * Having the VFS forget what it has cached of a file system type, so that it asks
 * again.
 */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/mutex.h>
#include <linux/posix_acl.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

#include "helpers.h"

static DEFINE_MUTEX(registered_lock);
/* The module's file system type, while it is registered. */
static struct file_system_type *registered_type;

/*
 * Has the VFS ask for all of @sb again. Names that are in use stay. An inode
 * that is being read has an answer of its own, see Inode::get_or(): either it is
 * not new any more here, or what changed is seen there, because both take its
 * lock.
 */
static void forget_cached(struct super_block *sb, void *unused)
{
	struct inode *inode, *last = NULL;

	shrink_dcache_sb(sb);

	spin_lock(&sb->s_inode_list_lock);
	list_for_each_entry(inode, &sb->s_inodes, i_sb_list) {
		spin_lock(&inode->i_lock);
		if (inode_state_read(inode) & (I_FREEING | I_WILL_FREE | I_NEW)) {
			spin_unlock(&inode->i_lock);
			continue;
		}
		__iget(inode);
		spin_unlock(&inode->i_lock);
		spin_unlock(&sb->s_inode_list_lock);

		forget_all_cached_acls(inode);
		iput(last);
		last = inode;

		cond_resched();
		spin_lock(&sb->s_inode_list_lock);
	}
	spin_unlock(&sb->s_inode_list_lock);
	iput(last);
}

/* Forgets what is cached of the module's file system, if that is registered. */
void rust_vfs_forget_cached(void)
{
	mutex_lock(&registered_lock);
	if (registered_type)
		iterate_supers_type(registered_type, forget_cached, NULL);
	mutex_unlock(&registered_lock);
}

/* From now on that is @type, or none if it is NULL. */
void rust_vfs_set_registered_type(struct file_system_type *type)
{
	mutex_lock(&registered_lock);
	registered_type = type;
	mutex_unlock(&registered_lock);
}
