// SPDX-License-Identifier: GPL-2.0-only
/* C functions for open files. */
#include <linux/fs.h>

#include "helpers.h"

bool rust_vfs_is_regular(const struct file *file)
{
	return S_ISREG(file_inode(file)->i_mode);
}

bool rust_vfs_is_readable(const struct file *file)
{
	return file->f_mode & FMODE_READ;
}

struct inode *rust_vfs_file_inode(const struct file *file)
{
	return file_inode(file);
}

u64 rust_vfs_file_size(const struct file *file)
{
	return i_size_read(file_inode(file));
}

/* Return: the seconds. */
s64 rust_vfs_file_mtime(const struct file *file, u32 *nsec)
{
	struct timespec64 mtime = inode_get_mtime(file_inode(file));

	*nsec = mtime.tv_nsec;
	return mtime.tv_sec;
}
