// SPDX-License-Identifier: GPL-2.0-only

//! What the administrator of the system asks of all images, by the parameter `require_signatures`.

use crate::{
    parameters,
    superblock::Super,
    vfs::{
        context::{errorf, Log},
        error::EKEYREJECTED,
        log::pr_err_ratelimited,
    },
};
use kernel::prelude::*;

/// Whether only signed images may be used. Once it is true it stays so.
#[inline]
pub(crate) fn requires_signatures() -> bool {
    parameters::require_signatures.is_on()
}

/// Checks that the image `source`, which is not signed, may be mounted.
///
/// # Errors
///
/// [`EKEYREJECTED`], described in `log`.
pub(crate) fn check_may_mount_unsigned(source: &CStr, log: &Log<'_>) -> Result {
    if !requires_signatures() {
        return Ok(());
    }
    errorf!(
        log,
        "{source}: image has no signature=, and require_signatures is set"
    );
    Err(EKEYREJECTED)
}

/// Checks that a mounted image may still be used where only signed ones may: it may have been mounted
/// before.
///
/// # Errors
///
/// [`EKEYREJECTED`], described in the kernel log.
#[inline(never)] // Hardly ever called.
pub(crate) fn check_may_use(sb: &Super) -> Result {
    if sb.is_signed {
        return Ok(());
    }
    let source = &*sb.source;
    pr_err_ratelimited!(
        sb.messages,
        "{source}: image is not signed, and require_signatures is set now\n"
    );
    Err(EKEYREJECTED)
}
