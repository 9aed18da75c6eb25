// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Reading and searching directories.

use std::collections::BTreeSet;

use composefs_format::{Error, FileType, Image, Node, BLOCK_SIZE};

use crate::builder::{dirents, Builder, New, PLAIN, ROOT};
use crate::support::{find, image, list, open, root, Listed, Memory, IMAGES};

/// Every directory of an image with its entries.
fn directories(image: &Image<Memory>) -> Vec<(Node, Vec<Listed>)> {
    let mut found = Vec::new();
    let mut queue = vec![image.root()];
    while let Some(nid) = queue.pop() {
        let dir = image.inode(nid).unwrap().node;
        let (entries, _) = list(image, &dir, 0, usize::MAX).unwrap();
        for entry in &entries {
            let down = entry.name != b"." && entry.name != b"..";
            if down && entry.file_type == FileType::Directory {
                queue.push(entry.nid);
            }
        }
        found.push((dir, entries));
    }
    found
}

/// Whether `name` is in `dir`, and that no more blocks were fetched than a binary search needs.
fn is_found(image: &Image<Memory>, dir: &Node, name: &[u8]) -> Option<(u64, FileType)> {
    let before = image.source().fetched.get();
    let found = image.lookup(dir, name).unwrap();
    let fetched = image.source().fetched.get() - before;
    let blocks = dir.size().div_ceil(BLOCK_SIZE);
    // One more for the inode of a whiteout.
    let most = u64::from(blocks.next_power_of_two().ilog2()) + 2;
    assert!(fetched <= most, "{fetched} of {most} blocks");
    found.map(|entry| (entry.nid, entry.file_type))
}

#[test]
fn every_entry_is_found_and_nothing_else() {
    for (name, _) in IMAGES {
        let image = image(name);
        for (dir, entries) in directories(&image) {
            let names: BTreeSet<_> = entries.iter().map(|entry| &entry.name[..]).collect();
            assert_eq!(names.len(), entries.len());
            for entry in &entries {
                let found = is_found(&image, &dir, &entry.name);
                assert_eq!(found, Some((entry.nid, entry.file_type)));
                let mut others = vec![entry.name[1..].to_vec(), entry.name.clone(), Vec::new()];
                others[1].push(b'!');
                for byte in [0, 1, 0xff] {
                    let mut other = entry.name.clone();
                    *other.last_mut().unwrap() ^= byte;
                    others.push(other);
                    others.push([&entry.name[..], &[byte]].concat());
                }
                for other in others {
                    let found = is_found(&image, &dir, &other).is_some();
                    assert_eq!(found, names.contains(&other[..]), "{other:?}");
                }
            }
            assert_eq!(is_found(&image, &dir, &[b'z'; 300]), None);
        }
    }
}

#[test]
fn entries_are_in_order() {
    for (name, _) in IMAGES {
        for (_, entries) in directories(&image(name)) {
            let sorted = |a: &Listed, b: &Listed| a.name < b.name && a.pos < b.pos;
            assert!(entries.is_sorted_by(sorted), "{name}");
        }
    }
}

#[test]
fn reading_goes_on_from_every_position() {
    for (name, _) in IMAGES {
        let image = image(name);
        for (dir, entries) in directories(&image) {
            for pos in 0..dir.size() {
                let (some, end) = list(&image, &dir, pos, 3).unwrap();
                let rest = &entries[entries.partition_point(|entry| entry.pos < pos)..];
                assert_eq!(some, rest[..rest.len().min(3)], "{name} from {pos}");
                assert_eq!(end, rest.get(3).map_or(dir.size(), |entry| entry.pos));
            }
            for pos in [dir.size(), dir.size() + 1, u64::MAX] {
                let (rest, end) = list(&image, &dir, pos, usize::MAX).unwrap();
                assert_eq!((rest.len(), end), (0, pos));
            }
        }
    }
}

/// getdents(2) forgets a fault when it has entries to return, and goes on from there.
#[test]
fn a_fault_in_the_order_is_met_again() {
    let mut builder = Builder::new();
    let file = builder.inode(&New::file(PLAIN, 0));
    let block = dirents(&[(b"a", file, 1), (b"c", file, 1), (b"b", file, 1)]);
    let image = open(builder.finish(&[block])).unwrap();
    let dir = root(&image);
    let fault = Err(Error::Corrupt("directory entries are not in order"));
    for (pos, max) in [(0, 9), (12, 9), (24, 9), (24, 0)] {
        assert_eq!(list(&image, &dir, pos, max), fault);
    }
    assert_eq!(list(&image, &dir, 0, 1).unwrap().1, 12);
}

