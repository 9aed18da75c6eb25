// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Inodes: what is refused, and where the limits are.

use composefs_format::{Error, FileType, Image, Inode, Time};

use crate::builder::{Builder, New, CHUNKS, EXTENDED, INLINE, PLAIN};
use crate::support::{content, find, image, open, Memory};

const OUTSIDE: Error = Error::Corrupt("data blocks lie outside the image");
const SPECIAL: Error = Error::Corrupt("device, pipe or socket with content");
const LAYOUT: Error = Error::Unsupported("compressed or unknown data layout");
const SYMLINK: Error = Error::Corrupt("symlink target is empty or too long");

/// Reads an inode after two blocks of data and before the end of the image.
fn read(new: &New, change: impl Fn(&mut [u8])) -> Result<Inode, Error> {
    let mut builder = Builder::new();
    assert_eq!(builder.blocks(&[b'd'; 8192]), 1);
    let nid = builder.inode(new);
    change(&mut builder.bytes[nid as usize * 32..]);
    open(builder.finish(&[])).unwrap().inode(nid)
}

fn with(format: u16, mode: u16, size: u64, address: u32) -> New {
    New {
        mode,
        address,
        ..New::file(format, size)
    }
}

#[test]
fn layouts_must_fit_the_type() {
    const REGULAR: u16 = 0o100_644;
    const DIRECTORY: u16 = 0o040_755;
    const LINK: u16 = 0o120_777;
    let none = Error::Corrupt("external content of no regular file");
    let kind = Error::Corrupt("inode of no known file type");
    let range = Error::Corrupt("size of an external file is out of range");
    let cases: &[(u16, u16, u64, u32, Option<Error>)] = &[
        (PLAIN, REGULAR, 0, 0, None),
        (PLAIN, REGULAR, 1, 0, Some(OUTSIDE)),
        (PLAIN, REGULAR, 8192, 1, None),
        (PLAIN, REGULAR, 12_288, 1, None),
        (PLAIN, REGULAR, 12_289, 1, Some(OUTSIDE)),
        (PLAIN, REGULAR, 4096, 4, Some(OUTSIDE)),
        (PLAIN, REGULAR, 1, u32::MAX, Some(OUTSIDE)),
        (PLAIN | EXTENDED, REGULAR, u64::MAX, 1, Some(OUTSIDE)),
        (PLAIN | EXTENDED, REGULAR, 1 << 63, 1, Some(OUTSIDE)),
        (INLINE, REGULAR, 0, 0, None),
        (INLINE, REGULAR, 4096 - 32, 0, None),
        (
            INLINE,
            REGULAR,
            4096 - 31,
            0,
            Some(Error::Corrupt("inline data straddles two blocks")),
        ),
        (INLINE, REGULAR, 4097, 0, Some(OUTSIDE)),
        (INLINE, REGULAR, 8193, 1, None),
        (INLINE, REGULAR, 12_289, 1, None),
        (INLINE, REGULAR, 16_385, 1, Some(OUTSIDE)),
        (INLINE | EXTENDED, REGULAR, (1 << 63) + 1, 1, Some(OUTSIDE)),
        (CHUNKS, REGULAR, 1, 0, None),
        (CHUNKS, REGULAR, 1, 31, None),
        (CHUNKS, REGULAR, 1, 0x0001_001f, None),
        (CHUNKS, REGULAR, 0, 0, Some(range)),
        (CHUNKS | EXTENDED, REGULAR, (1 << 63) - 1, 31, None),
        (CHUNKS | EXTENDED, REGULAR, 1 << 63, 31, Some(range)),
        (
            CHUNKS,
            REGULAR,
            1,
            32,
            Some(Error::Unsupported("chunk format with indexes")),
        ),
        (
            CHUNKS,
            REGULAR,
            1,
            64,
            Some(Error::Unsupported("chunk format with indexes")),
        ),
        (CHUNKS, DIRECTORY, 1, 0, Some(none)),
        (CHUNKS, LINK, 1, 0, Some(none)),
        (2, REGULAR, 1, 0, Some(LAYOUT)),
        (6, REGULAR, 1, 0, Some(LAYOUT)),
        (10, REGULAR, 1, 0, Some(LAYOUT)),
        (14, DIRECTORY, 1, 0, Some(LAYOUT)),
        (
            16,
            REGULAR,
            0,
            0,
            Some(Error::Unsupported("unknown inode format")),
        ),
        (
            0x8000,
            REGULAR,
            0,
            0,
            Some(Error::Unsupported("unknown inode format")),
        ),
        (PLAIN, DIRECTORY, 0, 0, None),
        (PLAIN, DIRECTORY, 4096, 1, None),
        (PLAIN, DIRECTORY, 4096, 0, Some(OUTSIDE)),
        (PLAIN, LINK, 0, 0, Some(SYMLINK)),
        (INLINE, LINK, 0, 0, Some(SYMLINK)),
        (INLINE, LINK, 1, 0, None),
        (PLAIN, LINK, 4095, 1, None),
        (PLAIN, LINK, 4096, 1, Some(SYMLINK)),
        (PLAIN, 0o010_644, 0, 0, None),
        (PLAIN, 0o010_644, 1, 0, Some(SPECIAL)),
        (INLINE, 0o010_644, 0, 0, Some(SPECIAL)),
        (CHUNKS, 0o020_644, 0, 0, Some(SPECIAL)),
        (2, 0o060_644, 0, 0, Some(SPECIAL)),
        (PLAIN, 0o140_644, 0, 0, None),
        (PLAIN, 0o000_644, 0, 0, Some(kind)),
        (PLAIN, 0o030_644, 0, 0, Some(kind)),
        (PLAIN, 0o170_644, 0, 0, Some(kind)),
    ];
    for (format, mode, size, address, error) in cases {
        let result = read(&with(*format, *mode, *size, *address), |_| ());
        assert_eq!(result.err(), *error, "{format} {mode:o} {size} {address}");
    }
}

