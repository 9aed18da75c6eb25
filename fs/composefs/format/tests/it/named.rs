// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Searching an image for the inodes that paths lead to.

use std::collections::BTreeSet;

use composefs_format::{Error, FileType, Image, NidSet, Search};

use crate::builder::{dirents, xattr, xattr_area, Builder, New, INLINE, PLAIN, ROOT};
use crate::support::{image, list, open, Memory, IMAGES};

const REGULAR: u8 = 1;
const DIRECTORY: u8 = 2;
const CHAR_DEVICE: u8 = 3;

/// What was found, and what went wrong in which directories.
fn search(image: &Image<Memory>) -> (NidSet<Vec<u8>>, Vec<(u64, Error)>) {
    let size: usize = image.nid_set_size().try_into().unwrap();
    assert_eq!(size, image.source().bytes.len() / 256);
    let mut search = Search::new(image, vec![0; size]);
    let (mut unread, mut errors) = (vec![image.root()], Vec::new());
    while let Some(dir) = unread.pop() {
        let mut push = |nid| {
            unread.push(nid);
            true
        };
        if let Err(error) = search.read(dir, &mut push) {
            errors.push((dir, error));
        }
    }
    (search.finish(), errors)
}

/// All that was found of what could be.
fn found(image: &Image<Memory>, set: &NidSet<Vec<u8>>) -> BTreeSet<u64> {
    let slots = image.source().bytes.len() as u64 / 32;
    (0..slots).filter(|nid| set.contains(*nid)).collect()
}

fn directory(listing: Vec<u8>) -> New {
    New {
        mode: 0o040_755,
        tail: listing.clone(),
        ..New::file(INLINE, listing.len() as u64)
    }
}

#[test]
fn everything_with_a_path_is_found_and_nothing_else() {
    for (name, _) in IMAGES {
        let image = image(name);
        let mut expected = BTreeSet::from([image.root()]);
        let mut queue = vec![image.root()];
        while let Some(nid) = queue.pop() {
            let dir = image.inode(nid).unwrap().node;
            for entry in list(&image, &dir, 0, usize::MAX).unwrap().0 {
                if expected.insert(entry.nid) && entry.file_type == FileType::Directory {
                    queue.push(entry.nid);
                }
            }
        }
        let (set, errors) = search(&image);
        assert_eq!(errors, []);
        assert_eq!(found(&image, &set), expected, "{name}");
        for nid in [u64::MAX, 1 << 59, image.source().bytes.len() as u64 / 32] {
            assert!(!set.contains(nid));
        }
    }
}

#[test]
fn what_only_looks_like_an_inode_is_not_found() {
    let mut builder = Builder::new();
    // A valid inode of 32 zero bytes but for its type, in an attribute and in a file.
    let mut forgery = vec![0; 32];
    forgery[4..6].copy_from_slice(&0o104_755_u16.to_le_bytes());
    let value = xattr(1, &[b'n'; 16], &forgery);
    let named = builder.inode(&New {
        xattrs: xattr_area(&[], &[value]),
        tail: forgery.clone(),
        ..New::file(INLINE, 32)
    });
    let whiteout = builder.inode(&New {
        mode: 0o020_000,
        ..New::file(PLAIN, 0)
    });
    let bytes = builder.finish(&[dirents(&[
        (b"file", named, REGULAR),
        (b"gone", whiteout, CHAR_DEVICE),
    ])]);
    let forged = bytes.windows(32).position(|slot| slot == forgery);
    let forged = forged.unwrap() as u64 / 32;
    let image = open(bytes).unwrap();
    assert_eq!(image.inode(forged).unwrap().mode, 0o104_755);

    let (set, errors) = search(&image);
    assert_eq!(errors, []);
    assert_eq!(found(&image, &set), BTreeSet::from([ROOT, named]));
}

#[test]
fn no_path_leads_up() {
    let mut builder = Builder::new();
    let other = builder.inode(&New::file(PLAIN, 0));
    let only_up = builder.inode(&directory(dirents(&[(b"file", other, REGULAR)])));
    // The parent and the directory itself as it would have them.
    let below = [
        (&b"."[..], only_up, DIRECTORY),
        (b"..", only_up, DIRECTORY),
        // In itself, by another name.
        (b"again", only_up + 2, DIRECTORY),
    ];
    let dir = builder.inode(&directory(dirents(&below)));
    assert_eq!(dir, only_up + 2);
    let root = dirents(&[(b"dir", dir, DIRECTORY), (b"loop", ROOT, DIRECTORY)]);
    let image = open(builder.finish(&[root])).unwrap();

    let (set, errors) = search(&image);
    assert_eq!(errors, []);
    assert_eq!(found(&image, &set), BTreeSet::from([ROOT, dir]));
}

#[test]
fn damage_hides_no_more_than_is_damaged() {
    let mut builder = Builder::new();
    let file = builder.inode(&New::file(PLAIN, 0));
    let bad = builder.inode(&directory(dirents(&[
        (b"b", file, REGULAR),
        (b"a", 1000, REGULAR),
    ])));
    let good = builder.inode(&directory(dirents(&[(b"c", bad, DIRECTORY)])));
    let root = dirents(&[
        (b"bad", bad, DIRECTORY),
        (b"file", file, DIRECTORY),
        (b"good", good, DIRECTORY),
        (b"none", 0, DIRECTORY),
        (b"past", 1 << 40, DIRECTORY),
    ]);
    let image = open(builder.finish(&[root])).unwrap();

    let (set, errors) = search(&image);
    let before = Error::Corrupt("inode number of a place before the inodes");
    let order = Error::Corrupt("directory entries are not in order");
    let type_ = Error::Corrupt("not a directory");
    assert_eq!(errors, [(0, before), (file, type_), (bad, order)]);
    assert_eq!(found(&image, &set), [0, ROOT, file, bad, good].into());
}

#[test]
fn directories_that_overlap_are_read_to_a_bound() {
    let mut builder = Builder::new();
    // Many directories, all of them the same blocks.
    let many: Vec<_> = (0..200)
        .map(|_| New {
            mode: 0o040_755,
            address: 2,
            ..New::file(PLAIN, 8 * 4096)
        })
        .collect();
    let numbers: Vec<_> = many.iter().map(|dir| builder.inode(dir)).collect();
    let names: Vec<_> = (0..200).map(|number| format!("{number:03}")).collect();
    let entries: Vec<_> = names
        .iter()
        .zip(&numbers)
        .map(|(name, nid)| (name.as_bytes(), *nid, DIRECTORY))
        .collect();
    let image = open(builder.finish(&vec![dirents(&entries); 8])).unwrap();

    let before = image.source().fetched.get();
    let (_, errors) = search(&image);
    let overlap = Error::Corrupt("directories overlap");
    assert!(errors.iter().any(|(_, error)| *error == overlap));
    let fetched = image.source().fetched.get() - before;
    // Each inode, and no more blocks of directories than there are blocks.
    assert!(fetched < 200 + 20, "{fetched} blocks");
}
