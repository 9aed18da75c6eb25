// SPDX-License-Identifier: GPL-2.0-only
/*
 * C functions for fs-verity: the information of files whose content is an object's, and
 * whether objects can have it.
 */
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fsverity.h>

#include "helpers.h"

/* Return: the size of the descriptor, which is copied to @buf if @size is not 0. */
int rust_vfs_verity_descriptor(const struct file *object, void *buf,
			       size_t size)
{
	struct inode *inode = file_inode(object);

	if (!IS_VERITY(inode))
		return -ENODATA;
	return inode->i_sb->s_vop->get_verity_descriptor(inode, buf, size);
}

/*
 * IMA asks for the digest of @inode itself. Before it does, it marks the inode and
 * asks for the real dentry, which is when this is called.
 */
void rust_vfs_give_verity_to_ima(struct inode *inode, struct file *object)
{
	if (likely(!IS_IMA(inode)) || !IS_VERITY(file_inode(object)))
		return;

	/* Nobody else changes the flags of an inode that IMA has marked. */
	if (!IS_VERITY(inode))
		inode_set_flags(inode, S_VERITY, S_VERITY);
	/* Without, the digest is not found, and open() tries again. */
	if (!fsverity_get_info(inode))
		rust_vfs_load_verity(inode, object);
}

/* For open(): the information of an inode that has fs-verity. */
int rust_vfs_load_verity(struct inode *inode, struct file *file)
{
	return fsverity_file_open(inode, file);
}

/*
 * Whether no file below @dir, which is on another file system than ours, can have
 * fs-verity. Some file systems can only say so when they are asked for a digest; no
 * directory has one. On @capable, if not NULL, there is a file with fs-verity.
 */
bool rust_vfs_lacks_verity(const struct path *dir,
			   const struct super_block *capable)
{
	struct super_block *sb = dir->dentry->d_sb;
	struct file *file;
	long ret = -ENOTTY;

	if (sb == capable)
		return false;
	if (!sb->s_vop)
		return true;

	file = dentry_open(dir, O_RDONLY | O_DIRECTORY, current_cred());
	/* Who may search it need not be allowed to read it. */
	if (IS_ERR(file))
		return false;
	if (file->f_op->unlocked_ioctl)
		ret = file->f_op->unlocked_ioctl(file, FS_IOC_MEASURE_VERITY, 0);
	fput(file);
	return ret == -EOPNOTSUPP;
}
