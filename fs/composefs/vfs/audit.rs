// SPDX-License-Identifier: GPL-2.0-only

//! Records for the audit log, if the kernel keeps one and it is enabled.
//!
//! C header: [`include/linux/audit.h`](srctree/include/linux/audit.h)

use super::bindings;
use core::ptr::NonNull;
use kernel::{prelude::*, types::NotThreadSafe};

/// A record of type `AUDIT_INTEGRITY_DATA` about the current task, which is written when this is
/// dropped.
///
/// # Invariants
///
/// Owns the audit buffer.
pub(crate) struct Record(NonNull<bindings::audit_buffer>, NotThreadSafe);

impl Record {
    /// Begins a record about the operation `operation`; `None` if nobody wants to know.
    pub(crate) fn begin(operation: &'static CStr) -> Option<Self> {
        // SAFETY: The string is NUL-terminated. The buffer, if there is one, is this task's.
        let buffer = unsafe { bindings::rust_vfs_audit_begin(operation.as_char_ptr()) };
        NonNull::new(buffer).map(|buffer| Self(buffer, NotThreadSafe))
    }

    /// Adds ` name="value"`, or the value in hex if it is not plain text.
    pub(crate) fn field(&self, name: &'static CStr, value: &CStr) {
        // SAFETY: The buffer is this task's by the type invariant, and the strings are
        // NUL-terminated.
        unsafe {
            bindings::rust_vfs_audit_field(
                self.0.as_ptr(),
                name.as_char_ptr(),
                value.as_char_ptr(),
            );
        }
    }

    /// Adds the result, and writes the record.
    pub(crate) fn end(self, result: Result) {
        let errno = result.err().map_or(0, Error::to_errno);

        // SAFETY: The buffer is this task's by the type invariant.
        unsafe { bindings::rust_vfs_audit_result(self.0.as_ptr(), errno) };
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the buffer is this value's to end.
        unsafe { bindings::rust_vfs_audit_end(self.0.as_ptr()) };
    }
}
