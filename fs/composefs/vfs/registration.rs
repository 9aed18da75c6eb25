// SPDX-License-Identifier: GPL-2.0-only

//! File system types, registered with the kernel.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{bindings, filesystem::FileSystem, inode::InodeCache, stacking::Registered};
use core::ptr::NonNull;
use kernel::{error::to_result, prelude::*, types::Opaque};

/// A `struct file_system_type` that is registered, with the slab cache of its inodes and what its
/// superblocks share, which outlive it.
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

// SAFETY: `fs_type` is only accessed by the VFS, under its own locks, and the slab allocator may be
// called from any task.
unsafe impl<T: FileSystem> Send for Registration<T> {}

// SAFETY: As for `Send`; what is reached through `&self` is the address of the cache, and `shared`,
// which is `Sync`.
unsafe impl<T: FileSystem> Sync for Registration<T> {}

impl<T: FileSystem> Registration<T> {
    /// A registration with these as `init_fs_context` and `kill_sb`.
    ///
    /// # Safety
    ///
    /// They must be for file systems of type `T`.
    pub(super) unsafe fn new(
        module: &'static ThisModule,
        init: unsafe extern "C" fn(*mut kernel::bindings::fs_context) -> c_int,
        kill: unsafe extern "C" fn(*mut bindings::super_block),
    ) -> impl PinInit<Self, Error> {
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
                    (*slot).init_fs_context = Some(init);
                    (*slot).kill_sb = Some(kill);
                }
                // SAFETY: `slot` is fully initialised, pinned, and lives until it is unregistered
                // in `drop()`. What its superblocks use was made above.
                let result = to_result(unsafe { bindings::register_filesystem(slot) });
                match result {
                    // SAFETY: As above; `drop()` takes it back.
                    Ok(()) => unsafe { bindings::rust_vfs_set_registered_type(slot) },
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
    /// `sb` must point at a superblock of the file system type `T` that is live for `'a`.
    pub(super) unsafe fn of<'a>(sb: *const bindings::super_block) -> &'a Self {
        // SAFETY: `sb` is live according to the contract of this function. Every superblock of type
        // `T` was made through the `fs_type` of a `Registration<T>`: there is no other place that
        // hands out `context::init::<T>`. Superblocks hold a reference to the module.
        unsafe { Self::of_type((*sb).s_type) }
    }

    /// The registration of a file system type.
    ///
    /// # Safety
    ///
    /// `fs_type` must be that of a `Registration<T>`, whose module there must be a reference to for
    /// `'a`.
    pub(super) unsafe fn of_type<'a>(fs_type: *mut bindings::file_system_type) -> &'a Self {
        // SAFETY: See the contract of this function; the registration lies in the memory of its
        // module by the type invariant.
        unsafe { &*kernel::container_of!(Opaque::cast_from(fs_type), Self, fs_type) }
    }

    /// What was registered.
    pub(super) fn registered(&self) -> Registered<T> {
        // SAFETY: A reference is not null. Superblocks of this type are of type `T`, see `of()`.
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
        // SAFETY: `fs_type` was registered by `new()`. There are no users of the type: superblocks
        // and fs_contexts hold a reference to the module, whose memory this lies in by the type
        // invariant, and that is given up only when there are none.
        unsafe {
            bindings::rust_vfs_set_registered_type(core::ptr::null_mut());
            bindings::unregister_filesystem(self.fs_type.get());
        }
    }
}