#[test]
fn fields_are_checked() {
    let new = New::file(PLAIN | EXTENDED, 0);
    let result = read(&new, |inode| inode[6] = 1);
    let high = Error::Unsupported("inode with a 48-bit block address");
    assert_eq!(result, Err(high));

    let time = |nsec: u32| {
        read(&new, |inode| {
            inode[40..44].copy_from_slice(&nsec.to_le_bytes())
        })
    };
    // Not checked: the writers store what a dump says, and EROFS shows it.
    for nsec in [0, 999_999_999, 1_000_000_000, u32::MAX] {
        assert_eq!(time(nsec).unwrap().mtime.nsec, nsec);
    }

    let count = |count: u16| {
        read(&new, |inode| {
            inode[2..4].copy_from_slice(&count.to_le_bytes())
        })
    };
    let empty = Error::Corrupt("inode has an attribute area but no attributes");
    assert_eq!(count(1), Err(empty));
    for (number, has_some) in [(0, false), (2, true)] {
        let node = count(number).unwrap().node;
        assert_eq!(node.has_xattrs(), has_some);
        assert_eq!(node.compact().has_xattrs(), has_some);
    }
    // From byte 64 of the last block on there is room for 12 + 4 * 1005 bytes.
    assert!(count(1006).is_ok());
    let past = Error::Corrupt("inode reaches past the end of the image");
    assert_eq!(count(1007), Err(past));
    assert_eq!(count(u16::MAX), Err(past));
}

#[test]
fn numbers_of_other_places_are_refused() {
    let image = image("c-v0.img");
    let before = Error::Corrupt("inode number of a place before the inodes");
    let past = Error::Corrupt("reference to a place past the end of the image");
    let end = image.source().bytes.len() as u64 / 32;
    for nid in 0..36 {
        assert_eq!(image.inode(nid), Err(before));
    }
    for nid in [end, end + 1, 1 << 32, 1 << 59, 1 << 63, u64::MAX] {
        assert_eq!(image.inode(nid), Err(past));
    }
    assert!(image.inode(36).is_ok());
}

#[test]
fn the_last_slot_may_hold_a_compact_inode_only() {
    let past = Error::Corrupt("reference to a place past the end of the image");
    let tail = Error::Corrupt("inline data reaches past the end of the image");
    for (format, size, error) in [
        (PLAIN, 0, None),
        (INLINE, 0, None),
        (INLINE, 1, Some(tail)),
        (PLAIN | EXTENDED, 0, Some(past)),
    ] {
        let mut builder = Builder::new();
        let nid = builder.inode_at(4096 - 32, &New::file(format, size));
        builder.bytes.truncate(4096);
        let image = open(builder.finish(&[])).unwrap();
        assert_eq!(image.inode(nid).err(), error);
    }
}

