// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Makes images that no writer makes: places and contents are as told.

use composefs_format::{Image, Node, XattrIndex};

use crate::support::{open, Memory};

const BLOCK: usize = 4096;
/// Number of the root's inode, the first after the superblock.
pub const ROOT: u64 = 36;

pub const PLAIN: u16 = 0;
pub const INLINE: u16 = 4;
pub const CHUNKS: u16 = 8;
pub const EXTENDED: u16 = 1;

/// An inode to be. Compact unless `format` says otherwise.
#[derive(Clone)]
pub struct New {
    pub format: u16,
    pub mode: u16,
    pub size: u64,
    pub address: u32,
    /// The attribute area, a multiple of 4 bytes.
    pub xattrs: Vec<u8>,
    /// What follows the attributes.
    pub tail: Vec<u8>,
}

impl New {
    pub fn file(format: u16, size: u64) -> Self {
        Self {
            format,
            mode: 0o100_644,
            size,
            address: 0,
            xattrs: Vec::new(),
            tail: Vec::new(),
        }
    }
}

/// An image being made.
pub struct Builder {
    pub bytes: Vec<u8>,
}

impl Builder {
    /// Header, superblock and the slot of the root.
    pub fn new() -> Self {
        let mut builder = Self {
            bytes: vec![0; (ROOT as usize + 1) * 32],
        };
        builder.put(0, &0xd078_629a_u32.to_le_bytes());
        builder.put(4, &1_u32.to_le_bytes());
        builder.put(1024, &0xe0f5_e1e2_u32.to_le_bytes());
        builder.put(1024 + 8, &6_u32.to_le_bytes());
        builder.put(1024 + 12, &[12]);
        builder.put(1024 + 14, &(ROOT as u16).to_le_bytes());
        builder
    }

    pub fn put(&mut self, pos: usize, bytes: &[u8]) {
        self.bytes[pos..pos + bytes.len()].copy_from_slice(bytes);
    }

    /// Goes on at the next multiple of `size`.
    pub fn align(&mut self, size: usize) -> usize {
        let len = self.bytes.len().next_multiple_of(size);
        self.bytes.resize(len, 0);
        len
    }

    /// Adds whole blocks, and returns the number of the first.
    pub fn blocks(&mut self, bytes: &[u8]) -> u32 {
        let start = self.align(BLOCK);
        self.bytes.extend_from_slice(bytes);
        self.align(BLOCK);
        (start / BLOCK) as u32
    }

    /// Adds an inode at the next slot whose offset in its block is `offset`, and returns its number.
    pub fn inode_at(&mut self, offset: usize, new: &New) -> u64 {
        while self.align(32) % BLOCK != offset {
            self.bytes.push(0);
        }
        self.inode(new)
    }

    /// Adds an inode at the next slot, and returns its number.
    pub fn inode(&mut self, new: &New) -> u64 {
        let pos = self.align(32);
        let count = match new.xattrs.len() {
            0 => 0,
            len => (len - 12) / 4 + 1,
        };
        let mut bytes = Vec::new();
        for half in [new.format, count as u16, new.mode] {
            bytes.extend_from_slice(&half.to_le_bytes());
        }
        if new.format & EXTENDED == 0 {
            bytes.extend_from_slice(&1_u16.to_le_bytes());
            bytes.extend_from_slice(&(new.size as u32).to_le_bytes());
            bytes.extend_from_slice(&0_u32.to_le_bytes());
            bytes.extend_from_slice(&new.address.to_le_bytes());
            bytes.resize(32, 0);
        } else {
            bytes.extend_from_slice(&0_u16.to_le_bytes());
            bytes.extend_from_slice(&new.size.to_le_bytes());
            bytes.extend_from_slice(&new.address.to_le_bytes());
            bytes.resize(44, 0);
            bytes.extend_from_slice(&1_u32.to_le_bytes());
            bytes.resize(64, 0);
        }
        bytes.extend_from_slice(&new.xattrs);
        bytes.extend_from_slice(&new.tail);
        self.bytes.extend_from_slice(&bytes);
        (pos / 32) as u64
    }

    /// Makes a root of these directory blocks, if any, and the image.
    pub fn finish(mut self, root: &[Vec<u8>]) -> Vec<u8> {
        let size: usize = match root {
            [] => 0,
            [full @ .., last] => full.len() * BLOCK + last.len(),
        };
        let mut address = 0;
        for (index, block) in root.iter().enumerate() {
            let at = self.blocks(block);
            if index == 0 {
                address = at;
            }
        }
        self.align(BLOCK);
        let root = ROOT as usize * 32;
        self.put(root + 4, &0o040_755_u16.to_le_bytes());
        self.put(root + 6, &2_u16.to_le_bytes());
        self.put(root + 8, &(size as u32).to_le_bytes());
        self.put(root + 16, &address.to_le_bytes());
        let blocks = (self.bytes.len() / BLOCK) as u32;
        self.put(1024 + 36, &blocks.to_le_bytes());
        self.bytes
    }

    /// An image with this inode and an empty root.
    pub fn single(new: &New) -> (Image<Memory>, Node) {
        let mut builder = Self::new();
        let nid = builder.inode(new);
        let image = open(builder.finish(&[])).unwrap();
        let node = image.inode(nid).unwrap().node;
        (image, node)
    }
}

/// A directory block of these entries: name, inode and on-disk type.
pub fn dirents(entries: &[(&[u8], u64, u8)]) -> Vec<u8> {
    let mut block = Vec::new();
    let mut name = entries.len() * 12;
    for (text, nid, file_type) in entries {
        block.extend_from_slice(&nid.to_le_bytes());
        block.extend_from_slice(&(name as u16).to_le_bytes());
        block.extend_from_slice(&[*file_type, 0]);
        name += text.len();
    }
    for (text, _, _) in entries {
        block.extend_from_slice(text);
    }
    block
}

/// An attribute as stored.
pub fn xattr(index: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut entry = vec![name.len() as u8, index];
    entry.extend_from_slice(&(value.len() as u16).to_le_bytes());
    entry.extend_from_slice(name);
    entry.extend_from_slice(value);
    entry.resize(entry.len().next_multiple_of(4), 0);
    entry
}

/// The attribute area of an inode: numbers of shared attributes and its own ones, with a filter that lacks nothing.
pub fn xattr_area(shared: &[u32], own: &[Vec<u8>]) -> Vec<u8> {
    let mut area = vec![0; 12];
    area[4] = shared.len() as u8;
    for id in shared {
        area.extend_from_slice(&id.to_le_bytes());
    }
    area.extend(own.concat());
    area
}

/// The attributes of an external file: digest and path of an object.
pub fn external(metacopy: &[u8], redirect: &[u8]) -> Vec<u8> {
    let trusted = XattrIndex::Trusted as u8;
    let own = [
        xattr(trusted, b"overlay.metacopy", metacopy),
        xattr(trusted, b"overlay.redirect", redirect),
    ];
    xattr_area(&[], &own)
}
