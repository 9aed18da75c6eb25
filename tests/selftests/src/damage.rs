// SPDX-License-Identifier: GPL-2.0-only
//! Images with something wrong in them: fields of their structures changed to values that are
//! wrong in a telling way, and bytes, blocks and sizes changed without regard to what they mean.

use anyhow::{bail, Result};
use composefs_format::{Error, FileType, Image, Node, Source, BLOCK_SIZE};

use crate::random::Random;

const BLOCK: usize = BLOCK_SIZE as usize;

/// A number in an image: where it is, and how many bytes it has.
#[derive(Clone, Copy, Debug)]
struct Field {
    at: usize,
    width: usize,
}

/// Makes damaged images out of a sound one.
pub struct Damager {
    image: Vec<u8>,
    /// Of superblocks, inodes, directory entries and extended attributes: a list for each, so that
    /// the many do not crowd out the few.
    fields: [Vec<Field>; 4],
}

impl Damager {
    pub fn new(image: Vec<u8>) -> Result<Self> {
        let mut fields = [superblock(), Vec::new(), Vec::new(), Vec::new()];
        let parsed = Image::open(Bytes(&image))?;
        let mut nids = vec![parsed.root()];
        let mut next = 0;
        while let Some(&nid) = nids.get(next) {
            next += 1;
            let inode = parsed.inode(nid)?;
            fields[1].extend(inode_fields(&image, nid));
            fields[3].extend(xattr_fields(&image, nid));
            if inode.node.file_type() == FileType::Directory {
                fields[2].extend(entry_fields(&image, &inode.node));
                for entry in entries(&parsed, &inode.node)? {
                    if !nids.contains(&entry) {
                        nids.push(entry);
                    }
                }
            }
        }
        if fields.iter().any(Vec::is_empty) {
            bail!("the image has nothing of some kind to damage");
        }
        Ok(Self { image, fields })
    }

    /// The damaged image with this number: the same for the same number.
    pub fn image(&self, number: u64) -> Vec<u8> {
        let random = &mut Random::new(number);
        let mut image = self.image.clone();
        for _ in 0..=random.below(3) {
            match random.below(16) {
                0..=10 => self.change_field(&mut image, random),
                11..=13 => change_byte(&mut image, random),
                14 => copy_block(&mut image, random),
                _ => change_size(&mut image, random),
            }
        }
        image
    }

    fn change_field(&self, image: &mut [u8], random: &mut Random) {
        // Superblocks are few, and most changes of them leave nothing to be seen.
        let list = match random.below(16) {
            0 => &self.fields[0],
            1..=6 => &self.fields[1],
            7..=11 => &self.fields[2],
            _ => &self.fields[3],
        };
        let field = list[random.below(list.len() as u64) as usize];
        let other = list[random.below(list.len() as u64) as usize];
        let (Some(old), Some(other)) = (read(image, field), read(image, other)) else {
            return;
        };
        let bits = field.width as u64 * 8;
        let new = match random.below(10) {
            0 => 0,
            1 => u64::MAX,
            2 => old.wrapping_add(1),
            3 => old.wrapping_sub(1),
            4 => old ^ (1 << random.below(bits)),
            5 => 1 << random.below(bits),
            6 => (1 << random.below(bits)) - 1,
            7 => old.wrapping_mul(2),
            8 => random.number(),
            _ => other,
        };
        write(image, field, new);
    }
}

fn change_byte(image: &mut [u8], random: &mut Random) {
    let mask = random.nonzero_byte();
    let at = random.below(image.len().max(1) as u64) as usize;
    if let Some(byte) = image.get_mut(at) {
        *byte ^= mask;
    }
}

fn copy_block(image: &mut [u8], random: &mut Random) {
    let blocks = (image.len() / BLOCK).max(1) as u64;
    let (from, to) = (random.below(blocks) as usize, random.below(blocks) as usize);
    if image.len() >= BLOCK {
        image.copy_within(from * BLOCK..(from + 1) * BLOCK, to * BLOCK);
    }
}

fn change_size(image: &mut Vec<u8>, random: &mut Random) {
    let size = match random.below(3) {
        0 => random.below(image.len() as u64 + 1) as usize,
        1 => image.len() / BLOCK * BLOCK - BLOCK.min(image.len()),
        _ => image.len() + random.below(3 * BLOCK_SIZE) as usize,
    };
    image.resize(size, 0xff);
}

