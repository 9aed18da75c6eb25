// SPDX-License-Identifier: GPL-2.0-only

//! Directories. A position in one is that of the entry in the image, so it stays good when caches
//! are dropped and when the image is mounted again.

use crate::{
    inode::node,
    vfs::{
        directory::{Emitter, Operations},
        inode::Inode,
    },
    Composefs,
};
use kernel::prelude::*;

impl Operations for Composefs {
    fn lookup(dir: &Inode<Self>, name: &[u8]) -> Result<Option<u64>> {
        let sb = dir.super_block().data();

        let entry = sb.image.lookup(&node(dir), name);
        let entry = entry.map_err(|error| sb.report(dir.number(), error))?;
        Ok(entry.map(|entry| entry.nid))
    }

    fn read_dir(dir: &Inode<Self>, emitter: &mut Emitter<'_>) -> Result {
        let sb = dir.super_block().data();

        let next = sb
            .image
            .read_dir(&node(dir), emitter.position(), &mut |entry| {
                emitter.emit(entry.pos, entry.name, entry.nid, entry.file_type.dt())
            })
            .map_err(|error| sb.report(dir.number(), error))?;

        emitter.set_position(next);
        Ok(())
    }
}
