// SPDX-License-Identifier: GPL-2.0-only
/*
 * C functions for what the kernel offers only as macros and inline functions,
 * and for what differs between kernel versions.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/fileattr.h>
#include <linux/fs_context.h>
#include <linux/kdev_t.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/pagemap.h>
#include <linux/posix_acl_xattr.h>
#include <linux/ratelimit.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include <asm/sections.h>

#include "helpers.h"

bool rust_vfs_is_regular(const struct file *file)
{
	return S_ISREG(file_inode(file)->i_mode);
}

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

void rust_vfs_fileattr_verity(struct file_kattr *fa, bool is_verified)
{
	fileattr_fill_flags(fa, is_verified ? FS_VERITY_FL : 0);
}

void rust_vfs_folio_get(struct folio *folio)
{
	folio_get(folio);
}

void rust_vfs_folio_put(struct folio *folio)
{
	folio_put(folio);
}

struct inode *rust_vfs_folio_inode(struct folio *folio)
{
	return folio->mapping->host;
}

void *rust_vfs_folio_address(struct folio *folio)
{
	return folio_address(folio);
}

size_t rust_vfs_folio_size(struct folio *folio)
{
	return folio_size(folio);
}

loff_t rust_vfs_folio_pos(struct folio *folio)
{
	return folio_pos(folio);
}

void rust_vfs_folio_end_read(struct folio *folio, bool success)
{
	if (success)
		flush_dcache_folio(folio);
	folio_end_read(folio, success);
}

/* What rust_vfs_cached_read_iter() can do for the reads of @file. */
void rust_vfs_read_from_cache(struct file *file)
{
	file->f_mode |= FMODE_NOWAIT | FMODE_CAN_ODIRECT;
}

/*
 * Reads from the page cache whether O_DIRECT is set or not, as for all files with
 * fs-verity. ->read_folio() waits for where the content is, and readahead calls
 * nothing else: a request that must not wait does without both.
 */
ssize_t rust_vfs_cached_read_iter(struct kiocb *iocb, struct iov_iter *iter)
{
	const int flags = iocb->ki_flags & IOCB_NOIO;
	ssize_t ret;

	if (iocb->ki_flags & IOCB_NOWAIT)
		iocb->ki_flags |= IOCB_NOIO;
	ret = filemap_read(iocb, iter, 0);
	iocb->ki_flags = (iocb->ki_flags & ~IOCB_NOIO) | flags;
	return ret;
}

unsigned int rust_vfs_inode_cache_flags(void)
{
	return (__force unsigned int)(SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT);
}

struct inode *rust_vfs_alloc_inode(struct super_block *sb,
				   struct kmem_cache *cache)
{
	return alloc_inode_sb(sb, cache, GFP_KERNEL);
}

struct inode *rust_vfs_ilookup(struct super_block *sb, u64 ino)
{
	return ilookup(sb, ino);
}

struct inode *rust_vfs_iget_locked(struct super_block *sb, u64 ino)
{
	return iget_locked(sb, ino);
}

bool rust_vfs_inode_is_new(struct inode *inode)
{
	return inode_state_read_once(inode) & I_NEW;
}

u64 rust_vfs_inode_number(const struct inode *inode)
{
	return inode->i_ino;
}

void rust_vfs_inode_set_operations(struct inode *inode,
				   const struct inode_operations *i_op,
				   const struct file_operations *i_fop,
				   const struct address_space_operations *a_ops)
{
	inode->i_op = i_op;
	if (i_fop)
		inode->i_fop = i_fop;
	if (a_ops)
		inode->i_mapping->a_ops = a_ops;
}

/* The blocks are those that the content would take up if it were here. */
void rust_vfs_inode_set_size(struct inode *inode, u64 size)
{
	inode->i_size = size;
	inode->i_blocks = DIV_ROUND_UP_ULL(size, i_blocksize(inode)) <<
			  (inode->i_blkbits - 9);
}

void rust_vfs_inode_set_owner(struct inode *inode, u32 uid, u32 gid)
{
	i_uid_write(inode, uid);
	i_gid_write(inode, gid);
}

