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
#include <linux/fsnotify.h>
#include <linux/fsverity.h>
#include <linux/pagemap.h>
#include <linux/uio.h>

/* fs/internal.h: what makes backing files is exported, but declared there only. */
#include <internal.h>

#include "helpers.h"

/* The dentry with the content of a backing file, whatever it is stacked on. */
struct dentry *rust_vfs_real_dentry(const struct file *file)
{
	return d_real(file->f_path.dentry, D_REAL_DATA);
}

/*
 * What the backing file can do is what the user's file can do; O_DIRECT is taken
 * in any case, see rust_vfs_backing_read_iter().
 *
 * Return: whether @user needs an open file of its own behind it, rather than the
 * open @file that all share.
 *
 * One that is shared raises no fsnotify events: where somebody may want to permit
 * what is done with the object, it is asked for each user (not those who permit it:
 * fanotify opens files for them that raise none). Otherwise only a mapping needs a
 * file of its own, and that can do without being opened if
 *
 * - nothing of what the file system does is kept in the file, nor does it map
 *   another in its place: FUSE, network and stacked file systems do that;
 * - the path of @user is that of the inode that keeps @file open. That of a
 *   backing file, as overlayfs opens for its own users, leads elsewhere.
 */
bool rust_vfs_adopt_backing_file(struct file *user, const struct file *file)
{
	user->f_mode |= FMODE_CAN_ODIRECT | (file->f_mode & FMODE_NOWAIT);

	return file->private_data || !file->f_op->mmap_prepare ||
	       user->f_mode & FMODE_BACKING ||
	       (fsnotify_sb_has_priority_watchers(file_inode(file)->i_sb,
						  FSNOTIFY_PRIO_CONTENT) &&
		!FMODE_FSNOTIFY_NONE(user->f_mode));
}

/*
 * Mappings cannot ask for content that is only made when it is asked for: nobody
 * may be waited for under mmap_lock. So all of it is asked for before, if @file
 * was opened while somebody watched it for that.
 */
int rust_vfs_ask_for_content(struct file *file)
{
	struct file_range range = {
		.path = &file->f_path,
		.count = PAGE_ALIGN(i_size_read(file_inode(file))),
	};

	if (likely(!FMODE_FSNOTIFY_HSM(file->f_mode)) || !range.count)
		return 0;
	return fsnotify_parent(file->f_path.dentry, FS_PRE_ACCESS, &range,
			       FSNOTIFY_EVENT_FILE_RANGE);
}

/*
 * A file with the object of @file and the path of @user, for mappings; made of
 * memory alone. It was never opened, so the file system is not told when it goes,
 * and it holds no references of its own to mount, dentry and inode of the object:
 * the path of @user must keep @file open.
 */
struct file *rust_vfs_borrow_backing_file(const struct file *user,
					  const struct file *file,
					  const struct cred *cred)
{
	struct file *f = alloc_empty_backing_file(file->f_flags, cred, user);

	if (IS_ERR(f))
		return f;

	path_get(&user->f_path);
	backing_file_set_user_path(f, &user->f_path);

	f->__f_path = file->f_path;
	f->f_inode = file->f_inode;
	f->f_mapping = file->f_mapping;
	f->f_op = file->f_op;
	f->f_wb_err = file->f_wb_err;
	f->f_sb_err = file->f_sb_err;
	f->f_iocb_flags = file->f_iocb_flags;
	f->f_mode |= file->f_mode & ~FMODE_OPENED;
	/* Whoever wants to be told was not there when @user was opened. */
	file_set_fsnotify_mode(f, FMODE_NONOTIFY);
	file_ra_state_init(&f->f_ra, f->f_mapping->host->i_mapping);
	return f;
}

/* Gives back the backing file that @file has for itself, if it has one. */
void rust_vfs_put_private_file(struct file *file)
{
	if (file->private_data)
		fput(file->private_data);
}

/*
 * The backing file was not opened for direct I/O, and with fs-verity no file
 * system does any: O_DIRECT is taken, and served from the page cache. Such reads
 * end when they return, like those of small files.
 *
 * They and plain reads, as almost all are, do what backing_file_read_iter() does
 * with one request of their own in place of three layers that each make up another.
 */
ssize_t rust_vfs_backing_read_iter(struct file *file, struct iov_iter *iter,
				   struct kiocb *iocb,
				   struct backing_file_ctx *ctx)
{
	/* Flags that say something about writes. */
	const int plain = IOCB_APPEND | IOCB_DSYNC | IOCB_SYNC;
	const struct cred *old;
	struct kiocb own;
	ssize_t ret;

	if (!(iocb->ki_flags & IOCB_DIRECT) &&
	    (!is_sync_kiocb(iocb) || iocb->ki_flags & ~plain))
		return backing_file_read_iter(file, iter, iocb, iocb->ki_flags,
					      ctx);

	kiocb_clone(&own, iocb, file);
	own.ki_flags &= ~IOCB_DIRECT;
	old = override_creds(ctx->cred);
	ret = vfs_iocb_iter_read(file, &own, iter);
	revert_creds(old);
	iocb->ki_pos = own.ki_pos;
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
 * SEEK_DATA and SEEK_HOLE are about where the content is. They move the position
 * of the backing file, which is that of all users, so it is put back, and they
 * take turns. Not by the lock of that position: it has the class of those of
 * directories, under which the locks of an overlayfs are taken that copies up
 * from here, and that is while it holds one of its own.
 */
loff_t rust_vfs_backing_llseek(struct file *user, struct file *file,
			       loff_t offset, int whence)
{
	struct inode *inode = file_inode(user);
	loff_t pos;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return generic_file_llseek(user, offset, whence);

	/* The file may be one of ours as well. */
	inode_lock_nested(inode, inode->i_sb->s_stack_depth);
	pos = file->f_pos;
	offset = vfs_llseek(file, offset, whence);
	file->f_pos = pos;
	inode_unlock(inode);
	if (offset < 0)
		return offset;
	return vfs_setpos(user, offset, inode->i_sb->s_maxbytes);
}

/* Where the content can be mapped best, with huge pages if it has them. */
unsigned long rust_vfs_backing_get_unmapped_area(struct file *file,
						 unsigned long addr,
						 unsigned long len,
						 unsigned long pgoff,
						 unsigned long flags)
{
	if (file->f_op->get_unmapped_area)
		return file->f_op->get_unmapped_area(file, addr, len, pgoff,
						     flags);
	return mm_get_unmapped_area(file, addr, len, pgoff, flags);
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
