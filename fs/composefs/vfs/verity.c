// SPDX-License-Identifier: GPL-2.0-only
/*
 * C functions for the fs-verity information of files whose content is an object's.
 */
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
