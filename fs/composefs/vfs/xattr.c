// SPDX-License-Identifier: GPL-2.0-only
/* C functions for extended attributes, and for ACLs, which are kept as such. */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/posix_acl_xattr.h>

#include "helpers.h"

/* As overlayfs does it, without a trace in the audit log. */
bool rust_vfs_may_list_trusted(void)
{
	return ns_capable_noaudit(&init_user_ns, CAP_SYS_ADMIN);
}

struct posix_acl *rust_vfs_acl_from_xattr(const struct inode *inode,
					  const void *value, size_t size)
{
	return posix_acl_from_xattr(inode->i_sb->s_user_ns, value, size);
}
