// SPDX-License-Identifier: GPL-2.0-only
/* C functions for credentials. */
#include <linux/cred.h>

#include "helpers.h"

const struct cred *rust_vfs_current_cred(void)
{
	return get_current_cred();
}

const struct cred *rust_vfs_override_creds(const struct cred *cred)
{
	return override_creds(cred);
}

void rust_vfs_revert_creds(const struct cred *cred)
{
	revert_creds(cred);
}
