// SPDX-License-Identifier: GPL-2.0-only

//! Inodes: their memory, their cache, and what is set when one is read.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{bindings, filesystem::FileSystem, superblock::SuperBlock};
use core::{alloc::Layout, marker::PhantomData, ops::Deref, ptr::NonNull};
use kernel::{prelude::*, str::CString, types::Opaque};

/// What a file system provides that has inodes.
pub(crate) trait Operations: FileSystem {
    /// Reads the inode with number `ino`. Called once for each inode that is not in the cache.
    fn read(sb: &SuperBlock<Self>, ino: u64) -> Result<NewInode<Self>>;

    /// The error for `inode`, about which the VFS has found out `what`: the file system is damaged.
    fn damaged(inode: &Inode<Self>, what: &'static str) -> Error;
}

/// The slab object of an inode: the VFS's part, and the file system's.
#[repr(C)]
pub(super) struct Slot<T: FileSystem> {
    inode: Opaque<bindings::inode>,
    /// `None` until the inode is read, and again when it is destroyed.
    data: Option<T::Inode>,
}

/// An inode of a file system of type `T` that has been read.
///
/// # Invariants
///
/// It is the `inode` of a [`Slot<T>`] whose `data` is set and does not change for as long as there
/// is a reference to the inode. The superblock of the inode fulfils the invariants of
/// [`SuperBlock<T>`].
#[repr(transparent)]
pub(crate) struct Inode<T: FileSystem>(Opaque<bindings::inode>, PhantomData<T>);

impl<T: FileSystem> Inode<T> {
    /// # Safety
    ///
    /// `inode` must be an inode of a superblock of type `T`, for which `Inode::get()` has returned,
    /// and which is referenced (not only found by RCU path walk) for `'a`.
    pub(super) unsafe fn from_raw<'a>(inode: *mut bindings::inode) -> &'a Self {
        // SAFETY: `Self` is transparent over `inode`, and the caller vouches for the rest.
        unsafe { &*inode.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::inode {
        self.0.get()
    }

    /// Its number, which is unique in the file system.
    pub(crate) fn number(&self) -> u64 {
        // SAFETY: The inode is live, and its number does not change.
        unsafe { bindings::rust_vfs_inode_number(self.as_ptr()) }
    }

    /// Its size in bytes, as it was given in [`NewInode`].
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: The inode is live, and its size, which is never negative, does not change:
        // nothing can be written.
        unsafe { (*self.as_ptr()).i_size as u64 }
    }

    /// What the file system keeps for it.
    pub(crate) fn data(&self) -> &T::Inode {
        // SAFETY: By the type invariant this is part of a `Slot<T>`, and its data is set and only
        // read.
        unsafe {
            let slot = kernel::container_of!(&raw const self.0, Slot<T>, inode);
            (*slot).data.as_ref().unwrap_unchecked()
        }
    }

    /// The superblock that it belongs to.
    pub(crate) fn super_block(&self) -> &SuperBlock<T> {
        // SAFETY: An inode does not outlive its superblock, nor does `i_sb` change; the rest is the
        // type invariant.
        unsafe { SuperBlock::from_raw((*self.as_ptr()).i_sb) }
    }

    /// Fails if the file system is of no use any more.
    pub(super) fn check_usable(&self) -> Result {
        T::check_usable(self.super_block())
    }

    pub(super) fn is_directory(&self) -> bool {
        // SAFETY: The type of an inode does not change once it is read.
        let mode = unsafe { (*self.as_ptr()).i_mode };
        u32::from(mode) & bindings::S_IFMT == bindings::S_IFDIR
    }

    /// Finds the inode with number `ino` in the cache.
    pub(super) fn cached(sb: &SuperBlock<T>, ino: u64) -> Option<InodeRef<T>> {
        // SAFETY: The superblock is live.
        let inode = unsafe { bindings::rust_vfs_ilookup(sb.as_ptr(), ino) };

        // INVARIANT: The reference is this task's. It was waited for the inode to be unlocked; one
        // that could not be read is not given.
        NonNull::new(inode.cast()).map(InodeRef)
    }

    /// Finds the inode with number `ino` in the cache, or puts there what `read` finds.
    pub(super) fn get_or(
        sb: &SuperBlock<T>,
        ino: u64,
        read: impl FnOnce() -> Result<NewInode<T>>,
    ) -> Result<InodeRef<T>> {
        // SAFETY: The superblock is live.
        let inode = unsafe { bindings::rust_vfs_iget_locked(sb.as_ptr(), ino) };
        let inode = NonNull::new(inode).ok_or(ENOMEM)?.as_ptr();

        // SAFETY: The reference that `iget_locked()` gave.
        if unsafe { bindings::rust_vfs_inode_is_new(inode) } {
            match read() {
                // SAFETY: A new inode is locked and this task's to set up, and it is part of a
                // `Slot<T>`, as all inodes of `sb`.
                Ok(new) => unsafe { new.init(inode) },
                Err(error) => {
                    // SAFETY: As above. The reference is given back.
                    unsafe { bindings::iget_failed(inode) };
                    return Err(error);
                }
            }
        }
        // INVARIANT: Another task that found the inode has waited for it to be unlocked, and
        // started again if reading it had failed.
        // SAFETY: The inode is not null, see above.
        let inode = InodeRef(unsafe { NonNull::new_unchecked(inode.cast::<Inode<T>>()) });

        // It may be of no use since it was asked for: what is cached of new inodes, nobody has had
        // forgotten.
        inode.check_usable()?;
        Ok(inode)
    }
}

impl<T: Operations> Inode<T> {
    /// Finds the inode with number `ino` in the cache, or reads it. It must be one that a path
    /// leads to.
    pub(super) fn get(sb: &SuperBlock<T>, ino: u64) -> Result<InodeRef<T>> {
        Self::get_or(sb, ino, || T::read(sb, ino))
    }
}

/// An owned reference to an inode.
///
/// # Invariants
///
/// Owns a reference to an inode that fulfils the invariants of [`Inode<T>`].
pub(super) struct InodeRef<T: FileSystem>(NonNull<Inode<T>>);

impl<T: FileSystem> InodeRef<T> {
    /// Hands the reference to C code.
    pub(super) fn into_raw(self) -> *mut bindings::inode {
        core::mem::ManuallyDrop::new(self).as_ptr()
    }
}

impl<T: FileSystem> Deref for InodeRef<T> {
    type Target = Inode<T>;

