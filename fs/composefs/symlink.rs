// SPDX-License-Identifier: GPL-2.0-only

//! Symbolic links, whose targets are in the image.

use crate::{
    inode::node,
    vfs::{inode::Inode, symlink::Operations},
    Composefs,
};
use kernel::prelude::*;

impl Operations for Composefs {
    fn read_link(inode: &Inode<Self>, target: &mut [u8]) -> Result {
        let sb = inode.super_block().data();
        let len = target.len();

        match sb.image.read_data(&node(inode), 0, target) {
            Ok(read) if read == len => Ok(()),
            Ok(_) => Err(sb.corrupt(inode.number(), "symlink target is cut off")),
            Err(error) => Err(sb.report(inode.number(), error)),
        }
    }
}
