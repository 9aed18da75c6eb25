// SPDX-License-Identifier: GPL-2.0-only
//! Where the fields of an image are, for mutations that get beyond its header.
//!
//! A reading of its own that takes nothing for granted and checks nothing: what a damaged image leads to is as good a
//! place to change as any.

use std::collections::VecDeque;

/// What a field is, which says what values are worth trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bits, types, versions: any value.
    Plain,
    /// Number of an inode.
    Inode,
    /// Number of a block.
    Block,
    /// Offset in a block.
    Offset,
    /// Size or count.
    Size,
    /// Bytes of a name or value.
    Text,
}

/// A field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Its first byte.
    pub at: usize,
    /// How many bytes it has.
    pub len: usize,
    /// What it is.
    pub kind: Kind,
}

/// Inodes that are looked at, and entries or attributes of each: enough for variety, and quick.
const INODES_MAX: usize = 48;
const PARTS_MAX: usize = 24;

/// The little-endian number of `len` bytes at `at`; 0 beyond the end.
pub(crate) fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    let field = at.checked_add(len).and_then(|end| bytes.get(at..end));
    let field = field.unwrap_or_default();
    field
        .iter()
        .rev()
        .fold(0, |n, &byte| n << 8 | u64::from(byte))
}

/// Finds fields.
struct Finder<'a> {
    bytes: &'a [u8],
    fields: Vec<Field>,
    queue: VecDeque<u64>,
}

/// Fields of header, superblock, and of some of the inodes, entries and attributes.
pub(crate) fn fields(bytes: &[u8]) -> Vec<Field> {
    use Kind::{Block, Inode, Plain, Size};

    let mut finder = Finder {
        bytes,
        fields: Vec::new(),
        queue: VecDeque::new(),
    };
    for at in [0, 4, 8, 12] {
        finder.add(at, 4, Plain);
    }
    for (at, len, kind) in [
        (0, 4, Plain),
        (8, 4, Plain),
        (12, 1, Plain),
        (13, 1, Plain),
        (14, 2, Inode),
        (16, 8, Size),
        (24, 8, Plain),
        (32, 4, Plain),
        (36, 4, Block),
        (40, 4, Block),
        (44, 4, Block),
        (48, 8, Plain),
        (80, 4, Plain),
        (84, 2, Plain),
        (86, 2, Plain),
        (90, 1, Plain),
        (91, 1, Plain),
        (96, 8, Inode),
        (104, 1, Plain),
    ] {
        finder.add(1024 + at, len, kind);
    }
    finder.queue.push_back(number(bytes, 1024 + 14, 2));
    let mut seen = Vec::new();
    while let Some(nid) = finder.queue.pop_front() {
        if seen.len() < INODES_MAX && !seen.contains(&nid) {
            seen.push(nid);
            finder.inode(nid);
        }
    }
    finder.fields
}

impl Finder<'_> {
    fn add(&mut self, at: usize, len: usize, kind: Kind) {
        let end = at.checked_add(len);
        if len != 0 && end.is_some_and(|end| end <= self.bytes.len()) {
            self.fields.push(Field { at, len, kind });
        }
    }

    fn inode(&mut self, nid: u64) {
        use Kind::{Block, Plain, Size};

        let Some(pos) = nid
            .checked_mul(32)
            .and_then(|pos| usize::try_from(pos).ok())
        else {
            return;
        };
        if pos >= self.bytes.len() {
            return;
        }
        let format = number(self.bytes, pos, 2);
        let extended = format & 1 != 0;
        self.add(pos, 2, Plain);
        self.add(pos + 2, 2, Size);
        self.add(pos + 4, 2, Plain);
        self.add(pos + 6, 2, Plain);
        self.add(pos + 8, if extended { 8 } else { 4 }, Size);
        self.add(pos + 16, 4, Block);
        let (size, head) = if extended {
            self.add(pos + 32, 8, Plain);
            self.add(pos + 40, 4, Plain);
            self.add(pos + 44, 4, Plain);
            (number(self.bytes, pos + 8, 8), 64)
        } else {
            self.add(pos + 12, 4, Plain);
            (number(self.bytes, pos + 8, 4), 32)
        };
        let count = number(self.bytes, pos + 2, 2) as usize;
        let area = pos + head;
        let end = if count == 0 {
            area
        } else {
            area + 8 + 4 * count
        };
        if count != 0 {
            self.attributes(area, end);
        }
        let tail = (size % 4096) as usize;
        let address = number(self.bytes, pos + 16, 4) as usize;
        if number(self.bytes, pos + 4, 2) & 0o170_000 == 0o040_000 {
            if format & 0xe == 4 {
                self.directory(end, tail);
            }
            if size >= 4096 || format & 0xe == 0 {
                self.directory(address.saturating_mul(4096), (size as usize).min(4096));
            }
        } else {
            self.add(end, tail.min(64), Kind::Text);
            self.add(end, 4, Block);
        }
    }

    fn directory(&mut self, start: usize, len: usize) {
        let count = number(self.bytes, start.saturating_add(8), 2) as usize / 12;
        for index in 0..count.min(PARTS_MAX) {
            let at = start + 12 * index;
            let name = number(self.bytes, at + 8, 2) as usize;
            let next = number(self.bytes, at + 20, 2) as usize;
            let end = if index + 1 < count { next } else { len };
            self.add(at, 8, Kind::Inode);
            self.add(at + 8, 2, Kind::Offset);
            self.add(at + 10, 1, Kind::Plain);
            self.add(start + name, end.saturating_sub(name).min(256), Kind::Text);
            self.queue.push_back(number(self.bytes, at, 8));
        }
    }

    fn attributes(&mut self, area: usize, end: usize) {
        use Kind::{Inode, Plain, Size};

        self.add(area, 4, Plain);
        self.add(area + 4, 1, Size);
        let shared = number(self.bytes, area + 4, 1) as usize;
        let base = number(self.bytes, 1024 + 44, 4) as usize * 4096;
        for index in 0..shared.min(PARTS_MAX) {
            let at = area + 12 + 4 * index;
            self.add(at, 4, Inode);
            self.attribute(base + 4 * number(self.bytes, at, 4) as usize);
        }
        let mut at = area + 12 + 4 * shared;
        for _ in 0..PARTS_MAX {
            if at >= end.min(self.bytes.len()) {
                break;
            }
            at = self.attribute(at);
        }
    }

    /// Returns where the next one is.
    fn attribute(&mut self, at: usize) -> usize {
        let name = number(self.bytes, at, 1) as usize;
        let value = number(self.bytes, at + 2, 2) as usize;
        self.add(at, 1, Kind::Size);
        self.add(at + 1, 1, Kind::Plain);
        self.add(at + 2, 2, Kind::Size);
        self.add(at + 4, name, Kind::Text);
        self.add(at + 4 + name, value.min(80), Kind::Text);
        (at + 4 + name + value).next_multiple_of(4)
    }
}
