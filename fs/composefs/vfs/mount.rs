// SPDX-License-Identifier: GPL-2.0-only

//! The way from mount options to a superblock.
//!
//! C header: [`include/linux/fs_context.h`](srctree/include/linux/fs_context.h)

use super::{
    bindings, buffer,
    context::{errorf, Log, Param, Parsed, Value},
    credential,
    filesystem::FileSystem,
    named::NamedFile,
    registration::Registration,
    super_operations::{self, Operations},
    superblock::{NewSuper, SuperBlock},
};
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    cred::Credential,
    error::{from_result, to_result},
    fs::LocalFile,
    prelude::*,
};

/// What an fs_context of file system type `T` holds.
struct Context<T: FileSystem> {
    options: T::Options,
    /// What is mounted, if that was given as an open file.
    source: Option<NamedFile>,
    /// On its way from `get_tree()` to `fill_super()`.
    prepared: Option<NewSuper<T>>,
}

/// The `init_fs_context` of file system type `T`.
///
/// # Safety
///
/// `fc` is being set up by this task, for the file system type of a `Registration<T>`, and nobody
/// else has it.
pub(super) unsafe extern "C" fn init<T: Operations>(
    fc: *mut kernel::bindings::fs_context,
) -> c_int {
    let fc = fc.cast::<bindings::fs_context>();

    from_result(|| {
        let context = Context::<T> {
            options: T::options()?,
            source: None,
            prepared: None,
        };
        let context = KBox::new(context, GFP_KERNEL_ACCOUNT)?;

        // SAFETY: The VFS gives this task the fs_context to set up.
        unsafe {
            (*fc).fs_private = KBox::into_raw(context).cast();
            (*fc).ops = &Tables::<T>::TABLE;
        }
        Ok(0)
    })
}

/// The C entry points of an fs_context of file system type `T`. Its `fs_private` is a
/// `KBox<Context<T>>`, from `init()` to `free()`.
struct Tables<T>(PhantomData<T>);

impl<T: Operations> Tables<T> {
    const TABLE: bindings::fs_context_operations = bindings::fs_context_operations {
        free: Some(Self::free),
        dup: None,
        parse_param: Some(Self::parse_param),
        parse_monolithic: None,
        get_tree: Some(Self::get_tree),
        reconfigure: Some(Self::reconfigure),
    };

    /// # Safety
    ///
    /// `init()` has succeeded for `fc`, and nobody else has it any more. This is called once.
    unsafe extern "C" fn free(fc: *mut bindings::fs_context) {
        // SAFETY: `fs_private` is the box that `init()` put there; the VFS calls this only where
        // `init()` succeeded.
        drop(unsafe { KBox::from_raw((*fc).fs_private.cast::<Context<T>>()) });
    }

