// SPDX-License-Identifier: GPL-2.0-only
//! Targets that use an image as the driver and the tools do. None may panic, or fetch more blocks than [`Counted`]
//! allows.

use std::collections::BTreeSet;

use composefs_format::{FileType, NidSet, Node, Search, XattrIndex};

use crate::counted::Counted;

/// After so many blocks a walk ends: every inode of an image may be a directory as large as the image.
const BLOCKS_MAX: u64 = 3_000;

/// Names of attributes that are looked for in every file, besides those that it has.
const ATTRIBUTES: &[(XattrIndex, &[u8])] = &[
    (XattrIndex::Trusted, b"overlay.metacopy"),
    (XattrIndex::Trusted, b"overlay.opaque"),
    (XattrIndex::Trusted, b"overlay.overlay.opaque"),
    (XattrIndex::Security, b"selinux"),
    (XattrIndex::PosixAclAccess, b""),
    (XattrIndex::User, b"a"),
];

/// Opens an image and looks at its superblock.
pub(crate) fn open(bytes: &[u8]) {
    let Ok(image) = Counted::open(bytes) else {
        return;
    };
    let superblock = image.image().superblock();
    assert!(superblock.composefs_version() <= 2);
    assert!(u64::from(superblock.blocks()) * 4096 <= bytes.len() as u64);
    assert_eq!(superblock.root_nid(), image.image().root());
    let root = image.inode(image.image().root()).expect("root was checked");
    assert_eq!(root.node.file_type(), FileType::Directory);
}

/// Calls `visit` for every inode that can be reached from the root, once each.
pub(crate) fn each_inode(image: &Counted, visit: &mut dyn FnMut(&Node)) {
    let mut seen = BTreeSet::new();
    let mut queue = vec![image.image().root()];
    while let Some(nid) = queue.pop() {
        if image.fetched() > BLOCKS_MAX {
            return;
        }
        if !seen.insert(nid) {
            continue;
        }
        let Ok(inode) = image.inode(nid) else {
            continue;
        };
        assert_eq!(inode.node.nid(), nid);
        visit(&inode.node);
        if inode.node.file_type() == FileType::Directory {
            let entries = image.list(&inode.node, 0, 400).parts;
            queue.extend(entries.iter().map(|entry| entry.nid));
        }
    }
}

/// Uses everything that can be reached, in every way that there is.
pub(crate) fn walk(bytes: &[u8]) {
    let Ok(image) = Counted::open(bytes) else {
        return;
    };
    if let Some(found) = search(&image) {
        let named = named(&image);
        for nid in 0..bytes.len() as u64 / 32 + 9 {
            let is_slot = nid < u64::from(image.image().superblock().blocks()) * 128;
            assert_eq!(found.contains(nid), is_slot && named.contains(&nid));
        }
    }
    each_inode(&image, &mut |node| {
        let attributes = image.list_xattrs(node);
        for attribute in &attributes.parts {
            let _ = image.read_xattr(&attribute.value);
        }
        let external = image.external(node);
        assert!(node.is_external() || external == Ok(None));
        match node.file_type() {
            FileType::Directory => {
                let _ = image.lookup(node, b"usr");
                list_in_steps(&image, node);
            }
            FileType::Regular | FileType::Symlink if !node.is_external() => {
                if let Ok(content) = image.content(node, 5000) {
                    assert_eq!(content.len() as u64, node.size());
                }
            }
            _ => {}
        }
    });
}

/// Searches an image for the inodes that paths lead to: the work is bounded by the size of the image.
fn search(image: &Counted) -> Option<NidSet<Vec<u8>>> {
    let size = u64::from(image.image().superblock().blocks()) * 4096;
    let memory = usize::try_from(image.image().nid_set_size()).expect("a part of the image");
    let mut search = Search::new(image.image(), vec![0; memory]);
    let mut unread = vec![image.image().root()];
    let (mut directories, mut is_whole) = (0, true);
    let before = image.fetched();
    while let Some(dir) = unread.pop() {
        directories += 1;
        let mut push = |nid| {
            unread.push(nid);
            true
        };
        is_whole &= search.read(dir, &mut push).is_ok();
    }
    // Inodes of directories, their blocks, and an inode for each entry that may be a whiteout.
    let bound = 3 * directories + size / 4096 + 2 * (size / 13);
    let used = image.fetched() - before;
    assert!(used <= bound, "search: {used} blocks, at most {bound}");
    is_whole.then(|| search.finish())
}

