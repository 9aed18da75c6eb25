// SPDX-License-Identifier: GPL-2.0-only
/*
 * Parameters of the module. One of them is a ratchet: what was mounted before
 * it was turned is looked at again, so the superblocks are told to forget what
 * they have cached.
 */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/posix_acl.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

#include "helpers.h"

/* Read on all paths of the file system, so without a call. */
bool rust_vfs_require_signatures;
static bool trust_system_keys;
static bool image_signatures_only;

static DEFINE_MUTEX(ratchet_lock);
/* The file system type that the ratchet is about, while it is registered. */
static struct file_system_type *ratchet_type;

/*
 * Has the VFS ask for all of @sb again. Names that are in use stay. An inode
 * that is being read has an answer of its own, see Inode::get_or(): either it is
 * not new any more here, or the ratchet is seen to have turned there, because
 * both take its lock.
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

/*
 * Mounts in progress are waited for, but those open and read all that they need
 * before they have a superblock.
 */
static int require_signatures_set(const char *val,
				  const struct kernel_param *kp)
{
	int ret = param_set_bool_enable_only(val, kp);

	if (ret || !rust_vfs_require_signatures)
		return ret;

	mutex_lock(&ratchet_lock);
	if (ratchet_type)
		iterate_supers_type(ratchet_type, forget_cached, NULL);
	mutex_unlock(&ratchet_lock);
	return 0;
}

static const struct kernel_param_ops require_signatures_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = require_signatures_set,
	.get = param_get_bool,
};

module_param_cb(require_signatures, &require_signatures_ops,
		&rust_vfs_require_signatures, 0644);
__MODULE_PARM_TYPE(require_signatures, "bool");
MODULE_PARM_DESC(require_signatures,
		 "Use signed images only; can be switched on, but not off");

module_param(trust_system_keys, bool, 0444);
MODULE_PARM_DESC(trust_system_keys,
		 "Trust the kernel's built-in and secondary keyrings as well");

module_param(image_signatures_only, bool, 0444);
MODULE_PARM_DESC(image_signatures_only,
		 "Take signatures of images, but not those of files");

bool rust_vfs_trust_system_keys(void)
{
	return trust_system_keys;
}

bool rust_vfs_image_signatures_only(void)
{
	return image_signatures_only;
}

/* From now on the ratchet acts on superblocks of @type, or on none if it is NULL. */
void rust_vfs_set_ratchet_type(struct file_system_type *type)
{
	mutex_lock(&ratchet_lock);
	ratchet_type = type;
	mutex_unlock(&ratchet_lock);
}