/*
 * As EROFS does it: with a second and more of nanoseconds, setting the change time
 * carries them over.
 */
void rust_vfs_inode_set_times(struct inode *inode, s64 sec, u32 nsec)
{
	inode_set_mtime(inode, sec, nsec);
	inode_set_atime_to_ts(inode, inode_set_ctime(inode, sec, nsec));
}

/* Spares permission checks from asking for an ACL. */
void rust_vfs_inode_cache_no_acl(struct inode *inode)
{
	cache_no_acl(inode);
}

void rust_vfs_inode_set_special(struct inode *inode, umode_t mode, u32 rdev)
{
	init_special_inode(inode, mode, new_decode_dev(rdev));
}

/*
 * Makes @link the cached target of a symlink unless another task was first.
 * Return: the target that is cached now; @link is freed if it is not that.
 *
 * Pairs with the READ_ONCE() of i_link in pick_link().
 */
const char *rust_vfs_inode_publish_link(struct inode *inode, char *link)
{
	char *first = cmpxchg_release(&inode->i_link, NULL, link);

	if (first) {
		kfree(link);
		return first;
	}
	return link;
}

/* The target that is cached, or null. */
const char *rust_vfs_inode_link(const struct inode *inode)
{
	return READ_ONCE(inode->i_link);
}

/* For free_inode(): RCU path walk may follow the link until then. */
void rust_vfs_inode_free_link(struct inode *inode)
{
	if (S_ISLNK(inode->i_mode))
		kfree(inode->i_link);
}

const char *rust_vfs_dentry_name(const struct dentry *dentry, u32 *len)
{
	*len = dentry->d_name.len;
	return dentry->d_name.name;
}

void rust_vfs_set_dentry_operations(struct super_block *sb,
				    const struct dentry_operations *d_op)
{
	set_default_d_op(sb, d_op);
}

bool rust_vfs_dir_emit(struct dir_context *ctx, const char *name, int len,
		       u64 ino, unsigned int type)
{
	return dir_emit(ctx, name, len, ino, type);
}

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

/* Whether @address is that of a static variable of @module (built in: NULL). */
bool rust_vfs_is_module_memory(const void *address, struct module *module)
{
#ifdef MODULE
	return within_module((unsigned long)address, module);
#else
	return is_kernel((unsigned long)address);
#endif
}

void *rust_vfs_zalloc(size_t len)
{
	return kvzalloc(len, GFP_KERNEL);
}

/* For a symlink's target, which is kept for as long as its inode. */
void *rust_vfs_zalloc_link(size_t len)
{
	return kzalloc(len, GFP_KERNEL_ACCOUNT);
}

const struct cred *rust_vfs_current_cred(void)
{
	return get_current_cred();
}

void rust_vfs_put_cred(const struct cred *cred)
{
	put_cred(cred);
}

const struct cred *rust_vfs_override_creds(const struct cred *cred)
{
	return override_creds(cred);
}

void rust_vfs_revert_creds(const struct cred *cred)
{
	revert_creds(cred);
}

/* Return: 0, or -EINTR if the task was killed while it waited for its turn. */
int rust_vfs_lock_bit(unsigned long *word)
{
	return wait_on_bit_lock(word, 0, TASK_KILLABLE);
}

void rust_vfs_unlock_bit(unsigned long *word)
{
	clear_and_wake_up_bit(0, word);
}

void rust_vfs_fc_error(struct fs_context *fc, const char *msg)
{
	errorfc(fc, "%s", msg);
}

/* Without a log that somebody may read, it goes to the kernel's anyway. */
void rust_vfs_fc_warn(struct fs_context *fc, const char *msg)
{
	warnfc(fc, "%s", msg);
	if (fc->log.log)
		pr_warn("%s: %s\n", fc->fs_type->name, msg);
}

/* Whether a message about an error at run time may be printed now. */
bool rust_vfs_ratelimit(void)
{
	static DEFINE_RATELIMIT_STATE(state, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);

	return __ratelimit(&state);
}

void rust_vfs_seq_show_option(struct seq_file *m, const char *name,
			      const char *value)
{
	seq_show_option(m, name, value);
}