/// What a search must find if it meets no fault.
fn named(image: &Counted) -> BTreeSet<u64> {
    let root = image.image().root();
    let (mut found, mut queue) = (BTreeSet::from([root]), vec![root]);
    while let Some(nid) = queue.pop() {
        let inode = image.inode(nid).expect("it was read");
        for entry in image.list(&inode.node, 0, usize::MAX).parts {
            let is_up = matches!(&entry.name[..], b"." | b"..");
            if !is_up && found.insert(entry.nid) && entry.file_type == FileType::Directory {
                queue.push(entry.nid);
            }
        }
    }
    found
}

/// Lists a directory some entries at a time, as getdents(2) does: that must lead to the same.
fn list_in_steps(image: &Counted, dir: &Node) {
    let whole = image.list(dir, 0, usize::MAX);
    let mut entries = Vec::new();
    let mut pos = 0;
    let end = loop {
        let some = image.list(dir, pos, 7);
        let more = some.parts.len() == 7;
        // The call whose last entry was the last before a fault has not seen that.
        pos = match (&some.end, some.parts.last()) {
            (Ok(next), _) => *next,
            (Err(_), Some(last)) => last.pos + 12,
            (Err(error), None) => break Err(*error),
        };
        entries.extend(some.parts);
        if some.end.is_ok() && (!more || pos >= dir.size()) {
            break Ok(pos);
        }
        if image.fetched() > BLOCKS_MAX {
            return;
        }
    };
    assert_eq!(entries, whole.parts);
    if whole.end.is_ok() {
        assert_eq!(end, whole.end);
    }
}

/// Looks up every name that a directory has, and some that it has not.
pub(crate) fn lookup(bytes: &[u8]) {
    let Ok(image) = Counted::open(bytes) else {
        return;
    };
    each_inode(&image, &mut |node| {
        if node.file_type() != FileType::Directory {
            assert!(image.lookup(node, b"a").is_err());
            return;
        }
        for name in [&b""[..], b".", b"..", b"a", &[b'x'; 255], &[0xff; 256]] {
            let _ = image.lookup(node, name);
        }
        for entry in image.list(node, 0, 60).parts {
            let _ = image.lookup(node, &entry.name);
            let mut longer = entry.name.clone();
            longer.push(b'!');
            let _ = image.lookup(node, &longer);
            let _ = image.lookup(node, &entry.name[1..]);
        }
    });
}

/// Lists attributes, looks for each of them and for others, and reads their values.
pub(crate) fn xattr(bytes: &[u8]) {
    let Ok(image) = Counted::open(bytes) else {
        return;
    };
    each_inode(&image, &mut |node| {
        for (index, name) in ATTRIBUTES {
            if let Ok(Some(value)) = image.xattr(node, *index, name) {
                let _ = image.read_xattr(&value).expect("it lies in the image");
            }
            let _ = image.visible_xattr(node, *index, name);
        }
        let listed = image.list_xattrs(node);
        for attribute in listed.parts.iter().take(60) {
            let value = image.read_xattr(&attribute.value);
            assert_eq!(
                value.expect("it lies in the image").len(),
                attribute.value.len()
            );
            let found = image.xattr(node, attribute.index, &attribute.name);
            // The first of that name, or none if the filter says so.
            assert!(found.is_ok());
        }
        if let Ok(Some(external)) = image.external(node) {
            if let Some(redirect) = external.redirect {
                let path = image.read_xattr(&redirect).expect("it lies in the image");
                assert!(path.starts_with(b"/") && !path.contains(&0) && path.len() < 4096);
            }
        }
    });
}
