// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Whole trees: what the parser finds in an image is what the dump says that it was made from.

use std::collections::BTreeMap;

use composefs_format::{overlay, Algorithm, FileType, Image, Inode, XattrFilter};

use crate::dump::{self, Line};
use crate::support::{content, file, find, image, list, xattrs, Memory, IMAGES, INDEXES};

/// Every path in an image but the root.
fn walk(image: &Image<Memory>) -> BTreeMap<Vec<u8>, Inode> {
    let mut found = BTreeMap::new();
    let mut queue = vec![(Vec::new(), image.root(), image.root())];
    while let Some((path, nid, parent)) = queue.pop() {
        let dir = image.inode(nid).unwrap().node;
        let (entries, end) = list(image, &dir, 0, usize::MAX).unwrap();
        assert_eq!(end, dir.size());
        let mut dots = 0;
        for entry in entries {
            let inode = image.inode(entry.nid).unwrap();
            assert_eq!(entry.file_type, inode.node.file_type());
            match &entry.name[..] {
                b"." => assert_eq!(entry.nid, nid),
                b".." => assert_eq!(entry.nid, parent),
                name => {
                    let path = [&path[..], b"/", name].concat();
                    if entry.file_type == FileType::Directory {
                        queue.push((path.clone(), entry.nid, nid));
                    }
                    found.insert(path, inode);
                    continue;
                }
            }
            dots += 1;
        }
        assert_eq!(dots, 2);
    }
    found
}

/// The attributes of `inode` by the full names that users see.
fn visible(image: &Image<Memory>, inode: &Inode) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    for ((index, name), value) in xattrs(image, &inode.node).unwrap() {
        let index = INDEXES[usize::from(index)];
        if let Some(name) = overlay::visible_name(index, &name) {
            let mut bytes = vec![0; value.len()];
            let mut filter = XattrFilter::default();
            // The second time the filter is known.
            for _ in 0..2 {
                bytes.fill(0);
                let node = &inode.node;
                let read = image.read_visible_xattr(node, index, name, &mut filter, &mut bytes);
                assert_eq!(read, Ok(Some(value.len())));
                assert_eq!(bytes, value);
            }
            assert_eq!(bytes, value);
            found.insert([index.prefix(), name].concat(), value);
        }
    }
    found
}

fn compare(image: &Image<Memory>, path: &[u8], inode: &Inode, line: &Line) {
    let name = String::from_utf8_lossy(path).into_owned();
    let v2 = image.superblock().composefs_version() == 2;
    let node = &inode.node;
    assert_eq!(inode.mode, line.mode, "{name}");
    assert_eq!((inode.uid, inode.gid), (line.uid, line.gid), "{name}");
    assert_eq!(inode.rdev, line.rdev, "{name}");
    assert_eq!(inode.mtime.sec, line.sec, "{name}");
    // Version 2 has no nanoseconds.
    assert_eq!(inode.mtime.nsec, if v2 { 0 } else { line.nsec }, "{name}");
    if node.file_type() != FileType::Directory {
        assert_eq!(node.size(), line.size, "{name}");
        assert_eq!(inode.nlink, line.nlink, "{name}");
    }
    let mut expected = line.xattrs.clone();
    expected.retain(|key, _| !key.starts_with(b"lustre.") && !key.starts_with(b"system.other"));
    assert_eq!(visible(image, inode), expected, "{name}");

    let external = image.external(node).unwrap();
    assert_eq!(external.is_some(), node.is_external());
    match node.file_type() {
        FileType::Regular if line.size > 0 && line.content.is_none() => {
            let external = external.unwrap_or_else(|| panic!("{name} is not external"));
            let digest = external.digest.map(|digest| digest.to_string());
            assert_eq!(image.has_digest(node), Ok(digest.is_some()), "{name}");
            assert_eq!(digest, line.digest, "{name}");
            let redirect = external.redirect.map(|value| {
                let mut path = vec![0; value.len()];
                image.read_xattr(&value, &mut path).unwrap();
                path
            });
            let payload = line.payload.as_ref();
            let payload = payload.map(|path| [b"/", &path[..]].concat());
            assert_eq!(redirect, payload, "{name}");
            assert!(image.read_data(node, 0, &mut [0]).is_err());
        }
        FileType::Regular | FileType::Symlink => {
            let expected = line.content.as_ref().or(line.payload.as_ref());
            let expected = expected.cloned().unwrap_or_default();
            for step in [1, 7, 4096, 5000, 10000] {
                assert_eq!(content(image, node, step).unwrap(), expected, "{name}");
            }
            assert_eq!(image.read_data(node, u64::MAX, &mut [0]).unwrap(), 0);
        }
        _ => {}
    }
}

