// SPDX-License-Identifier: GPL-2.0-only
//! The parser compared with a slow, obvious reading of the same image.
//!
//! The model has the whole image in memory, computes positions in 128 bits, and reads everything from its beginning to
//! its end: no windows, no binary search, no arithmetic that needs care. It says what is valid, and for what is valid
//! what must come out. What is compared:
//!
//! - Whether an image opens, an inode is accepted, and all that either says of itself.
//! - The entries of a directory up to the first that is at fault, and whether there is a fault.
//! - Every name of a directory that is valid as a whole is found, and no other. In one that is not, a search sees few
//!   entries: it may find nothing, or fail, but what it finds is there under that name.
//! - The attributes of a file up to the first fault, their values, and what a search for each of them finds.
//! - Where the content of an external file is, or that this is malformed; the content of all others.

mod attributes;
mod directory;
mod inode;
mod superblock;

use composefs_format::{FileType, Node, XattrIndex};

use crate::counted::Counted;
use crate::image::each_inode;
use crate::model::inode::Inode;
use crate::model::superblock::Model;

/// Names that most directories lack.
const NAMES: &[&[u8]] = &[b"", b".", b"..", b"a", b"zz", b"\xff", &[b'x'; 255]];

/// Attributes that most files lack: number of the prefix, and the rest of the name.
const ATTRIBUTES: &[(XattrIndex, &[u8])] = &[
    (XattrIndex::User, b"a"),
    (XattrIndex::Trusted, b"overlay.opaque"),
    (XattrIndex::Trusted, b"overlay.overlay.opaque"),
    (XattrIndex::Trusted, b"overlay.metacopy"),
    (XattrIndex::PosixAclAccess, b""),
];

/// Reads an image in both ways.
pub(crate) fn compare(bytes: &[u8]) {
    let (fast, slow) = match (Counted::open(bytes), Model::open(bytes)) {
        (Ok(fast), Some(slow)) => (fast, slow),
        (Err(_), None) => return,
        (fast, slow) => panic!("opens: {:?}, model: {}", fast.err(), slow.is_some()),
    };
    slow.compare_superblock(fast.image().superblock());
    each_inode(&fast, &mut |node| compare_inode(&fast, &slow, node));
    // Numbers that are no inode's, most of them.
    let size = bytes.len() as u64;
    for nid in [
        0,
        35,
        36,
        37,
        size / 32 - 2,
        size / 32 - 1,
        size / 32,
        1 << 59,
        u64::MAX,
    ] {
        if let Some(inode) = compare_number(&fast, &slow, nid) {
            compare_inode(&fast, &slow, &inode);
        }
    }
}

/// Reads an inode in both ways, and returns it if it is valid.
fn compare_number(fast: &Counted, slow: &Model, nid: u64) -> Option<Node> {
    match (fast.inode(nid), slow.inode(nid)) {
        (Ok(fast), Some(slow)) => {
            slow.compare(&fast);
            Some(fast.node)
        }
        (Err(_), None) => None,
        (fast, slow) => panic!("inode {nid}: {fast:?}, model: {}", slow.is_some()),
    }
}

fn compare_inode(fast: &Counted, slow: &Model, node: &Node) {
    let inode = slow.inode(node.nid()).expect("the parser accepts it");
    compare_number(fast, slow, node.nid());
    compare_attributes(fast, slow, node, &inode);
    match node.file_type() {
        FileType::Directory => compare_directory(fast, slow, node, &inode),
        FileType::Regular | FileType::Symlink if !node.is_external() => {
            let content = slow.content(&inode);
            let bad = inode.file_type == FileType::Symlink && content.contains(&0);
            let expected = (!bad).then_some(&content);
            assert_eq!(fast.content(node, 4096).as_ref().ok(), expected);
            assert_eq!(fast.content(node, 20_000).as_ref().ok(), expected);
            if !bad {
                let half = content.len() / 2;
                assert_eq!(
                    fast.data(node, half as u64, 9).as_deref(),
                    Ok(&content[half..content.len().min(half + 9)])
                );
            }
        }
        _ => assert!(fast.list(node, 0, 1).end.is_err()),
    }
}

