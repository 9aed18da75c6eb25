// SPDX-License-Identifier: GPL-2.0-only

//! What a file system is told by whoever mounts it, and tells them.
//!
//! C header: [`include/linux/fs_context.h`](srctree/include/linux/fs_context.h)

use super::bindings;
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{fmt, fs::LocalFile, prelude::*, str::CString, types::NotThreadSafe};

/// Where errors are described to whoever mounts: what `mount` prints, or the kernel log if the
/// mount was made by `mount(2)`.
pub(crate) struct Log<'a> {
    fc: NonNull<bindings::fs_context>,
    _context: PhantomData<&'a bindings::fs_context>,
    _not_send: NotThreadSafe,
}

impl Log<'_> {
    /// # Safety
    ///
    /// `fc` must be live for the lifetime that the caller chooses for the result, and held by the
    /// current task.
    pub(super) unsafe fn new(fc: NonNull<bindings::fs_context>) -> Self {
        Self {
            fc,
            _context: PhantomData,
            _not_send: NotThreadSafe,
        }
    }

    /// Adds one line to the log; use [`errorf`].
    pub(crate) fn error(&self, args: fmt::Arguments<'_>) {
        // Without memory for the message its error code must do.
        let Ok(message) = CString::try_from_fmt(args) else {
            return;
        };
        // SAFETY: `fc` is live and held by this task (see `new()`), and the message is copied.
        unsafe { bindings::rust_vfs_fc_error(self.fc.as_ptr(), message.as_char_ptr()) };
    }

    /// Adds a warning, which the kernel log gets as well: not every program that mounts has a look
    /// at what was said where nothing failed. Use [`warnf`].
    pub(crate) fn warn(&self, args: fmt::Arguments<'_>) {
        let Ok(message) = CString::try_from_fmt(args) else {
            return;
        };
        // SAFETY: As in `error()`.
        unsafe { bindings::rust_vfs_fc_warn(self.fc.as_ptr(), message.as_char_ptr()) };
    }
}

/// Describes an error in a [`Log`].
macro_rules! errorf {
    ($log:expr, $format:tt $(, $arg:expr)* $(,)?) => {
        $log.error(::kernel::prelude::fmt!($format $(, $arg)*))
    };
}
pub(crate) use errorf;

/// Gives a warning in a [`Log`].
macro_rules! warnf {
    ($log:expr, $format:tt $(, $arg:expr)* $(,)?) => {
        $log.warn(::kernel::prelude::fmt!($format $(, $arg)*))
    };
}
pub(crate) use warnf;

/// One mount option.
pub(crate) struct Param<'a> {
    /// Its name.
    pub(crate) key: &'a CStr,
    /// What it is set to.
    pub(crate) value: Value<'a>,
}

/// The value of a mount option.
pub(crate) enum Value<'a> {
    /// There is none: `-o verity`.
    Flag,
    /// Text: `-o verity=on`.
    String(&'a CStr),
    /// An open file, from `FSCONFIG_SET_FD`.
    File(&'a LocalFile),
    /// A kind that this file system has no use for.
    Other,
}

/// Whether a mount option was one of the file system's own.
pub(crate) enum Parsed {
    /// It was, and is taken.
    Taken,
    /// It is not known.
    Unknown,
}
