// SPDX-License-Identifier: GPL-2.0-only
/*
 * C functions for backing files: reading, seeking, and what else is passed on to
 * them.
 */
#include <linux/backing-file.h>
#include <linux/cred.h>
#include <linux/fadvise.h>
#include <linux/fiemap.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <linux/uio.h>

#include "helpers.h"

/* The dentry with the content of a backing file, whatever it is stacked on. */
struct dentry *rust_vfs_real_dentry(const struct file *file)
{
	return d_real(file->f_path.dentry, D_REAL_DATA);
}

/* Gives back the backing file of the mappings of @file, if it has one. */
void rust_vfs_put_private_file(struct file *file)
{
	if (file->private_data)
		fput(file->private_data);
}

/*
 * The backing file was not opened for direct I/O, and with fs-verity no file
 * system does any: O_DIRECT is taken, and served from the page cache.
 *
 * A plain read, as almost all are, does what backing_file_read_iter() does with
 * one request of its own in place of three layers that each make up another.
 */
ssize_t rust_vfs_backing_read_iter(struct file *file, struct iov_iter *iter,
				   struct kiocb *iocb,
				   struct backing_file_ctx *ctx)
{
	const int special = IOCB_HIPRI | IOCB_NOWAIT | IOCB_DONTCACHE;
	const struct cred *old;
	struct kiocb plain = {
		.ki_filp = file,
		.ki_flags = file->f_iocb_flags,
		.ki_ioprio = iocb->ki_ioprio,
		.ki_pos = iocb->ki_pos,
	};
	ssize_t ret;

	iocb->ki_flags &= ~IOCB_DIRECT;
	if (!is_sync_kiocb(iocb) || iocb->ki_flags & special)
		return backing_file_read_iter(file, iter, iocb, iocb->ki_flags,
					      ctx);

	old = override_creds(ctx->cred);
	ret = vfs_iocb_iter_read(file, &plain, iter);
	revert_creds(old);
	iocb->ki_pos = plain.ki_pos;
	return ret;
}

ssize_t rust_vfs_backing_splice_read(struct file *user, struct file *file,
				     loff_t *pos, struct pipe_inode_info *pipe,
				     size_t len, unsigned int flags,
				     struct backing_file_ctx *ctx)
{
	struct kiocb iocb;
	ssize_t ret;

	init_sync_kiocb(&iocb, user);
	iocb.ki_pos = *pos;
	ret = backing_file_splice_read(file, &iocb, pipe, len, flags, ctx);
	*pos = iocb.ki_pos;
	return ret;
}

/*
 * SEEK_DATA and SEEK_HOLE are about where the content is. The position of the
 * backing file, which vfs_llseek() sets too, is of no use to anyone.
 */
loff_t rust_vfs_backing_llseek(struct file *user, struct file *file,
			       loff_t offset, int whence)
{
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return generic_file_llseek(user, offset, whence);

	offset = vfs_llseek(file, offset, whence);
	if (offset < 0)
		return offset;
	return vfs_setpos(user, offset, file_inode(user)->i_sb->s_maxbytes);
}

/*
 * Advice on the page cache is passed on. Advice on how one user will read is
 * not: the backing file is that of all users.
 */
int rust_vfs_backing_fadvise(struct file *file, loff_t offset, loff_t len,
			     int advice)
{
	switch (advice) {
	case POSIX_FADV_WILLNEED:
	case POSIX_FADV_DONTNEED:
		return vfs_fadvise(file, offset, len, advice);
	case POSIX_FADV_NORMAL:
	case POSIX_FADV_RANDOM:
	case POSIX_FADV_SEQUENTIAL:
	case POSIX_FADV_NOREUSE:
		return 0;
	default:
		return -EINVAL;
	}
}

int rust_vfs_backing_fiemap(struct file *file,
			    struct fiemap_extent_info *info, u64 start, u64 len)
{
	struct inode *inode = file_inode(file);

	if (!inode->i_op->fiemap)
		return -EOPNOTSUPP;
	return inode->i_op->fiemap(inode, info, start, len);
}

long rust_vfs_backing_ioctl(struct file *file, unsigned int cmd,
			    unsigned long arg)
{
	if (cmd != FS_IOC_MEASURE_VERITY)
		return -ENOTTY;
	return fsverity_ioctl_measure(file, (void __user *)arg);
}
