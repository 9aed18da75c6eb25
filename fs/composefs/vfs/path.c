// SPDX-License-Identifier: GPL-2.0-only
/* C functions for paths, and for mounts of our own. */
#include <linux/err.h>
#include <linux/mount.h>
#include <linux/namei.h>

#include "helpers.h"

int rust_vfs_lookup_directory(const char *name, struct path *path)
{
	return kern_path(name, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, path);
}

/*
 * A mount of its own of the directory at @path, through which nothing is ever
 * written, access times included.
 */
struct vfsmount *rust_vfs_clone_private_mount(const struct path *path)
{
	struct vfsmount *mnt = clone_private_mount(path);

	if (!IS_ERR(mnt))
		mnt->mnt_flags |= MNT_READONLY | MNT_NOATIME;
	return mnt;
}

/* Neither a symlink nor ".." leads out of the tree below the root of @mnt. */
int rust_vfs_lookup_beneath(struct vfsmount *mnt, const char *name,
			    struct path *path)
{
	return vfs_path_lookup(mnt->mnt_root, mnt, name,
			       LOOKUP_BENEATH | LOOKUP_NO_SYMLINKS, path);
}

int rust_vfs_permission_to_read(const struct path *path)
{
	return inode_permission(mnt_idmap(path->mnt), d_inode(path->dentry),
				MAY_OPEN | MAY_READ);
}

umode_t rust_vfs_path_mode(const struct path *path)
{
	return d_inode(path->dentry)->i_mode;
}

/* Borrowed: the path is valid for as long as the file is. */
void rust_vfs_path_of_file(struct file *file, struct path *path)
{
	*path = file->f_path;
}
