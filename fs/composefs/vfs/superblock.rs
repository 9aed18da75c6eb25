// SPDX-License-Identifier: GPL-2.0-only

//! Superblocks.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    bindings, dentry,
    error::EUCLEAN,
    export,
    filesystem::{FileSystem, Registration},
    inode::{self, Inode, NewInode},
    stacking::StackDepth,
    verity, xattr,
};
use core::marker::PhantomData;
use kernel::{
    error::from_result,
    prelude::*,
    types::{NotThreadSafe, Opaque},
};

/// The superblock of a mounted file system of type `T`.
///
/// # Invariants
///
/// `s_fs_info` points at a `T::Super`, which does not change.
#[repr(transparent)]
pub(crate) struct SuperBlock<T: FileSystem>(Opaque<bindings::super_block>, PhantomData<T>);

impl<T: FileSystem> SuperBlock<T> {
    /// # Safety
    ///
    /// `sb` must be a superblock of type `T` on which `fill()` has succeeded
    /// up to setting `s_fs_info`, and live for `'a`.
    pub(super) unsafe fn from_raw<'a>(sb: *mut bindings::super_block) -> &'a Self {
        // SAFETY: `Self` is transparent over `super_block`, and the caller
        // vouches for the rest.
        unsafe { &*sb.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::super_block {
        self.0.get()
    }

    /// What `statfs(2)` calls it, made from its UUID as `uuid_to_fsid()` does.
    fn fsid(&self) -> bindings::__kernel_fsid_t {
        // SAFETY: A live superblock; its UUID does not change once it is mounted.
        let uuid = unsafe { u128::from_le_bytes((*self.as_ptr()).s_uuid.b) };
        let id = (uuid as u64) ^ ((uuid >> 64) as u64);
        bindings::__kernel_fsid_t {
            val: [id as c_int, (id >> 32) as c_int],
        }
    }

    /// What the file system keeps for it.
    pub(crate) fn data(&self) -> &T::Super {
        // SAFETY: By the type invariant.
        unsafe { &*(*self.as_ptr()).s_fs_info.cast() }
    }
}

/// What becomes a superblock: all that there is of it before it exists.
pub(crate) struct NewSuper<T: FileSystem> {
    /// What `statfs(2)` says is the type of the file system.
    pub(crate) magic: u32,
    /// What tells it from others, also when it is mounted again.
    pub(crate) uuid: [u8; 16],
    /// How high it stands on other file systems.
    pub(crate) stack_depth: StackDepth,
    /// The number of the root directory, and what it is.
    pub(crate) root: (u64, NewInode<T>),
    /// What the file system keeps for it.
    pub(crate) data: KBox<T::Super>,
}

/// Where `show_options` writes to.
pub(crate) struct OptionWriter<'a> {
    seq: *mut bindings::seq_file,
    _seq: PhantomData<&'a bindings::seq_file>,
    _not_send: NotThreadSafe,
}

impl OptionWriter<'_> {
    /// Writes `,name=value`, escaped.
    pub(crate) fn show(&self, name: &CStr, value: &CStr) {
        // SAFETY: `seq` is this task's for as long as `self` lives.
        unsafe {
            bindings::rust_vfs_seq_show_option(self.seq, name.as_char_ptr(), value.as_char_ptr());
        }
    }
}

/// Sets up a superblock. There is nothing in this that is waited for but memory.
///
/// # Safety
///
/// `sb` must be a new superblock of type `T` that only this task uses.
pub(super) unsafe fn fill<T: FileSystem>(
    sb: *mut bindings::super_block,
    new: NewSuper<T>,
) -> Result {
    // SAFETY: `sb` is this task's to set up.
    unsafe {
        (*sb).s_flags |= FLAGS as c_ulong;
        (*sb).s_op = &Operations::<T>::TABLE;
        (*sb).s_xattr = xattr::handlers::<T>();
        (*sb).s_export_op = export::operations::<T>();
        (*sb).s_vop = verity::operations::<T>();
        bindings::rust_vfs_set_dentry_operations(sb, dentry::operations::<T>());
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

    // SAFETY: `d_make_root()` consumes the reference to the inode, also when
    // it fails. `sb` is still this task's.
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
const BLOCK_SIZE: u32 = 1 << BLOCK_SIZE_BITS;

/// The `kill_sb` of file system type `T`.
///
/// # Safety
///
/// Called by the VFS only, for a superblock of type `T` without users.
pub(super) unsafe extern "C" fn kill<T: FileSystem>(sb: *mut bindings::super_block) {
    // SAFETY: The superblock was made by `get_tree_nodev()`.
    unsafe { bindings::kill_anon_super(sb) };

    // SAFETY: The VFS holds `sb` until this function returns. There are no
    // inodes any more, and so nobody who could use `s_fs_info`; it is null if
    // `fill()` did not get to setting it.
    unsafe {
        let data = (*sb).s_fs_info.cast::<T::Super>();
        if !data.is_null() {
            (*sb).s_fs_info = core::ptr::null_mut();
            drop(KBox::from_raw(data));
        }
    }
}

/// The C entry points of a superblock of file system type `T`.
struct Operations<T>(PhantomData<T>);

impl<T: FileSystem> Operations<T> {
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
    /// Called by the VFS only, for a superblock of type `T`.
    unsafe extern "C" fn alloc_inode(sb: *mut bindings::super_block) -> *mut bindings::inode {
        // SAFETY: The VFS gives a live superblock of type `T`.
        unsafe { inode::alloc::<T>(sb, Registration::<T>::of(sb).cache()) }
    }

    /// There are no blocks and no inodes, so there is nothing that could be full.
    ///
    /// # Safety
    ///
    /// Called by the VFS only, for a dentry of a mounted superblock of type
    /// `T`.
    unsafe extern "C" fn statfs(
        dentry: *mut bindings::dentry,
        buf: *mut kernel::bindings::kstatfs,
    ) -> c_int {
        // SAFETY: The dentry is live, and its superblock was filled. The VFS gives
        // a buffer that is zeroed, to write to.
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
    /// Called by the VFS only, for a dentry of a mounted superblock of type
    /// `T`.
    unsafe extern "C" fn show_options(
        seq: *mut bindings::seq_file,
        root: *mut bindings::dentry,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The dentry is live, and its superblock was filled.
            let sb = unsafe { SuperBlock::<T>::from_raw((*root).d_sb) };

            T::show_options(
                sb,
                &OptionWriter {
                    seq,
                    _seq: PhantomData,
                    _not_send: NotThreadSafe,
                },
            )?;
            Ok(0)
        })
    }
}
