/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * C functions for what the kernel offers only as macros and inline functions,
 * and for what differs between kernel versions. Called from vfs/ only.
 */
#ifndef _COMPOSEFS_VFS_HELPERS_H
#define _COMPOSEFS_VFS_HELPERS_H

#include <linux/types.h>

struct address_space_operations;
struct audit_buffer;
struct backing_file_ctx;
struct cred;
struct dentry;
struct dentry_operations;
struct dir_context;
struct fiemap_extent_info;
struct file;
struct file_kattr;
struct file_operations;
struct file_system_type;
struct folio;
struct fs_context;
struct inode;
struct inode_operations;
struct iov_iter;
struct key;
struct kiocb;
struct kmem_cache;
struct module;
struct path;
struct pipe_inode_info;
struct posix_acl;
struct ratelimit_state;
struct seq_file;
struct super_block;
struct vfsmount;

/* audit.c */
struct audit_buffer *rust_vfs_audit_begin(const char *operation);
void rust_vfs_audit_field(struct audit_buffer *ab, const char *name,
			  const char *value);
void rust_vfs_audit_result(struct audit_buffer *ab, int err);
void rust_vfs_audit_end(struct audit_buffer *ab);

/* backing.c */
struct dentry *rust_vfs_real_dentry(const struct file *file);
bool rust_vfs_adopt_backing_file(struct file *user, const struct file *file);
int rust_vfs_ask_for_content(struct file *file);
struct file *rust_vfs_borrow_backing_file(const struct file *user,
					  const struct file *file,
					  const struct cred *cred);
void rust_vfs_put_private_file(struct file *file);
ssize_t rust_vfs_backing_read_iter(struct file *file, struct iov_iter *iter,
				   struct kiocb *iocb,
				   struct backing_file_ctx *ctx);
ssize_t rust_vfs_backing_splice_read(struct file *user, struct file *file,
				     loff_t *pos, struct pipe_inode_info *pipe,
				     size_t len, unsigned int flags,
				     struct backing_file_ctx *ctx);
loff_t rust_vfs_backing_llseek(struct file *user, struct file *file,
			       loff_t offset, int whence);
unsigned long rust_vfs_backing_get_unmapped_area(struct file *file,
						 unsigned long addr,
						 unsigned long len,
						 unsigned long pgoff,
						 unsigned long flags);
int rust_vfs_backing_fadvise(struct file *file, loff_t offset, loff_t len,
			     int advice);
int rust_vfs_backing_fiemap(struct file *file,
			    struct fiemap_extent_info *info, u64 start,
			    u64 len);
long rust_vfs_backing_ioctl(struct file *file, unsigned int cmd,
			    unsigned long arg);

/* buffer.c */
char *rust_vfs_copy_string(const char *string);
void *rust_vfs_zalloc(size_t len);

/* context.c */
void rust_vfs_fc_error(struct fs_context *fc, const char *msg);
void rust_vfs_fc_warn(struct fs_context *fc, const char *msg);

/* credential.c */
const struct cred *rust_vfs_current_cred(void);
const struct cred *rust_vfs_current_cred_to_read(void);
bool rust_vfs_may_make_devices(void);
const struct cred *rust_vfs_override_creds(const struct cred *cred);
void rust_vfs_revert_creds(const struct cred *cred);

/* directory.c */
const char *rust_vfs_dentry_name(const struct dentry *dentry, u32 *len);
bool rust_vfs_dir_emit(struct dir_context *ctx, const char *name, int len,
		       u64 ino, unsigned int type);

/* file.c */
bool rust_vfs_is_regular(const struct file *file);
bool rust_vfs_is_readable(const struct file *file);
struct inode *rust_vfs_file_inode(const struct file *file);
u64 rust_vfs_file_size(const struct file *file);
s64 rust_vfs_file_mtime(const struct file *file, u32 *nsec);

/* forget.c */
void rust_vfs_forget_cached(void);
void rust_vfs_set_registered_type(struct file_system_type *type);

/* frozen_file.c */
void rust_vfs_folio_get(struct folio *folio);
void rust_vfs_folio_put(struct folio *folio);
int rust_vfs_deny_write_access(struct file *file);
void rust_vfs_allow_write_access(struct file *file);
bool rust_vfs_can_be_read(const struct file *file);
bool rust_vfs_has_page_cache(const struct file *file);
bool rust_vfs_has_verity(const struct file *file);
struct folio *rust_vfs_look_at(struct file *file, loff_t pos, size_t len,
			       unsigned int window, bool has_page_cache,
			       bool has_verity, const void **bytes);

