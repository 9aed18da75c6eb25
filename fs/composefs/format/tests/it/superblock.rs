// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Header and superblock: what is read from them, and what is refused.

use composefs_format::{Error, Time};

use crate::builder::{Builder, New, PLAIN, ROOT};
use crate::support::{file, image, open};

#[test]
fn fields_are_read() {
    let c = image("c-v0.img");
    let superblock = c.superblock();
    assert_eq!(superblock.composefs_version(), 0);
    assert!(superblock.has_acl() && superblock.xattr_filter());
    assert_eq!((superblock.root_nid(), c.root()), (ROOT, ROOT));
    assert_eq!(u64::from(superblock.blocks()) * 4096, 53_248);
    assert_eq!(superblock.uuid(), [0; 16]);
    // The tree's lines that are no links, and those whiteouts that no file takes the place of.
    let lines = String::from_utf8(file("tree.dump")).unwrap();
    let inodes = lines
        .lines()
        .filter(|line| !line.contains(" @100644 "))
        .count();
    assert_eq!(superblock.inos(), inodes as u64 + 256);
    let earliest = Time { sec: 1000, nsec: 0 };
    assert_eq!(superblock.build_time(), earliest);

    let whiteouts = image("c-v1-whiteouts.img");
    assert_eq!(whiteouts.superblock().composefs_version(), 1);
    assert!(!whiteouts.superblock().has_acl());
    assert_eq!(whiteouts.superblock().build_time().nsec, 5);
    for name in ["rs-v2-sha256.img", "rs-v2-sha512.img"] {
        assert_eq!(image(name).superblock().composefs_version(), 2);
    }
}

#[test]
fn a_uuid_is_read() {
    let mut builder = Builder::new();
    builder.put(1024 + 48, &[7; 16]);
    let image = open(builder.finish(&[])).unwrap();
    assert_eq!(image.superblock().uuid(), [7; 16]);
}

#[test]
fn foreign_files_are_told_apart() {
    let mut erofs = file("c-v0.img");
    erofs[..32].fill(0);
    let empty = Error::NotComposefs("file is empty");
    let foreign = Error::NotComposefs("no composefs header");
    let plain = Error::NotComposefs("EROFS image without a composefs header");
    assert_eq!(open(Vec::new()).err(), Some(empty));
    assert_eq!(open(vec![0]).err(), Some(foreign));
    assert_eq!(open(vec![0; 10_000]).err(), Some(foreign));
    assert_eq!(open(b"#!/bin/sh\n".to_vec()).err(), Some(foreign));
    assert_eq!(open(erofs).err(), Some(plain));
}

#[test]
fn truncated_images_are_refused() {
    for name in ["c-v0.img", "rs-v2-sha512.img", "rs-v2-whiteouts.img"] {
        let whole = file(name);
        for len in 0..whole.len() {
            let error = open(whole[..len].to_vec()).err().unwrap();
            let expected = match len {
                0 => Error::NotComposefs("file is empty"),
                1..4 => Error::NotComposefs("no composefs header"),
                _ => Error::Corrupt("image is truncated"),
            };
            assert_eq!(error, expected, "{name} of {len} bytes");
        }
    }
}

#[test]
fn bytes_after_the_image_do_no_harm() {
    let mut bytes = file("c-v0.img");
    bytes.extend_from_slice(&[0xff; 5000]);
    assert!(open(bytes).is_ok());
}

#[test]
fn what_composefs_does_not_use_is_refused() {
    const SB: usize = 1024;
    let cases: &[(usize, &[u8], Error)] = &[
        (
            4,
            &[2],
            Error::Unsupported("unknown composefs header version"),
        ),
        (
            8,
            &[2],
            Error::Unsupported("unknown composefs header flags"),
        ),
        (
            11,
            &[128],
            Error::Unsupported("unknown composefs header flags"),
        ),
        (
            12,
            &[3],
            Error::Unsupported("unknown composefs format version"),
        ),
        (SB, &[0], Error::Corrupt("no EROFS superblock")),
        (
            SB + 8,
            &[7],
            Error::Unsupported("EROFS superblock checksum"),
        ),
        (
            SB + 8,
            &[14],
            Error::Unsupported("unknown compatible EROFS features"),
        ),
        (
            SB + 11,
            &[128],
            Error::Unsupported("unknown compatible EROFS features"),
        ),
        (
            SB + 12,
            &[11],
            Error::Unsupported("EROFS block size other than 4096"),
        ),
        (
            SB + 13,
            &[1],
            Error::Unsupported("extended EROFS superblock"),
        ),
        (
            SB + 14,
            &[35],
            Error::Corrupt("inode number of a place before the inodes"),
        ),
        (SB + 36, &[1, 0, 1], Error::Corrupt("image is truncated")),
        (
            SB + 36,
            &[0; 4],
            Error::Corrupt("reference to a place past the end of the image"),
        ),
        (
            SB + 40,
            &[1],
            Error::Unsupported("EROFS metadata that does not start in block 0"),
        ),
        (
            SB + 80,
            &[1],
            Error::Unsupported("incompatible EROFS features"),
        ),
        (
            SB + 80,
            &[12],
            Error::Unsupported("incompatible EROFS features"),
        ),
        (
            SB + 83,
            &[128],
            Error::Unsupported("incompatible EROFS features"),
        ),
        (SB + 84, &[1], Error::Unsupported("EROFS compression")),
        (SB + 86, &[1], Error::Unsupported("EROFS device table")),
        (
            SB + 90,
            &[1],
            Error::Unsupported("EROFS block size other than 4096"),
        ),
        (
            SB + 91,
            &[1],
            Error::Unsupported("EROFS attribute name prefixes"),
        ),
        (SB + 96, &[1], Error::Unsupported("EROFS packed inode")),
    ];
    let good = file("rs-v2-sha256.img");
    for (at, bytes, error) in cases {
        let mut bad = good.clone();
        bad[*at..*at + bytes.len()].copy_from_slice(bytes);
        assert_eq!(open(bad).err(), Some(*error), "{at} {bytes:?}");
    }
}

#[test]
fn chunked_files_may_be_announced() {
    let mut bytes = file("c-v0.img");
    bytes[1024 + 80] = 4;
    assert!(open(bytes).is_ok());
}

#[test]
fn the_root_must_be_a_directory() {
    let mut builder = Builder::new();
    let regular = builder.inode(&New::file(PLAIN, 0));
    builder.put(1024 + 14, &(regular as u16).to_le_bytes());
    let error = open(builder.finish(&[])).err();
    assert_eq!(error, Some(Error::Corrupt("root is not a directory")));
}

#[test]
fn errors_say_what_is_wrong() {
    assert_eq!(Error::Corrupt("a reason").to_string(), "a reason");
}