#[test]
fn extended_inodes_may_straddle_blocks() {
    let mut builder = Builder::new();
    let mut new = with(PLAIN | EXTENDED, 0o020_600, 0, 0xabcd_1234);
    new.tail = b"next".to_vec();
    let nid = builder.inode_at(4096 - 32, &new);
    let second = nid as usize * 32 + 32;
    builder.put(second - 8, &70_000_u32.to_le_bytes());
    builder.put(second - 4, &80_000_u32.to_le_bytes());
    builder.put(second, &(-5_i64).to_le_bytes());
    builder.put(second + 8, &7_u32.to_le_bytes());
    builder.put(second + 12, &90_000_u32.to_le_bytes());
    let image = open(builder.finish(&[])).unwrap();
    let before = image.source().fetched.get();
    let inode = image.inode(nid).unwrap();
    assert_eq!(image.source().fetched.get() - before, 2);
    assert_eq!(
        (inode.uid, inode.gid, inode.nlink),
        (70_000, 80_000, 90_000)
    );
    assert_eq!((inode.mode, inode.rdev), (0o020_600, 0xabcd_1234));
    assert_eq!(inode.mtime, Time { sec: -5, nsec: 7 });
}

#[test]
fn compact_inodes_have_the_build_time() {
    let mut builder = Builder::new();
    builder.put(1024 + 24, &(-100_i64).to_le_bytes());
    // More than a second of nanoseconds is what a dump can say, and not carried over here.
    builder.put(1024 + 32, &4_000_000_250_u32.to_le_bytes());
    let nid = builder.inode(&New::file(PLAIN, 0));
    builder.put(nid as usize * 32 + 12, &40_u32.to_le_bytes());
    let image = open(builder.finish(&[])).unwrap();
    let before = image.source().fetched.get();
    let inode = image.inode(nid).unwrap();
    assert_eq!(image.source().fetched.get() - before, 1);
    // EROFS adds the inode's own field, which composefs leaves 0.
    assert_eq!(
        inode.mtime,
        Time {
            sec: -60,
            nsec: 4_000_000_250
        }
    );
    assert_eq!(image.inode(36).unwrap().mtime.sec, -100);
}

#[test]
fn data_of_blocks_and_tail_is_read() {
    let mut text = vec![0; 4096 + 100];
    for (at, byte) in text.iter_mut().enumerate() {
        *byte = (at * at) as u8;
    }
    for (format, size, address, tail) in [
        (INLINE, 4196, true, &text[4096..]),
        (INLINE | EXTENDED, 4196, true, &text[4096..]),
        (INLINE, 100, false, &text[..100]),
        (PLAIN, 4196, true, &[]),
    ] {
        let mut builder = Builder::new();
        let block = builder.blocks(&text);
        let mut new = New::file(format, size);
        new.address = if address { block } else { 0 };
        new.tail = tail.to_vec();
        let nid = builder.inode(&new);
        let image = open(builder.finish(&[])).unwrap();
        let node = image.inode(nid).unwrap().node;
        for step in [1, 99, 4096, 5000] {
            let read = content(&image, &node, step).unwrap();
            assert_eq!(read, text[..size as usize], "{format} by {step}");
        }
        assert_eq!(image.read_data(&node, 0, &mut []), Ok(0));
        assert_eq!(image.read_data(&node, size, &mut [0]), Ok(0));
    }
}

#[test]
fn a_tail_may_be_a_whole_block() {
    // Not what composefs writes, but what EROFS reads: the last block is inline even if it is full.
    let mut builder = Builder::new();
    let mut new = New::file(INLINE, 4096);
    new.tail = vec![b't'; 4096];
    let nid = builder.inode_at(4096 - 32, &new);
    let image = open(builder.finish(&[])).unwrap();
    let node = image.inode(nid).unwrap().node;
    assert_eq!(content(&image, &node, 1000).unwrap(), vec![b't'; 4096]);
}

#[test]
fn symlinks_contain_no_nul() {
    for (target, good) in [(&b"a/b"[..], true), (b"a\0b", false), (b"ab\0", false)] {
        let mut new = with(INLINE, 0o120_777, 3, 0);
        new.tail = target.to_vec();
        let (image, node) = Builder::single(&new);
        let mut out = [0; 3];
        assert_eq!(image.read_data(&node, 0, &mut out).is_ok(), good);
    }
    let image: Image<Memory> = image("c-v0-large.img");
    let link = find(&image, "link-4095").node;
    assert_eq!((link.size(), link.file_type()), (4095, FileType::Symlink));
}