    fn deref(&self) -> &Inode<T> {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_ref() }
    }
}

impl<T: FileSystem> Drop for InodeRef<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a reference to give back.
        unsafe { bindings::iput(self.as_ptr()) };
    }
}

/// What an inode is; decides which operations it has.
///
/// The constructors are next to those operations, for example `Kind::directory()` in
/// `directory.rs`.
pub(crate) struct Kind<T: FileSystem> {
    pub(super) file_type: u32,
    pub(super) inode_operations: &'static bindings::inode_operations,
    pub(super) file_operations: Option<&'static bindings::file_operations>,
    pub(super) mapping_operations: Option<&'static bindings::address_space_operations>,
    /// The device number of a device, in the encoding of `new_encode_dev()`.
    pub(super) rdev: u32,
    pub(super) _filesystem: PhantomData<T>,
}

/// What [`Operations::read`] found.
pub(crate) struct NewInode<T: FileSystem> {
    /// What the inode is.
    pub(crate) kind: Kind<T>,
    /// The permission bits; the file type is that of `kind`.
    pub(crate) mode: u16,
    /// The number of names.
    pub(crate) nlink: u32,
    /// The owner, in the user namespace of the superblock.
    pub(crate) uid: u32,
    /// The group, in the user namespace of the superblock.
    pub(crate) gid: u32,
    /// The size in bytes, at most `i64::MAX`.
    pub(crate) size: u64,
    /// Access, modification and change time in seconds since 1970.
    pub(crate) seconds: i64,
    /// The nanoseconds that go with them; 10^9 and more are whole seconds.
    pub(crate) nanoseconds: u32,
    /// Whether there may be an access control list.
    pub(crate) may_have_acl: bool,
    /// What the file system keeps for it.
    pub(crate) data: T::Inode,
}

impl<T: FileSystem> NewInode<T> {
    /// Sets up an inode and unlocks it.
    ///
    /// # Safety
    ///
    /// `inode` must be new, locked by this task, and part of a [`Slot<T>`].
    unsafe fn init(self, inode: *mut bindings::inode) {
        let mode = (u32::from(self.mode) & !bindings::S_IFMT | self.kind.file_type) as u16;

        // SAFETY: `inode` is part of a `Slot<T>` that is this task's to set up. The tables are
        // static.
        unsafe {
            let slot = kernel::container_of!(Opaque::cast_from(inode), Slot<T>, inode).cast_mut();
            (*slot).data = Some(self.data);

            (*inode).i_mode = mode;
            bindings::rust_vfs_inode_set_size(inode, self.size.min(i64::MAX as u64));
            bindings::set_nlink(inode, self.nlink);
            bindings::rust_vfs_inode_set_owner(inode, self.uid, self.gid);
            bindings::rust_vfs_inode_set_times(inode, self.seconds, self.nanoseconds);
            if matches!(
                self.kind.file_type,
                bindings::S_IFCHR | bindings::S_IFBLK | bindings::S_IFIFO | bindings::S_IFSOCK
            ) {
                bindings::rust_vfs_inode_set_special(inode, mode, self.kind.rdev);
            }
            if !self.may_have_acl {
                bindings::rust_vfs_inode_cache_no_acl(inode);
            }
            bindings::rust_vfs_inode_set_operations(
                inode,
                self.kind.inode_operations,
                as_ptr(self.kind.file_operations),
                as_ptr(self.kind.mapping_operations),
            );
            bindings::rust_vfs_inode_set_lock_classes(inode);
            bindings::unlock_new_inode(inode);
        }
    }
}

