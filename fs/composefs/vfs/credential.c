// SPDX-License-Identifier: GPL-2.0-only
/* C functions for credentials. */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>

#include "helpers.h"

const struct cred *rust_vfs_current_cred(void)
{
	return get_current_cred();
}

/*
 * As access(2) does for whoever is not root: what may be read is decided by
 * who it is, whatever it took to mount.
 */
const struct cred *rust_vfs_current_cred_to_read(void)
{
	struct cred *cred;

	if (uid_eq(current_fsuid(), GLOBAL_ROOT_UID))
		return get_current_cred();

	cred = prepare_creds();
	if (cred)
		cap_clear(cred->cap_effective);
	return cred;
}

bool rust_vfs_may_make_devices(void)
{
	return ns_capable_noaudit(&init_user_ns, CAP_MKNOD);
}

const struct cred *rust_vfs_override_creds(const struct cred *cred)
{
	return override_creds(cred);
}

void rust_vfs_revert_creds(const struct cred *cred)
{
	revert_creds(cred);
}