#[test]
fn reading_stops_where_the_caller_does() {
    for (name, _) in IMAGES {
        let image = image(name);
        for (dir, entries) in directories(&image) {
            for max in [0, 1, 2, 7, 100] {
                let (mut all, mut pos) = (Vec::new(), 0);
                loop {
                    let (some, next) = list(&image, &dir, pos, max).unwrap();
                    if let Some(first) = some.first() {
                        assert!(first.pos >= pos);
                    }
                    all.extend(some);
                    if next == dir.size() || max == 0 {
                        break;
                    }
                    pos = next;
                }
                assert_eq!(all, entries[..if max == 0 { 0 } else { entries.len() }]);
            }
        }
    }
}

#[test]
fn whiteouts_do_not_exist() {
    for name in ["c-v0.img", "c-v1-whiteouts.img", "rs-v1-sha512.img"] {
        let image = image(name);
        let root = root(&image);
        let (entries, _) = list(&image, &root, 0, usize::MAX).unwrap();
        for byte in 0..=255 {
            let stub = format!("{byte:02x}").into_bytes();
            // One image has a file where the whiteout would be.
            let file = stub == b"ab" && name == "c-v1-whiteouts.img";
            assert_eq!(is_found(&image, &root, &stub).is_some(), file);
            assert_eq!(entries.iter().any(|entry| entry.name == stub), file);
        }
    }
    let image = image("rs-v2-whiteouts.img");
    assert_eq!(is_found(&image, &root(&image), b"zero-zero"), None);
    let dir = find(&image, "dir").node;
    assert_eq!(is_found(&image, &dir, b"gone"), None);
    let (entries, _) = list(&image, &dir, 0, usize::MAX).unwrap();
    let names: Vec<_> = entries.iter().map(|entry| &entry.name[..]).collect();
    assert_eq!(names, [&b"."[..], b"..", b"here"]);
}

#[test]
fn escaped_whiteouts_are_regular_files() {
    let image = image("c-v1-whiteouts.img");
    let gone = find(&image, "dir/gone");
    assert_eq!(gone.node.file_type(), FileType::Regular);
    assert!(!gone.is_whiteout() && !gone.node.is_external());
    assert_eq!((gone.mode, gone.node.size()), (0o100_000, 0));
}

#[test]
fn large_directories_are_searched_in_few_steps() {
    let mut builder = Builder::new();
    let nid = builder.inode(&New::file(PLAIN, 0));
    let names: Vec<_> = (0..20_000)
        .map(|i| format!("{i:05}").into_bytes())
        .collect();
    let entries: Vec<_> = names.iter().map(|name| (&name[..], nid, 1)).collect();
    let blocks: Vec<_> = entries.chunks(200).map(dirents).collect();
    let image = open(builder.finish(&blocks)).unwrap();
    let root = root(&image);
    assert_eq!(root.size().div_ceil(BLOCK_SIZE), 100);
    for name in &names {
        assert_eq!(
            is_found(&image, &root, name),
            Some((nid, FileType::Regular))
        );
        assert_eq!(is_found(&image, &root, &[name, &b"0"[..]].concat()), None);
    }
    for name in [&b"/"[..], b"0000", b"2", b"99999", b""] {
        assert_eq!(is_found(&image, &root, name), None);
    }
    let (entries, _) = list(&image, &root, 0, usize::MAX).unwrap();
    assert!(entries.iter().map(|entry| &entry.name).eq(&names));
}

#[test]
fn only_directories_are_directories() {
    let image = image("c-v0.img");
    for name in ["inline", "external", "link", "null", "fifo"] {
        let node = find(&image, name).node;
        assert!(image.lookup(&node, b"x").is_err());
        assert!(list(&image, &node, 0, usize::MAX).is_err());
    }
}

#[test]
fn an_empty_directory_has_nothing() {
    let image = open(Builder::new().finish(&[])).unwrap();
    let root = root(&image);
    assert_eq!(root.nid(), ROOT);
    assert_eq!(is_found(&image, &root, b"."), None);
    assert_eq!(list(&image, &root, 0, 1).unwrap(), (Vec::new(), 0));
}