fn as_ptr<O>(table: Option<&'static O>) -> *const O {
    table.map_or(core::ptr::null(), core::ptr::from_ref)
}

/// The slab cache for the inodes of file systems of type `T`.
///
/// # Invariants
///
/// It is a live slab cache of objects of the size and alignment of [`Slot<T>`].
pub(super) struct InodeCache<T: FileSystem>(NonNull<bindings::kmem_cache>, PhantomData<T>);

impl<T: FileSystem> InodeCache<T> {
    pub(super) fn new() -> Result<Self> {
        let name = CString::try_from_fmt(fmt!("{}_inode_cache", T::NAME))?;
        let layout = Layout::new::<Slot<T>>();

        let mut args: bindings::kmem_cache_args = pin_init::zeroed();
        args.align = layout.align() as c_uint;
        args.ctor = Some(Self::construct);

        // SAFETY: The name is NUL-terminated, and copied; the constructor is for objects of this
        // size.
        let cache = unsafe {
            bindings::__kmem_cache_create_args(
                name.as_char_ptr(),
                layout.size() as c_uint,
                &mut args,
                bindings::rust_vfs_inode_cache_flags(),
            )
        };
        Ok(Self(NonNull::new(cache).ok_or(ENOMEM)?, PhantomData))
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::kmem_cache {
        self.0.as_ptr()
    }

    /// # Safety
    ///
    /// `object` is a new object of the cache, which the allocator has not given to anybody.
    unsafe extern "C" fn construct(object: *mut c_void) {
        // SAFETY: The object has the size and alignment of a `Slot<T>`.
        unsafe {
            let slot = object.cast::<Slot<T>>();
            bindings::inode_init_once(Opaque::cast_into(&raw const (*slot).inode));
        }
    }
}

impl<T: FileSystem> Drop for InodeCache<T> {
    fn drop(&mut self) {
        // SAFETY: May be called from any context that can sleep. It waits for the inodes that
        // `free()` is still to give back.
        unsafe { bindings::rcu_barrier() };

        // SAFETY: By the type invariant the cache is live. Its inodes were those of superblocks, of
        // which there are none.
        unsafe { bindings::kmem_cache_destroy(self.as_ptr()) };
    }
}

/// The `alloc_inode` of a superblock.
///
/// # Safety
///
/// `sb` must be live.
pub(super) unsafe fn alloc<T: FileSystem>(
    sb: *mut bindings::super_block,
    cache: &InodeCache<T>,
) -> *mut bindings::inode {
    // SAFETY: The caller vouches for `sb`.
    let slot = unsafe { bindings::rust_vfs_alloc_inode(sb, cache.as_ptr()) }.cast::<Slot<T>>();
    if slot.is_null() {
        return core::ptr::null_mut();
    }
    // SAFETY: The object is a new `Slot<T>`; what its `data` was before is not dropped.
    unsafe {
        (&raw mut (*slot).data).write(None);
        Opaque::cast_into(&raw const (*slot).inode)
    }
}

/// The `destroy_inode` of a superblock: frees what can be freed before the RCU grace period. Code
/// that runs in RCU path walk does not touch `data`.
///
/// # Safety
///
/// `inode` is of type `T`, was evicted, and there is no reference to it. RCU path walk may still
/// look at it.
pub(super) unsafe extern "C" fn destroy<T: FileSystem>(inode: *mut bindings::inode) {
    // SAFETY: `inode` is part of a `Slot<T>`, and nobody else uses its data.
    unsafe {
        let slot = kernel::container_of!(Opaque::cast_from(inode), Slot<T>, inode).cast_mut();
        (*slot).data = None;
    }
}

/// The `free_inode` of a superblock.
///
/// # Safety
///
/// `inode` is of type `T` and was given to `destroy()` an RCU grace period ago: nobody can look at
/// it. This may be a softirq, so nothing can be waited for.
pub(super) unsafe extern "C" fn free<T: FileSystem>(inode: *mut bindings::inode) {
    // SAFETY: Nobody else uses the inode. It came from `alloc()`, which took it from a slab cache;
    // the allocator knows which.
    unsafe {
        bindings::rust_vfs_inode_free_link(inode);
        let slot = kernel::container_of!(Opaque::cast_from(inode), Slot<T>, inode);
        bindings::kfree(slot.cast());
    }
}