    /// # Safety
    ///
    /// `init()` has succeeded for `fc`, and `fc->uapi_mutex` is held, or nobody else has it.
    /// `param` is the caller's, with a key that ends with a NUL.
    unsafe extern "C" fn parse_param(
        fc: *mut bindings::fs_context,
        param: *mut bindings::fs_parameter,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS gives a live fs_context, which is not null.
            let log = unsafe { Log::new(NonNull::new_unchecked(fc)) };

            // SAFETY: `fs_private` is a box of this type (see the struct), and the caller's lock
            // makes this the only reference.
            let context = unsafe { &mut *(*fc).fs_private.cast::<Context<T>>() };

            // SAFETY: The VFS gives a parameter with a NUL-terminated key; it is alive until this
            // function returns. The type says which member of the union is set; strings and files
            // are not null then.
            let param = unsafe {
                let anon = &(*param).__bindgen_anon_1;
                Param {
                    key: buffer::c_str((*param).key),
                    value: match (*param).type_() {
                        bindings::fs_value_type_fs_value_is_flag => Value::Flag,
                        bindings::fs_value_type_fs_value_is_string => {
                            Value::String(buffer::c_str(anon.string))
                        }
                        bindings::fs_value_type_fs_value_is_file => {
                            Value::File(LocalFile::from_raw_file(anon.file))
                        }
                        _ => Value::Other,
                    },
                }
            };

            if let (b"source", Value::File(file)) = (buffer::bytes(param.key), &param.value) {
                let file = NamedFile::from_open(file).inspect_err(|error| {
                    errorf!(
                        log,
                        "source: not a file that is open for reading: {error:?}"
                    );
                })?;
                // SAFETY: The VFS gives a live fs_context for the use of this task.
                unsafe { set_source(fc, file.name(), &log)? };
                context.source = Some(file);
                return Ok(0);
            }
            match T::parse_param(&mut context.options, &param, &log)? {
                Parsed::Taken => Ok(0),
                Parsed::Unknown => Err(ENOPARAM),
            }
        })
    }

    /// Everything that may have to be waited for is done before there is a superblock: `sync(2)`,
    /// for one, waits for all of them to be complete.
    ///
    /// # Safety
    ///
    /// `init()` has succeeded for `fc`, which holds its file system type, and `fc->uapi_mutex` is
    /// held, or nobody else has it.
    unsafe extern "C" fn get_tree(fc: *mut bindings::fs_context) -> c_int {
        from_result(|| {
            // SAFETY: The VFS gives a live fs_context for the use of this task, which holds its
            // file system type and the credentials of whoever has made it; `fs_private` is a box of
            // this type (see the struct), to which no other reference exists during this block.
            unsafe {
                force_read_only(fc)?;
                let log = Log::new(NonNull::new_unchecked(fc));
                let registration = Registration::<T>::of_type((*fc).fs_type);

                let context = &mut *(*fc).fs_private.cast::<Context<T>>();
                let source = match (context.source.take(), (*fc).source) {
                    (None, name) if !name.is_null() => Some(NamedFile::at(buffer::c_str(name))?),
                    (file, _) => file,
                };
                // Who says that this is to be mounted now need not be who has said what: what is
                // named is opened for the latter.
                let mounter = Credential::from_ptr((*fc).cred.cast());
                let new = credential::scoped(mounter, || {
                    T::prepare(
                        registration.shared(),
                        registration.registered(),
                        &mut context.options,
                        source,
                        &log,
                    )
                })?;
                context.prepared = Some(new);
            }
            // SAFETY: As above; `fill_super()` is for this type.
            let result = to_result(unsafe { bindings::get_tree_nodev(fc, Some(Self::fill_super)) });

            // What came to nothing is not kept for as long as the context is.
            // SAFETY: As above.
            unsafe { (*(*fc).fs_private.cast::<Context<T>>()).prepared = None };
            result.map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// `get_tree()` is running for `fc`. `sb` is a new superblock of that type, not yet `SB_BORN`,
    /// whose `s_umount` is held for writing.
    unsafe extern "C" fn fill_super(
        sb: *mut bindings::super_block,
        fc: *mut bindings::fs_context,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The pointers are live and this task's own to use for the call; `fs_private`
            // is a box of this type (see the struct).
            unsafe {
                let context = (*fc).fs_private.cast::<Context<T>>();
                let new = (*context).prepared.take().ok_or(EINVAL)?;

                super_operations::fill::<T>(sb, new)?;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `init()` has succeeded for `fc`, and `fc->root` is a dentry of a mounted superblock of type
    /// `T`, whose `s_umount` is held for writing; `fc->uapi_mutex` is held, or nobody else has
    /// `fc`.
    unsafe extern "C" fn reconfigure(fc: *mut bindings::fs_context) -> c_int {
        from_result(|| {
            // SAFETY: The pointers are live and this task's own to use for the call; the root of a
            // context for reconfiguration is that of a mounted superblock, of this type.
            unsafe {
                force_read_only(fc)?;
                let log = Log::new(NonNull::new_unchecked(fc));
                let options = &mut (*(*fc).fs_private.cast::<Context<T>>()).options;
                let sb = SuperBlock::<T>::from_raw((*(*fc).root).d_sb);

                T::reconfigure(sb, options, &log)?;
            }
            Ok(0)
        })
    }
}

/// Sets what mounts show as their source.
///
/// # Errors
///
/// [`EINVAL`], described in `log`, if there is one already; [`ENOMEM`].
///
/// # Safety
///
/// `fc` must be a live fs_context that this task may change.
unsafe fn set_source(fc: *mut bindings::fs_context, name: &CStr, log: &Log<'_>) -> Result {
    // SAFETY: See the contract of this function. The VFS frees the copy with the context.
    unsafe {
        if !(*fc).source.is_null() {
            errorf!(log, "source: another one was given before");
            return Err(EINVAL);
        }
        (*fc).source = bindings::rust_vfs_copy_string(name.as_char_ptr());
        if (*fc).source.is_null() {
            return Err(ENOMEM);
        }
    }
    Ok(())
}

/// Makes the superblock read-only, which it is unless something was said.
///
/// # Errors
///
/// [`EROFS`] if `rw` was asked for.
///
/// # Safety
///
/// `fc` must be a live fs_context that this task may change.
unsafe fn force_read_only(fc: *mut bindings::fs_context) -> Result {
    const READ_ONLY: c_uint = bindings::RUST_VFS_SB_RDONLY;

    // SAFETY: See the contract of this function; the pointer is not null.
    unsafe {
        if (*fc).sb_flags_mask & READ_ONLY != 0 && (*fc).sb_flags & READ_ONLY == 0 {
            let log = Log::new(NonNull::new_unchecked(fc));
            errorf!(log, "rw: this file system can only be read");
            return Err(EROFS);
        }
        (*fc).sb_flags |= READ_ONLY;
    }
    Ok(())
}