/// What comes of reading, and of searching `name` in, a root of one block that `change` has been done to.
fn changed(name: &[u8], change: impl Fn(&mut Vec<u8>)) -> (Result<(), Error>, Result<bool, Error>) {
    let mut builder = Builder::new();
    let regular = builder.inode(&New::file(PLAIN, 0));
    let mut whiteout = New::file(PLAIN, 0);
    whiteout.mode = 0o020_000;
    let whiteout = builder.inode(&whiteout);
    let mut block = dirents(&[
        (b".", ROOT, 2),
        (b"..", ROOT, 2),
        (b"aa", regular, 1),
        (b"bb", whiteout, 3),
        (b"cc", regular, 1),
    ]);
    change(&mut block);
    let image = open(builder.finish(&[block])).unwrap();
    let root = root(&image);
    let read = list(&image, &root, 0, usize::MAX).map(|_| ());
    (read, image.lookup(&root, name).map(|found| found.is_some()))
}

#[test]
fn malformed_blocks_are_refused() {
    /// What is put where, the name to look for, the reason, and whether searching gives it too.
    type Case = (usize, &'static [u8], &'static [u8], &'static str, bool);
    let cases: &[Case] = &[
        (
            8,
            &[0, 0],
            b"aa",
            "directory block has no valid dirents",
            true,
        ),
        (
            8,
            &[61, 0],
            b"aa",
            "directory block has no valid dirents",
            true,
        ),
        (
            8,
            &[72, 0],
            b"aa",
            "directory block has no valid dirents",
            true,
        ),
        (
            8,
            &[0, 16],
            b"aa",
            "directory block has no valid dirents",
            true,
        ),
        (
            32,
            &[59, 0],
            b"aa",
            "directory entry name is out of place",
            true,
        ),
        (
            44,
            &[62, 0],
            b"aa",
            "directory entry name is out of place",
            true,
        ),
        (56, &[69, 0], b"cc", "directory entry name is empty", true),
        (
            56,
            &[70, 0],
            b"cc",
            "directory entry name is out of place",
            true,
        ),
        (32, &[65, 0], b"aa", "directory entry name is empty", true),
        (
            63,
            b"/",
            b"aa",
            "directory entry name contains / or NUL",
            false,
        ),
        (
            64,
            &[0],
            b"aa",
            "directory entry name contains / or NUL",
            false,
        ),
        (67, &[0], b"cc", "directory entry name is empty", true),
        (
            34,
            &[0],
            b"aa",
            "directory entry of no known file type",
            true,
        ),
        (
            34,
            &[8],
            b"aa",
            "directory entry of no known file type",
            true,
        ),
        (
            34,
            &[3],
            b"aa",
            "directory entry and inode differ in type",
            true,
        ),
        (
            63,
            b"bb",
            b"cc",
            "directory entries are not in order",
            false,
        ),
        (
            63,
            b"zz",
            b"cc",
            "directory entries are not in order",
            false,
        ),
        (
            36,
            &[0; 8],
            b"bb",
            "inode number of a place before the inodes",
            true,
        ),
    ];
    assert_eq!(changed(b"aa", |_| ()), (Ok(()), Ok(true)));
    assert_eq!(changed(b"bb", |_| ()), (Ok(()), Ok(false)));
    for (at, bytes, name, reason, both) in cases {
        let (read, search) = changed(name, |block| {
            block[*at..*at + bytes.len()].copy_from_slice(bytes);
        });
        assert_eq!(read, Err(Error::Corrupt(reason)), "{at} {bytes:?}");
        if *both {
            assert_eq!(search, Err(Error::Corrupt(reason)), "{at} {bytes:?}");
        }
    }
}

#[test]
fn names_have_at_most_255_bytes() {
    for (len, result) in [
        (255, Ok(())),
        (256, Err(Error::Corrupt("directory entry name is too long"))),
    ] {
        let (read, _) = changed(b"cc", |block| {
            block.truncate(67);
            block.resize(67 + len, b'n');
        });
        assert_eq!(read, result);
        // Not the last one but the one before.
        let (read, _) = changed(b"cc", |block| {
            block.resize(65 + len, b'b');
            block[67..69].copy_from_slice(b"bb");
            block[56..58].copy_from_slice(&(65 + len as u16).to_le_bytes());
            block.extend_from_slice(b"cc");
        });
        assert_eq!(read, result);
    }
}

#[test]
fn the_last_name_ends_at_a_nul() {
    let (read, search) = changed(b"cc", |block| block.resize(4096, 0));
    assert_eq!((read, search), (Ok(()), Ok(true)));
}
