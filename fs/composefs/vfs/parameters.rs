// SPDX-License-Identifier: GPL-2.0-only

//! Parameters of the module, which `parameters.c` declares: `module!` has none that are boolean, or
//! that can be changed.

use super::bindings;

/// Whether only signed file systems may be used. Once it is true it stays so.
#[inline]
pub(crate) fn require_signatures() -> bool {
    // SAFETY: The variable is a C `bool`, which is only ever written to as a whole, and to which
    // there are no Rust references.
    unsafe { (&raw const bindings::rust_vfs_require_signatures).read_volatile() }
}

/// Whether the kernel's own certificates vouch for signatures too. It does not change.
pub(crate) fn trust_system_keys() -> bool {
    // SAFETY: The function has no preconditions.
    unsafe { bindings::rust_vfs_trust_system_keys() }
}

/// Whether only signatures made for images count, and not those of files. It does not change.
pub(crate) fn image_signatures_only() -> bool {
    // SAFETY: The function has no preconditions.
    unsafe { bindings::rust_vfs_image_signatures_only() }
}