fn read(image: &[u8], field: Field) -> Option<u64> {
    let bytes = image.get(field.at..field.at + field.width)?;
    let number = bytes.iter().rev();
    Some(number.fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn write(image: &mut [u8], field: Field, number: u64) {
    if let Some(bytes) = image.get_mut(field.at..field.at + field.width) {
        bytes.copy_from_slice(&number.to_le_bytes()[..field.width]);
    }
}

/// Fields one after another from `at` on, by their widths.
fn layout(at: usize, widths: &[usize]) -> Vec<Field> {
    let mut at = at;
    let mut fields = Vec::new();
    for &width in widths {
        fields.push(Field { at, width });
        at += width;
    }
    fields
}

/// The header of composefs, and `struct erofs_super_block` but for its UUID and name.
fn superblock() -> Vec<Field> {
    let mut fields = layout(0, &[4, 4, 4, 4]);
    fields.extend(layout(1024, &[4, 4, 4, 1, 1, 2, 8, 8, 4, 4, 4, 4]));
    fields.extend(layout(1024 + 80, &[4, 2, 2, 2, 1, 1, 4, 8, 1, 1]));
    fields
}

fn inode_at(nid: u64) -> usize {
    nid as usize * 32
}

fn number(image: &[u8], at: usize, width: usize) -> u64 {
    read(image, Field { at, width }).unwrap_or(0)
}

fn is_extended(image: &[u8], nid: u64) -> bool {
    number(image, inode_at(nid), 2) & 1 != 0
}

/// `struct erofs_inode_compact` or `struct erofs_inode_extended`.
fn inode_fields(image: &[u8], nid: u64) -> Vec<Field> {
    let widths: &[usize] = if is_extended(image, nid) {
        &[2, 2, 2, 2, 8, 4, 4, 4, 4, 8, 4, 4]
    } else {
        &[2, 2, 2, 2, 4, 4, 4, 4, 2, 2, 4]
    };
    layout(inode_at(nid), widths)
}

/// Where the attributes of an inode begin, and where they end.
fn xattr_area(image: &[u8], nid: u64) -> (usize, usize) {
    let start = inode_at(nid) + if is_extended(image, nid) { 64 } else { 32 };
    match number(image, inode_at(nid) + 2, 2) as usize {
        0 => (start, start),
        count => (start, start + 12 + 4 * (count - 1)),
    }
}

/// `struct erofs_xattr_ibody_header`, the numbers of shared attributes, those attributes, and the
/// ones in place: `struct erofs_xattr_entry` and the first bytes behind it.
fn xattr_fields(image: &[u8], nid: u64) -> Vec<Field> {
    const ENTRY: [usize; 5] = [1, 1, 2, 4, 4];

    let (start, end) = xattr_area(image, nid);
    if start == end {
        return Vec::new();
    }
    let shared = number(image, start + 4, 1) as usize;
    let mut fields = layout(start, &[4, 1]);
    fields.extend(layout(start + 12, &vec![4; shared]));

    let area = number(image, 1024 + 44, 4) as usize * BLOCK;
    for index in 0..shared {
        let at = area + number(image, start + 12 + 4 * index, 4) as usize * 4;
        fields.extend(layout(at, &ENTRY));
    }
    let mut at = start + 12 + 4 * shared;
    while at + 4 <= end {
        fields.extend(layout(at, &ENTRY));
        let len = number(image, at, 1) as usize + number(image, at + 2, 2) as usize;
        at += (4 + len).next_multiple_of(4);
    }
    fields
}

/// `struct erofs_dirent` of all blocks of a directory, and the first bytes of their names.
fn entry_fields(image: &[u8], dir: &Node) -> Vec<Field> {
    let at = inode_at(dir.nid());
    let is_inline = number(image, at, 2) >> 1 & 7 == 2;
    let data = number(image, at + 16, 4) as usize * BLOCK;
    let size = dir.size() as usize;

    let mut fields = Vec::new();
    for start in (0..size).step_by(BLOCK) {
        let block = if is_inline && size - start < BLOCK {
            xattr_area(image, dir.nid()).1
        } else {
            data + start
        };
        let count = number(image, block + 8, 2) as usize / 12;
        for index in 0..count {
            fields.extend(layout(block + 12 * index, &[8, 2, 1, 1]));
        }
        fields.extend(layout(block + 12 * count, &[1; 8]));
    }
    fields
}

fn entries(image: &Image<Bytes<'_>>, dir: &Node) -> Result<Vec<u64>> {
    let mut nids = Vec::new();
    image.read_dir(dir, 0, &mut |entry| {
        nids.push(entry.nid);
        true
    })?;
    Ok(nids)
}

/// An image in memory.
struct Bytes<'a>(&'a [u8]);

impl Source for Bytes<'_> {
    type Error = Error;
    type Block<'a>
        = &'a [u8]
    where
        Self: 'a;

    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn block(&self, index: u64) -> Result<&[u8], Error> {
        let start = (index * BLOCK_SIZE) as usize;
        let end = (start + BLOCK).min(self.0.len());
        self.0
            .get(start..end)
            .ok_or(Error::Corrupt("block is past the end"))
    }
}
