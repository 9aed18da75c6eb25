// SPDX-License-Identifier: GPL-2.0-only

//! Devices, FIFOs and sockets.

use super::{bindings, inode::Kind, inode_operations, inode_operations::Operations};
use core::marker::PhantomData;

impl<T: Operations> Kind<T> {
    /// A device, FIFO or socket; `None` if `file_type`, the `S_IFMT` part of a mode, is of
    /// something else.
    pub(crate) fn special(file_type: u16, rdev: u32) -> Option<Self> {
        let file_type = u32::from(file_type) & bindings::S_IFMT;

        matches!(
            file_type,
            bindings::S_IFCHR | bindings::S_IFBLK | bindings::S_IFIFO | bindings::S_IFSOCK
        )
        .then_some(Self {
            file_type,
            inode_operations: &Tables::<T>::INODE,
            file_operations: None,
            mapping_operations: None,
            rdev,
            _filesystem: PhantomData,
        })
    }
}

/// The C entry points of devices, FIFOs and sockets of file system type `T`; their file operations
/// are those of what they stand for.
struct Tables<T>(PhantomData<T>);

impl<T: Operations> Tables<T> {
    const INODE: bindings::inode_operations = inode_operations::common::<T>();
}
