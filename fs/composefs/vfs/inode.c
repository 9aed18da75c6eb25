// SPDX-License-Identifier: GPL-2.0-only
/* C functions for inodes: their cache, and what is set when one is read. */
#include <linux/fs.h>
#include <linux/fileattr.h>
#include <linux/kdev_t.h>
#include <linux/posix_acl.h>
#include <linux/slab.h>

#include "helpers.h"

void rust_vfs_fileattr_verity(struct file_kattr *fa, bool is_verified)
{
	fileattr_fill_flags(fa, is_verified ? FS_VERITY_FL : 0);
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