#[test]
fn trees_equal_their_dumps() {
    for (name, dump) in IMAGES {
        let image = image(name);
        let text = String::from_utf8(file(dump)).unwrap();
        let mut lines = dump::parse(&text);
        let found = walk(&image);
        // Without its slash the root is named like every other directory: by what its entries' paths begin with.
        let root = lines.remove(&b"/"[..]).unwrap();
        lines.insert(Vec::new(), root);
        whiteouts(&image, &mut lines);
        let root = lines.remove(&b""[..]).unwrap();
        let inode = image.inode(image.root()).unwrap();
        compare(&image, b"", &inode, &root);
        let names: Vec<_> = found.keys().collect();
        assert_eq!(names, lines.keys().collect::<Vec<_>>(), "{name}");
        for (path, inode) in &found {
            compare(&image, path, inode, &lines[path]);
        }
    }
}

/// Changes what a dump says to what becomes of its whiteouts.
fn whiteouts(image: &Image<Memory>, lines: &mut BTreeMap<Vec<u8>, Line>) {
    if image.superblock().composefs_version() == 2 {
        // Stored as they are, hence hidden.
        lines.retain(|_, line| line.mode & 0o170_000 != 0o020_000 || line.rdev != 0);
        return;
    }
    // Escaped, so that an overlay on top of this one sees them.
    let mut parents = Vec::new();
    for (path, line) in lines.iter_mut() {
        if line.mode & 0o170_000 == 0o020_000 && line.rdev == 0 {
            line.mode = 0o100_000 | (line.mode & 0o7777);
            for name in ["trusted.overlay.whiteout", "user.overlay.whiteout"] {
                line.xattrs.insert(name.into(), Vec::new());
            }
            let end = path.iter().rposition(|byte| *byte == b'/').unwrap();
            parents.push(path[..end].to_vec());
        }
    }
    for path in parents {
        let line = lines.get_mut(&path).unwrap();
        for namespace in ["trusted", "user"] {
            let key = format!("{namespace}.overlay.whiteouts");
            line.xattrs.insert(key.into(), Vec::new());
            let key = format!("{namespace}.overlay.opaque");
            line.xattrs.insert(key.into(), b"x".to_vec());
        }
    }
}

#[test]
fn digests_have_the_algorithm_of_the_image() {
    for (name, _) in IMAGES {
        let algorithm = if name.contains("sha512") {
            Algorithm::Sha512
        } else {
            Algorithm::Sha256
        };
        let image = image(name);
        let mut digests = 0;
        for inode in walk(&image).values() {
            let external = image.external(&inode.node).unwrap();
            if let Some(digest) = external.and_then(|external| external.digest) {
                assert_eq!(digest.algorithm(), algorithm, "{name}");
                digests += 1;
            }
        }
        assert!(digests > 0, "{name}");
    }
}

#[test]
fn device_numbers_are_split() {
    let inode = find(&image("c-v0.img"), "char");
    assert_eq!((inode.major(), inode.minor()), (0xabc, 0x12345));
    let inode = find(&image("rs-v2-sha256.img"), "block-device");
    assert_eq!((inode.major(), inode.minor()), (8, 1));
    assert!(!inode.is_whiteout());
}

#[test]
fn hard_links_share_an_inode() {
    for name in ["c-v0.img", "rs-v2-sha256.img"] {
        let image = image(name);
        let original = find(&image, "many/original");
        assert_eq!(original, find(&image, "many/000-"));
        assert_eq!(original.nlink, 201);
    }
}
