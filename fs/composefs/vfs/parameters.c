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

#include "helpers.h"

/* Read on all paths of the file system, so without a call. */
bool rust_vfs_require_signatures;
static bool trust_system_keys;

static DEFINE_MUTEX(ratchet_lock);
/* The file system type that the ratchet is about, while it is registered. */
static struct file_system_type *ratchet_type;

static void forget_dentries(struct super_block *sb, void *unused)
{
	shrink_dcache_sb(sb);
}

static int require_signatures_set(const char *val,
				  const struct kernel_param *kp)
{
	int ret = param_set_bool_enable_only(val, kp);

	if (ret || !rust_vfs_require_signatures)
		return ret;

	/*
	 * This waits for mounts in progress, and one of them may be reading
	 * a file that it takes for a signature: of this parameter, say.
	 */
	kernel_param_unlock(THIS_MODULE);
	mutex_lock(&ratchet_lock);
	if (ratchet_type)
		iterate_supers_type(ratchet_type, forget_dentries, NULL);
	mutex_unlock(&ratchet_lock);
	kernel_param_lock(THIS_MODULE);
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

bool rust_vfs_trust_system_keys(void)
{
	return trust_system_keys;
}

/* @type: from now on the one that the ratchet is about; NULL: there is none. */
void rust_vfs_set_ratchet_type(struct file_system_type *type)
{
	mutex_lock(&ratchet_lock);
	ratchet_type = type;
	mutex_unlock(&ratchet_lock);
}
