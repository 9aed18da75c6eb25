// SPDX-License-Identifier: GPL-2.0-only

//! A file system type: what it must provide, and its registration.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    backing::BackingFile,
    bindings,
    context::{self, Log, Param, Parsed},
    inode::{Inode, InodeCache, NewInode},
    stacking::Registered,
    superblock::{self, NewSuper, OptionWriter, SuperBlock},
    xattr,
};
use core::ptr::NonNull;
use kernel::{error::to_result, prelude::*, types::Opaque, InPlaceModule};

/// A read-only file system whose superblocks have no block device.
pub(crate) trait FileSystem: Sized + 'static {
    /// What `mount -t` and `/proc/filesystems` call it.
    const NAME: &'static CStr;

    /// What all superblocks share, from the registration of the type on.
    type Shared: Send + Sync + 'static;

    /// What the mount options say, collected before there is a superblock.
    type Options: Send + 'static;

    /// What belongs to a superblock.
    type Super: Send + Sync + 'static;

    /// What belongs to an inode. It is part of the same slab object.
    type Inode: Send + Sync + 'static;

    /// What all superblocks will share.
    fn shared() -> Result<Self::Shared>;

    /// The options of a mount that gives none.
    fn options() -> Result<Self::Options>;

    /// Takes one mount option. Errors are described in `log`.
    fn parse_param(options: &mut Self::Options, param: &Param<'_>, log: &Log<'_>)
        -> Result<Parsed>;

    /// Makes what becomes a superblock of `source`, the first argument of
    /// `mount`. All that has to be opened and read for a mount is opened and
    /// read here. Errors are described in `log`.
    fn prepare(
        shared: &Self::Shared,
        registered: Registered<Self>,
        options: &mut Self::Options,
        source: Option<&CStr>,
        log: &Log<'_>,
    ) -> Result<NewSuper<Self>>;

    /// Applies the options of a remount.
    fn reconfigure(sb: &SuperBlock<Self>, options: &mut Self::Options, log: &Log<'_>) -> Result;

    /// Writes the options in force, as `/proc/mounts` shows them.
    fn show_options(sb: &SuperBlock<Self>, writer: &OptionWriter<'_>) -> Result;

    /// Fails if a superblock that is mounted is of no use any more, for a
    /// reason that is the same for all that is on it. Asked before anything
    /// is read from it, so it should be quick.
    fn check_usable(sb: &SuperBlock<Self>) -> Result;

    /// Whether no file that gets its content from elsewhere can have fs-verity.
    fn lacks_verity(sb: &SuperBlock<Self>) -> bool;

    /// Reads the inode with number `ino`. Called once for each inode that is
    /// not in the cache.
    fn read_inode(sb: &SuperBlock<Self>, ino: u64) -> Result<NewInode<Self>>;

    /// The backing file of an inode, if it has one and it was opened.
    fn backing(inode: &Inode<Self>) -> Option<&BackingFile>;

    /// The backing file of an inode, opened if it was not yet; `None` if it has
    /// none. Errors are for the log only.
    fn find_backing(inode: &Inode<Self>) -> Result<Option<&BackingFile>>;

    /// The error for `inode`, about which the VFS has found out `what`: the file
    /// system is damaged.
    fn damaged(inode: &Inode<Self>, what: &'static str) -> Error;

    /// The number of the directory that `dir` is in.
    fn parent(dir: &Inode<Self>) -> Result<u64>;

    /// Whether a path leads from the root to the inode with number `ino`. Asked
    /// before one is read for a file handle, which anybody can make up.
    fn is_named(sb: &SuperBlock<Self>, ino: u64) -> Result<bool>;

    /// Reads the extended attribute `name` (less the prefix) of `namespace`
    /// into `value`; returns its length. An empty `value` asks for the length.
    ///
    /// # Errors
    ///
    /// [`ENODATA`] if there is no such attribute, [`ERANGE`] if `value` is too
    /// short.
    fn get_xattr(
        inode: &Inode<Self>,
        namespace: xattr::Namespace,
        name: &[u8],
        value: &mut [u8],
    ) -> Result<usize>;

    /// Adds the names of all extended attributes to `list`.
    fn list_xattrs(inode: &Inode<Self>, list: &mut xattr::List<'_>) -> Result;
}

/// A `struct file_system_type` that is registered, with the slab cache of its
/// inodes and what its superblocks share, which outlive it.
///
/// # Invariants
///
/// It lies in the memory of the module that owns the file system type.
#[pin_data(PinnedDrop)]
pub(super) struct Registration<T: FileSystem> {
    #[pin]
    fs_type: Opaque<bindings::file_system_type>,
    // Dropped after `drop()` has unregistered the type.
    cache: InodeCache<T>,
    shared: T::Shared,
}

// SAFETY: `fs_type` is only accessed by the VFS, under its own locks, and the
// slab allocator may be called from any task.
unsafe impl<T: FileSystem> Send for Registration<T> {}

// SAFETY: As for `Send`; what is reached through `&self` is the address of the
// cache, and `shared`, which is `Sync`.
unsafe impl<T: FileSystem> Sync for Registration<T> {}

impl<T: FileSystem> Registration<T> {
    fn new(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            cache: InodeCache::new()?,
            shared: T::shared()?,
            fs_type <- Opaque::try_ffi_init(|slot: *mut bindings::file_system_type| {
                // SAFETY: The function looks at addresses only.
                if !unsafe { bindings::rust_vfs_is_module_memory(slot.cast(), module.as_ptr()) } {
                    return Err(EINVAL);
                }
                // SAFETY: `slot` is valid for writes.
                unsafe {
                    slot.write(pin_init::zeroed());
                    (*slot).name = T::NAME.as_char_ptr();
                    (*slot).owner = module.as_ptr();
                    (*slot).fs_flags = bindings::FS_ALLOW_IDMAP as c_int;
                    (*slot).init_fs_context = Some(context::init::<T>);
                    (*slot).kill_sb = Some(superblock::kill::<T>);
                }
                // SAFETY: `slot` is fully initialised, pinned, and lives until
                // it is unregistered in `drop()`. What its superblocks use
                // was made above.
                let result = to_result(unsafe { bindings::register_filesystem(slot) });
                match result {
                    // SAFETY: As above; `drop()` takes it back.
                    Ok(()) => unsafe { bindings::rust_vfs_set_ratchet_type(slot) },
                    Err(_) => pr_err!("cannot register the file system type\n"),
                }
                result
            }),
        }? Error)
    }

    /// The registration of the type of a superblock.
    ///
    /// # Safety
    ///
    /// `sb` must point at a superblock of the file system type `T` that is
    /// live for `'a`.
    pub(super) unsafe fn of<'a>(sb: *const bindings::super_block) -> &'a Self {
        // SAFETY: `sb` is live according to the contract of this function.
        // Every superblock of type `T` was made through the `fs_type` of a
        // `Registration<T>`: there is no other place that hands out
        // `context::init::<T>`. Superblocks hold a reference to the module.
        unsafe { Self::of_type((*sb).s_type) }
    }

    /// The registration of a file system type.
    ///
    /// # Safety
    ///
    /// `fs_type` must be that of a `Registration<T>`, whose module there must
    /// be a reference to for `'a`.
    pub(super) unsafe fn of_type<'a>(fs_type: *mut bindings::file_system_type) -> &'a Self {
        // SAFETY: See the contract of this function; the registration lies in
        // the memory of its module by the type invariant.
        unsafe { &*kernel::container_of!(Opaque::cast_from(fs_type), Self, fs_type) }
    }

    /// What was registered.
    pub(super) fn registered(&self) -> Registered<T> {
        // SAFETY: A reference is not null. Superblocks of this type are of type
        // `T`, see `of()`.
        unsafe { Registered::from_raw(NonNull::new_unchecked(self.fs_type.get())) }
    }

    /// The slab cache for the inodes of the superblocks.
    pub(super) fn cache(&self) -> &InodeCache<T> {
        &self.cache
    }

    /// What the superblocks share.
    pub(super) fn shared(&self) -> &T::Shared {
        &self.shared
    }
}

#[pinned_drop]
impl<T: FileSystem> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: `fs_type` was registered by `new()`. There are no users of
        // the type: superblocks and fs_contexts hold a reference to the
        // module, whose memory this lies in by the type invariant, and that is
        // given up only when there are none.
        unsafe {
            bindings::rust_vfs_set_ratchet_type(core::ptr::null_mut());
            bindings::unregister_filesystem(self.fs_type.get());
        }
    }
}

/// A kernel module that is one file system, for `module!`.
#[pin_data]
pub(crate) struct Module<T: FileSystem> {
    #[pin]
    registration: Registration<T>,
}

impl<T: FileSystem> InPlaceModule for Module<T> {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            registration <- Registration::new(module),
        }? Error)
    }
}
