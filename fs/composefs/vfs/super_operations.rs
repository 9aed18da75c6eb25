// SPDX-License-Identifier: GPL-2.0-only

//! Setting superblocks up, what can be done with them, and their end.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    backing, bindings, dentry,
    error::EUCLEAN,
    export,
    filesystem::FileSystem,
    inode::{self, Inode},
    registration::Registration,
    superblock::{NewSuper, SuperBlock},
    verity, xattr,
};
use core::marker::PhantomData;
use kernel::{error::from_result, prelude::*, seq_file::SeqFile};

/// What a file system provides that can be mounted.
pub(crate) trait Operations:
    backing::Operations + export::Operations + xattr::Operations
{
}

impl<T: backing::Operations + export::Operations + xattr::Operations> Operations for T {}

/// Sets up a superblock. The only thing this can wait for is memory.
///
/// # Safety
///
/// `sb` must be a new superblock of type `T` that only this task uses.
pub(super) unsafe fn fill<T: Operations>(
    sb: *mut bindings::super_block,
    new: NewSuper<T>,
) -> Result {
    // SAFETY: `sb` is this task's to set up.
    unsafe {
        (*sb).s_flags |= FLAGS as c_ulong;
        if !new.has_devices {
            (*sb).s_iflags |= bindings::RUST_VFS_SB_I_NODEV as c_ulong;
        }
        (*sb).s_op = &Tables::<T>::TABLE;
        (*sb).s_xattr = xattr::handlers::<T>();
        (*sb).s_export_op = export::table::<T>();
        (*sb).s_vop = verity::table::<T>();
        bindings::rust_vfs_set_dentry_operations(sb, dentry::table::<T>());
        (*sb).s_magic = new.magic as c_ulong;
        (*sb).s_uuid.b = new.uuid;
        (*sb).s_uuid_len = new.uuid.len() as u8;
        (*sb).s_stack_depth = new.stack_depth.number() as c_int;
        (*sb).s_maxbytes = bindings::loff_t::MAX;
        (*sb).s_time_gran = 1;
        (*sb).s_blocksize = BLOCK_SIZE as c_ulong;
        (*sb).s_blocksize_bits = BLOCK_SIZE_BITS;
    }
    // SAFETY: As above. From here on `kill()` frees the data.
    let this = unsafe {
        (*sb).s_fs_info = KBox::into_raw(new.data).cast();
        SuperBlock::<T>::from_raw(sb)
    };
    let (number, root) = new.root;
    let root = Inode::get_or(this, number, || Ok(root))?;
    if !root.is_directory() {
        return Err(EUCLEAN);
    }

    // SAFETY: `d_make_root()` consumes the reference to the inode, also when it fails. `sb` is
    // still this task's.
    unsafe {
        (*sb).s_root = bindings::d_make_root(root.into_raw());
        if (*sb).s_root.is_null() {
            return Err(ENOMEM);
        }
    }
    Ok(())
}

/// There are no access times, but there may be access control lists.
const FLAGS: u32 = bindings::RUST_VFS_SB_NOATIME | bindings::RUST_VFS_SB_POSIXACL;

/// What `stat(2)` gives as the best size of a request.
const BLOCK_SIZE_BITS: u8 = 12;
pub(super) const BLOCK_SIZE: u32 = 1 << BLOCK_SIZE_BITS;

/// The `kill_sb` of file system type `T`.
///
/// # Safety
///
/// `sb` was made for a `Registration<T>`, and has no mount and no open file any more. Its
/// `s_umount` is held for writing.
pub(super) unsafe extern "C" fn kill<T: FileSystem>(sb: *mut bindings::super_block) {
    // SAFETY: The superblock was made by `get_tree_nodev()`.
    unsafe { bindings::kill_anon_super(sb) };

    // SAFETY: The VFS holds `sb` until this function returns. There are no inodes any more, and so
    // nobody who could use `s_fs_info`; it is null if `fill()` did not get to setting it.
    unsafe {
        let data = (*sb).s_fs_info.cast::<T::Super>();
        if !data.is_null() {
            (*sb).s_fs_info = core::ptr::null_mut();
            drop(KBox::from_raw(data));
        }
    }
}

/// The C entry points of a superblock of file system type `T`.
struct Tables<T>(PhantomData<T>);

impl<T: Operations> Tables<T> {
    const TABLE: bindings::super_operations = {
        let mut table: bindings::super_operations = pin_init::zeroed();
        table.alloc_inode = Some(Self::alloc_inode);
        table.destroy_inode = Some(inode::destroy::<T>);
        table.free_inode = Some(inode::free::<T>);
        table.statfs = Some(Self::statfs);
        table.show_options = Some(Self::show_options);
        table
    };

    /// # Safety
    ///
    /// `sb` is a live superblock of type `T`. No lock is held.
    unsafe extern "C" fn alloc_inode(sb: *mut bindings::super_block) -> *mut bindings::inode {
        // SAFETY: The VFS gives a live superblock of type `T`.
        unsafe { inode::alloc::<T>(sb, Registration::<T>::of(sb).cache()) }
    }

    /// There are no blocks and no inodes, so there is nothing that could be full.
    ///
    /// # Safety
    ///
    /// `dentry` is of type `T`, on a superblock that stays mounted meanwhile. `buf` is zeroed, and
    /// the caller's.
    unsafe extern "C" fn statfs(
        dentry: *mut bindings::dentry,
        buf: *mut kernel::bindings::kstatfs,
    ) -> c_int {
        // SAFETY: The dentry is live, and its superblock was filled. The VFS gives a buffer that is
        // zeroed, to write to.
        unsafe {
            let sb = (*dentry).d_sb;
            let buf = buf.cast::<bindings::kstatfs>();
            (*buf).f_type = (*sb).s_magic as c_long;
            (*buf).f_bsize = (*sb).s_blocksize as c_long;
            (*buf).f_frsize = (*sb).s_blocksize as c_long;
            (*buf).f_namelen = bindings::NAME_MAX as c_long;
            (*buf).f_fsid = SuperBlock::<T>::from_raw(sb).fsid();
        }
        0
    }

    /// # Safety
    ///
    /// `root` is a dentry of a superblock of type `T` that stays mounted meanwhile: the caller has
    /// it from a mount, or holds `namespace_sem`. `seq` is the caller's.
    unsafe extern "C" fn show_options(
        seq: *mut bindings::seq_file,
        root: *mut bindings::dentry,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The dentry is live, and its superblock was filled.
            let sb = unsafe { SuperBlock::<T>::from_raw((*root).d_sb) };

            // SAFETY: The VFS gives a sequence for the use of this task.
            T::show_options(sb, unsafe { SeqFile::from_raw(seq) })?;
            Ok(0)
        })
    }
}