fn compare_directory(fast: &Counted, slow: &Model, node: &Node, inode: &Inode) {
    let listing = slow.list(inode);
    let shown: Vec<_> = listing
        .entries
        .iter()
        .filter(|entry| !entry.whiteout)
        .collect();
    let whole = fast.list(node, 0, usize::MAX);
    assert_eq!(whole.parts.len(), shown.len());
    for (entry, expected) in whole.parts.iter().zip(&shown) {
        expected.compare(entry);
    }
    assert_eq!(whole.end.is_ok(), listing.fault.is_none());
    if listing.fault.is_none() {
        assert_eq!(whole.end, Ok(node.size()));
        // From the middle on, the same comes.
        if let Some(middle) = shown.get(shown.len() / 2) {
            let rest = fast
                .list(node, middle.pos.saturating_sub(11), usize::MAX)
                .parts;
            assert_eq!(rest, whole.parts[shown.len() / 2..]);
        }
    }

    let stored = slow.stored(inode);
    let mut names: Vec<Vec<u8>> = NAMES.iter().map(|name| name.to_vec()).collect();
    for entry in listing.entries.iter().take(40) {
        let mut longer = entry.name.clone();
        longer.push(b'0');
        names.extend([entry.name.clone(), longer, entry.name[1..].to_vec()]);
    }
    for name in names {
        let found = fast.lookup(node, &name);
        if listing.fault.is_none() && listing.sorted {
            let entry = shown.iter().find(|entry| entry.name == name);
            let found = found.expect("the directory is valid");
            assert_eq!(found.map(|found| found.nid), entry.map(|entry| entry.nid));
            assert_eq!(
                found.map(|found| found.file_type),
                entry.map(|entry| entry.file_type)
            );
        } else if let Ok(Some(found)) = found {
            assert!(stored.contains(&(name, found.nid, found.file_type)));
        }
    }
}

fn compare_attributes(fast: &Counted, slow: &Model, node: &Node, inode: &Inode) {
    let (attributes, fault) = slow.attributes(inode);
    // Names are looked at only by those that hand them out.
    let bad = attributes
        .iter()
        .position(|attribute| attribute.index > 6 || attribute.name.contains(&0));
    let good = &attributes[..bad.unwrap_or(attributes.len())];
    let listed = fast.list_xattrs(node);
    assert_eq!(listed.parts.len(), good.len());
    for (attribute, expected) in listed.parts.iter().zip(good) {
        assert_eq!(attribute.index as u8, expected.index);
        assert_eq!(attribute.name, expected.name);
        assert_eq!(
            fast.read_xattr(&attribute.value).as_ref(),
            Ok(&expected.value)
        );
    }
    assert_eq!(listed.end.is_ok(), bad.is_none() && !fault);

    let wanted = listed
        .parts
        .iter()
        .take(60)
        .map(|one| (one.index, &one.name[..]));
    for (index, name) in wanted.chain(ATTRIBUTES.iter().copied()) {
        let value = |found| match found {
            Ok(None) => Ok(None),
            Ok(Some(value)) => fast.read_xattr(&value).map(Some),
            Err(error) => Err(error),
        };
        let found = value(fast.xattr(node, index, name));
        assert_eq!(
            found.ok(),
            slow.search(inode, &attributes, fault, index, name)
        );
        let stored = match name.strip_prefix(b"overlay.") {
            Some(rest) if index == XattrIndex::Trusted => [b"overlay.overlay.", rest].concat(),
            _ => name.to_vec(),
        };
        let found = fast.visible_xattr(node, index, name);
        assert_eq!(
            found.ok(),
            slow.search(inode, &attributes, fault, index, &stored)
        );
    }

    let external = fast.external(node);
    if node.is_external() {
        let expected = slow.external(&attributes, fault);
        let found = external.ok().map(|external| {
            let external = external.expect("it is external");
            let redirect = external
                .redirect
                .map(|path| fast.read_xattr(&path).expect("it was checked"));
            (
                external.digest.map(|digest| digest.as_bytes().to_vec()),
                redirect,
            )
        });
        assert_eq!(found, expected);
        // It does not look for the redirect, and a file without attributes has no digest.
        let expected = if node.has_xattrs() {
            slow.digest(&attributes).map(|digest| digest.is_some())
        } else {
            Some(false)
        };
        assert_eq!(fast.has_digest(node).ok(), expected);
    } else {
        assert_eq!(external, Ok(None));
    }
}
