// SPDX-License-Identifier: GPL-2.0-only
//! Directory data: blocks of entry headers followed by their names.

use anyhow::Result;

use crate::image::layout::Layout;
use crate::image::order::{Entry, Order};
use crate::image::sink::Sink;
use crate::image::{file_type_number, BLOCK_SIZE, TAIL_MAX};
use crate::tree::{NodeId, Tree};

/// Size of an entry header.
const HEADER_SIZE: u64 = 12;

/// How much data a directory has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    /// Whole blocks.
    pub blocks: u32,
    /// Bytes behind the inode.
    pub tail: u64,
    /// Number of subdirectories.
    pub subdirs: u32,
}

fn entry_size(entry: &Entry) -> u64 {
    HEADER_SIZE + entry.name.len() as u64
}

/// Measures a directory.
pub(super) fn extent(tree: &Tree, order: &Order, dir: NodeId) -> Extent {
    let mut extent = Extent::default();
    for entry in order.entries(tree, dir) {
        let size = entry_size(&entry);
        if extent.tail + size > BLOCK_SIZE {
            extent.blocks += 1;
            extent.tail = 0;
        }
        extent.tail += size;
        extent.subdirs += u32::from(entry.is_subdir);
    }
    if extent.tail > TAIL_MAX {
        extent.blocks += 1;
        extent.tail = 0;
    }
    extent
}

/// Which part of a directory to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Blocks,
    Tail,
}

/// Writes the data of a directory that has `blocks` whole blocks.
pub(super) fn write(
    tree: &Tree,
    order: &Order,
    layout: &Layout,
    dir: NodeId,
    blocks: u32,
    part: Part,
    sink: &mut Sink,
) -> Result<()> {
    let mut pending: Vec<Entry> = Vec::new();
    let mut size = 0;
    let mut done = 0;
    for entry in order.entries(tree, dir) {
        if size + entry_size(&entry) > BLOCK_SIZE {
            if part == Part::Blocks {
                write_block(tree, layout, &pending, sink)?;
                sink.align(BLOCK_SIZE)?;
            }
            done += 1;
            size = 0;
            pending.clear();
        }
        size += entry_size(&entry);
        pending.push(entry);
    }
    match part {
        Part::Blocks if done < blocks => {
            write_block(tree, layout, &pending, sink)?;
            sink.align(BLOCK_SIZE)
        }
        Part::Tail if done == blocks => write_block(tree, layout, &pending, sink),
        _ => Ok(()),
    }
}

fn write_block(tree: &Tree, layout: &Layout, entries: &[Entry], sink: &mut Sink) -> Result<()> {
    let mut name_offset = HEADER_SIZE * entries.len() as u64;
    for entry in entries {
        let mut header = [0; HEADER_SIZE as usize];
        header[..8].copy_from_slice(&layout.nid(entry.target).to_le_bytes());
        header[8..10].copy_from_slice(&(name_offset as u16).to_le_bytes());
        header[10] = file_type_number(tree.node(entry.target).meta.mode);
        sink.write(&header)?;
        name_offset += entry.name.len() as u64;
    }
    for entry in entries {
        sink.write(entry.name)?;
    }
    Ok(())
}
