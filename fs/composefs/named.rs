// SPDX-License-Identifier: GPL-2.0-only

//! What file handles may lead to, once that was found out: see `export.rs`.

use crate::{
    format::NidSet,
    vfs::{buffer::Buffer, once::Once},
};

/// The numbers of all inodes that have a name.
pub(crate) type Named = Once<NidSet<Buffer>>;