/* inline_file.c */
struct inode *rust_vfs_folio_inode(struct folio *folio);
void *rust_vfs_folio_address(struct folio *folio);
size_t rust_vfs_folio_size(struct folio *folio);
loff_t rust_vfs_folio_pos(struct folio *folio);
void rust_vfs_folio_end_read(struct folio *folio, bool success);
void rust_vfs_read_from_cache(struct file *file);
ssize_t rust_vfs_cached_read_iter(struct kiocb *iocb, struct iov_iter *iter);

/* inode.c */
void rust_vfs_fileattr_verity(struct file_kattr *fa, bool is_verified);
unsigned int rust_vfs_inode_cache_flags(void);
struct inode *rust_vfs_alloc_inode(struct super_block *sb,
				   struct kmem_cache *cache);
struct inode *rust_vfs_ilookup(struct super_block *sb, u64 ino);
struct inode *rust_vfs_iget_locked(struct super_block *sb, u64 ino);
bool rust_vfs_inode_is_new(struct inode *inode);
u64 rust_vfs_inode_number(const struct inode *inode);
void rust_vfs_inode_set_operations(struct inode *inode,
				   const struct inode_operations *i_op,
				   const struct file_operations *i_fop,
				   const struct address_space_operations *a_ops);
void rust_vfs_inode_set_size(struct inode *inode, u64 size);
void rust_vfs_inode_set_owner(struct inode *inode, u32 uid, u32 gid);
void rust_vfs_inode_set_times(struct inode *inode, s64 sec, u32 nsec);
void rust_vfs_inode_cache_no_acl(struct inode *inode);
void rust_vfs_inode_set_special(struct inode *inode, umode_t mode, u32 rdev);

/* keyring.c */
struct key *rust_vfs_keyring_alloc(const char *name);
bool rust_vfs_keyring_is_empty(const struct key *keyring);
int rust_vfs_verify_pkcs7(const void *data, size_t len, const void *signature,
			  size_t signature_len, struct key *keyring);

/* log.c */
struct ratelimit_state *rust_vfs_ratelimit_alloc(void);
bool rust_vfs_ratelimit(struct ratelimit_state *rs);
void rust_vfs_ratelimit_free(struct ratelimit_state *rs);

/* once.c */
int rust_vfs_lock_bit(unsigned long *word);
void rust_vfs_unlock_bit(unsigned long *word);

/* path.c */
int rust_vfs_lookup_directory(const char *name, struct path *path);
struct vfsmount *rust_vfs_clone_private_mount(const struct path *path);
int rust_vfs_lookup_beneath(struct vfsmount *mnt, const char *name,
			    struct path *path);
int rust_vfs_permission_to_read(const struct path *path);
umode_t rust_vfs_path_mode(const struct path *path);
void rust_vfs_path_of_file(struct file *file, struct path *path);

/* registration.c */
bool rust_vfs_is_module_memory(const void *address, struct module *module);

/* stacking.c */
bool rust_vfs_is_on(const struct inode *inode,
		    const struct file_system_type *type);
u32 rust_vfs_stack_depth_on(const struct super_block *sb,
			    const struct file_system_type *own);
void rust_vfs_inode_set_lock_classes(struct inode *inode);

/* superblock.c */
void rust_vfs_set_dentry_operations(struct super_block *sb,
				    const struct dentry_operations *d_op);
void rust_vfs_seq_show_option(struct seq_file *m, const char *name,
			      const char *value);

/* symlink.c */
const char *rust_vfs_inode_publish_link(struct inode *inode, char *link);
const char *rust_vfs_inode_link(const struct inode *inode);
void rust_vfs_inode_free_link(struct inode *inode);
void *rust_vfs_zalloc_link(size_t len);

/* verity.c */
int rust_vfs_verity_descriptor(const struct file *object, void *buf,
			       size_t size);
void rust_vfs_give_verity_to_ima(struct inode *inode, struct file *object);
int rust_vfs_load_verity(struct inode *inode, struct file *file);
bool rust_vfs_lacks_verity(const struct path *dir,
			   const struct super_block *capable);

/* whole_file.c */
ssize_t rust_vfs_read_whole(struct file *file, void *buf, size_t size);

/* xattr.c */
bool rust_vfs_may_list_trusted(void);
struct posix_acl *rust_vfs_acl_from_xattr(const struct inode *inode,
					  const void *value, size_t size);

#endif
