// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Extended attributes and what external files have in them.

use std::collections::BTreeMap;

use composefs_format::{Algorithm, Error, External, Image, Node, XattrFilter, XattrIndex};

use crate::builder::{external, xattr, xattr_area, Builder, New, CHUNKS, EXTENDED, PLAIN};
use crate::support::{image, open, xattrs, Memory, IMAGES, INDEXES};

fn value(image: &Image<Memory>, node: &Node, name: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let Some(value) = image.xattr(node, XattrIndex::User, name)? else {
        return Ok(None);
    };
    let mut bytes = vec![0; value.len()];
    assert_eq!(image.read_xattr(&value, &mut bytes)?, bytes.len());
    Ok(Some(bytes))
}

/// A file with these attributes of its own at `offset` in its block.
fn file_at(offset: usize, own: &[Vec<u8>]) -> (Image<Memory>, Node) {
    let mut builder = Builder::new();
    let mut new = New::file(PLAIN | EXTENDED, 0);
    new.xattrs = xattr_area(&[], own);
    let nid = builder.inode_at(offset, &new);
    let image = open(builder.finish(&[])).unwrap();
    let node = image.inode(nid).unwrap().node;
    (image, node)
}

#[test]
fn every_prefix_has_its_number() {
    let own = [0, 1, 2, 3, 4, 5, 6].map(|number| xattr(number, b"x", b"v"));
    let (image, node) = file_at(1152, &own);
    let mut listed = Vec::new();
    let emit = &mut |index, _: &[u8], _| {
        listed.push(index);
        true
    };
    image.list_xattrs(&node, emit).unwrap();
    assert_eq!(listed, INDEXES);
}

#[test]
fn listed_attributes_are_found() {
    for (name, _) in IMAGES {
        let image = image(name);
        let mut count = 0;
        for nid in 36..image.source().bytes.len() as u64 / 32 {
            // Not every slot is an inode; what looks like one will do.
            let Ok(inode) = image.inode(nid) else {
                continue;
            };
            let Ok(all) = xattrs(&image, &inode.node) else {
                continue;
            };
            for ((index, name), bytes) in all {
                let index = INDEXES[usize::from(index)];
                let found = image.xattr(&inode.node, index, &name).unwrap();
                assert_eq!(found.map(|value| value.len()), Some(bytes.len()));
                let other = [&name[..], b"~"].concat();
                assert_eq!(image.xattr(&inode.node, index, &other), Ok(None));
                count += 1;
            }
        }
        assert!(count > 3, "{name}");
    }
}

#[test]
fn names_and_values_may_straddle_blocks() {
    let name = [b'n'; 255];
    // Moves the second entry by 4 bytes at a time across the end of the block.
    for fill in (0..1100).step_by(4) {
        let own = [
            xattr(1, b"f", &vec![b'f'; fill]),
            xattr(1, &name, &[b'v'; 300]),
            xattr(1, b"last", b"l"),
        ];
        let (image, node) = file_at(4096 - 1024, &own);
        let expected: BTreeMap<_, _> = [
            ((1, b"f".to_vec()), vec![b'f'; fill]),
            ((1, name.to_vec()), vec![b'v'; 300]),
            ((1, b"last".to_vec()), b"l".to_vec()),
        ]
        .into();
        assert_eq!(xattrs(&image, &node).unwrap(), expected);
        assert_eq!(value(&image, &node, &name), Ok(Some(vec![b'v'; 300])));
        let mut other = name;
        other[254] = b'o';
        assert_eq!(value(&image, &node, &other), Ok(None));
        assert_eq!(value(&image, &node, b"last"), Ok(Some(b"l".to_vec())));
    }
}

#[test]
fn values_have_up_to_65535_bytes() {
    let large: Vec<u8> = (0..65_535_u32).map(|at| ((at * at) >> 3) as u8).collect();
    for offset in [0, 4064] {
        let own = [xattr(1, b"large", &large), xattr(1, b"after", b"a")];
        let (image, node) = file_at(offset, &own);
        assert_eq!(value(&image, &node, b"large").unwrap().unwrap(), large);
        assert_eq!(value(&image, &node, b"after"), Ok(Some(b"a".to_vec())));
        // A shorter buffer gets the start.
        let found = image.xattr(&node, XattrIndex::User, b"large").unwrap();
        let mut start = [0; 5000];
        assert_eq!(image.read_xattr(&found.unwrap(), &mut start), Ok(5000));
        assert_eq!(start[..], large[..5000]);
        assert_eq!(image.read_xattr(&found.unwrap(), &mut []), Ok(0));
    }
}

#[test]
fn an_inode_may_have_as_many_as_its_count_can_tell() {
    // 65,534 words after the header.
    let own: Vec<_> = (0..3)
        .map(|i| xattr(1, &[b'a' + i], &[i; 65_535]))
        .collect();
    let mut area = xattr_area(&[], &own);
    area.extend(xattr(
        1,
        b"rest",
        &vec![9; 12 + 65_534 * 4 - area.len() - 8],
    ));
    let mut new = New::file(PLAIN, 0);
    new.xattrs = area;
    let (image, node) = Builder::single(&new);
    assert_eq!(xattrs(&image, &node).unwrap().len(), 4);
    assert_eq!(value(&image, &node, b"c").unwrap().unwrap(), [2; 65_535]);
}

/// Two files with shared attributes that are stored from block 1 on: a filler, then one of 65,535 bytes.
fn shared(fill: usize, xattr_block: u32) -> (Image<Memory>, Node) {
    let mut builder = Builder::new();
    let first = xattr(1, b"first", &vec![b'1'; fill]);
    let second = (first.len() / 4) as u32;
    let area = [first, xattr(1, b"second", &[b'2'; 65_535])].concat();
    assert_eq!(builder.blocks(&area), 1);
    builder.put(1024 + 44, &xattr_block.to_le_bytes());
    let base = (1 - xattr_block) * 1024;
    let mut new = New::file(PLAIN, 0);
    new.xattrs = xattr_area(&[base + second, base], &[xattr(1, b"own", b"o")]);
    let nid = builder.inode(&new);
    let image = open(builder.finish(&[])).unwrap();
    let node = image.inode(nid).unwrap().node;
    (image, node)
}

#[test]
fn shared_attributes_are_found() {
    for fill in [0, 4071, 4075, 4079, 4083, 4087] {
        for block in [0, 1] {
            let (image, node) = shared(fill, block);
            assert_eq!(value(&image, &node, b"own"), Ok(Some(b"o".to_vec())));
            let first = value(&image, &node, b"first").unwrap().unwrap();
            assert_eq!(first, vec![b'1'; fill]);
            let second = value(&image, &node, b"second").unwrap().unwrap();
            assert_eq!(second, [b'2'; 65_535]);
            assert_eq!(value(&image, &node, b"third"), Ok(None));
            let mut names = Vec::new();
            let emit = &mut |_, name: &[u8], _| {
                names.push(name.to_vec());
                names.len() < 3
            };
            image.list_xattrs(&node, emit).unwrap();
            assert_eq!(names, [&b"own"[..], b"second", b"first"]);
        }
    }
}

#[test]
fn up_to_255_attributes_are_shared() {
    let mut builder = Builder::new();
    let entries: Vec<_> = (0..255_u8)
        .map(|i| xattr(1, &[b'x', i | 1], &[i]))
        .collect();
    builder.blocks(&entries.concat());
    builder.put(1024 + 44, &1_u32.to_le_bytes());
    let ids: Vec<_> = (0..255).map(|i| i * 2).collect();
    let mut new = New::file(PLAIN, 0);
    new.xattrs = xattr_area(&ids, &[]);
    let nid = builder.inode(&new);
    let image = open(builder.finish(&[])).unwrap();
    let node = image.inode(nid).unwrap().node;
    let mut count = 0;
    let emit = &mut |_, _: &[u8], _| {
        count += 1;
        true
    };
    image.list_xattrs(&node, emit).unwrap();
    assert_eq!(count, 255);
    // Of two with one name the first counts.
    assert_eq!(value(&image, &node, &[b'x', 255]), Ok(Some(vec![254])));
}

#[test]
fn filters_are_believed_where_they_mean_something() {
    let bit = XattrIndex::User.filter_bit(b"there");
    // The bits that the kernel's EROFS knows by heart, for a file without ACLs.
    assert_eq!(XattrIndex::PosixAclAccess.filter_bit(b""), 30);
    assert_eq!(XattrIndex::PosixAclDefault.filter_bit(b""), 21);
    for (stored, feature, reserved, found) in [
        (0, 6, 0, true),
        (!(1 << bit), 6, 0, true),
        (1 << bit, 6, 0, false),
        (u32::MAX, 6, 0, false),
        (u32::MAX, 2, 0, true),
        (u32::MAX, 6, 1, true),
    ] {
        let mut builder = Builder::new();
        builder.put(1024 + 8, &[feature]);
        builder.put(1024 + 104, &[reserved]);
        let mut new = New::file(PLAIN, 0);
        new.xattrs = xattr_area(&[], &[xattr(1, b"there", b"v")]);
        new.xattrs[..4].copy_from_slice(&stored.to_le_bytes());
        let nid = builder.inode(&new);
        let image = open(builder.finish(&[])).unwrap();
        let node = image.inode(nid).unwrap().node;
        assert_eq!(value(&image, &node, b"there").unwrap().is_some(), found);
        let mut filter = XattrFilter::default();
        for _ in 0..2 {
            let index = XattrIndex::User;
            let read = image.read_visible_xattr(&node, index, b"there", &mut filter, &mut []);
            assert_eq!(read.unwrap().is_some(), found);
            let bits = if (feature, reserved) == (6, 0) {
                stored
            } else {
                0
            };
            assert_eq!(filter, XattrFilter::from_bits(bits));
            assert_eq!(filter.bits(), bits);
        }
        assert_eq!(xattrs(&image, &node).unwrap().len(), 1);
    }
}

#[test]
fn malformed_attributes_are_refused() {
    // The shared one is where nothing is: it has no name and no value.
    let area = xattr_area(&[512], &[xattr(1, b"name", b"value")]);
    let past = Error::Corrupt("reference to a place past the end of the image");
    let cases: &[(usize, &[u8], Error, bool)] = &[
        (
            4,
            &[6],
            Error::Corrupt("inode has no room for its shared attributes"),
            true,
        ),
        (
            4,
            &[255],
            Error::Corrupt("inode has no room for its shared attributes"),
            true,
        ),
        (
            16,
            &[255],
            Error::Corrupt("attribute reaches past its inode"),
            true,
        ),
        (
            18,
            &[9],
            Error::Corrupt("attribute reaches past its inode"),
            true,
        ),
        (
            19,
            &[255],
            Error::Corrupt("attribute reaches past its inode"),
            true,
        ),
        (12, &[255; 4], past, true),
        (
            17,
            &[7],
            Error::Corrupt("attribute name has an unknown prefix"),
            false,
        ),
        (
            17,
            &[0x80],
            Error::Corrupt("attribute name has an unknown prefix"),
            false,
        ),
        (
            21,
            &[0],
            Error::Corrupt("attribute name contains a NUL"),
            false,
        ),
    ];
    for (at, bytes, error, both) in cases {
        let mut new = New::file(PLAIN, 0);
        new.xattrs.clone_from(&area);
        new.xattrs[*at..*at + bytes.len()].copy_from_slice(bytes);
        let (image, node) = Builder::single(&new);
        assert_eq!(xattrs(&image, &node), Err(*error), "{at} {bytes:?}");
        let found = value(&image, &node, b"absent");
        assert_eq!(found, if *both { Err(*error) } else { Ok(None) });
    }
}

#[test]
fn shared_attributes_lie_in_the_image() {
    let end = Error::Corrupt("shared attribute reaches past the image");
    // In the last 8 bytes of the image there is room for a header and 4 bytes.
    for (name, value, result) in [
        (&b"user"[..], &b""[..], Ok(1)),
        (b"use", b"r", Ok(1)),
        (b"users", b"", Err(end)),
        (b"user", b"!", Err(end)),
        (b"", &[0; 65_535], Err(end)),
    ] {
        let mut builder = Builder::new();
        let mut new = New::file(PLAIN, 0);
        new.xattrs = xattr_area(&[1024 - 2], &[]);
        let nid = builder.inode(&new);
        builder.bytes.resize(4096 - 8, 0);
        builder.bytes.extend(xattr(1, name, value));
        builder.bytes.truncate(4096);
        let image = open(builder.finish(&[])).unwrap();
        let node = image.inode(nid).unwrap().node;
        assert_eq!(xattrs(&image, &node).map(|all| all.len()), result);
    }
}

fn parts(metacopy: &[u8], redirect: &[u8]) -> Result<Option<External>, Error> {
    let mut new = New::file(CHUNKS, 10);
    new.xattrs = external(metacopy, redirect);
    let (image, node) = Builder::single(&new);
    image.external(&node)
}

#[test]
fn external_files_are_checked() {
    let sha256 = [&[0, 36, 0, 1][..], &[7; 32]].concat();
    let sha512 = [&[0, 68, 0, 2][..], &[8; 64]].concat();
    let path = b"/ab/cdef";
    let digest = |metacopy: &[u8]| parts(metacopy, path).map(|parts| parts.unwrap().digest);
    let found = digest(&sha256).unwrap().unwrap();
    assert_eq!(found.algorithm(), Algorithm::Sha256);
    assert_eq!(found.as_bytes(), [7; 32]);
    let found = digest(&sha512).unwrap().unwrap();
    assert_eq!(found.algorithm(), Algorithm::Sha512);
    assert_eq!(found.as_bytes(), [8; 64]);
    assert_eq!(digest(&[]), Ok(None));
    assert_eq!(digest(&[0, 4, 0, 0]), Ok(None));

    let wrong = |at: usize, byte: u8| {
        let mut metacopy = sha256.clone();
        metacopy[at] = byte;
        digest(&metacopy).unwrap_err().reason()
    };
    assert_eq!(wrong(0, 1), "metacopy of an unknown version");
    assert_eq!(wrong(1, 37), "metacopy has the wrong length");
    assert_eq!(wrong(2, 1), "metacopy of an unknown version");
    assert_eq!(wrong(3, 0), "metacopy has an unknown digest algorithm");
    assert_eq!(wrong(3, 2), "metacopy has a digest of the wrong length");
    assert_eq!(wrong(3, 3), "metacopy has an unknown digest algorithm");
    let reason = |metacopy: &[u8]| digest(metacopy).unwrap_err().reason();
    assert_eq!(reason(&[0]), "metacopy is too short");
    assert_eq!(reason(&[0, 3, 0]), "metacopy is too short");
    assert_eq!(
        reason(&[0, 4, 0, 1]),
        "metacopy has a digest of the wrong length"
    );
    assert_eq!(reason(&[0; 69]), "metacopy is too long");

    let redirect = |path: &[u8]| parts(&sha256, path).map(|_| ()).map_err(|e| e.reason());
    assert_eq!(redirect(path), Ok(()));
    assert_eq!(redirect(&[&b"/"[..], &[b'p'; 4094]].concat()), Ok(()));
    assert_eq!(redirect(b""), Err("redirect is empty or too long"));
    let long = [&b"/"[..], &[b'p'; 4095]].concat();
    assert_eq!(redirect(&long), Err("redirect is empty or too long"));
    assert_eq!(redirect(b"ab/cd"), Err("redirect is not absolute"));
    assert_eq!(redirect(b"/ab\0cd"), Err("redirect contains a NUL"));
    let nul = [&long[..4094], b"\0"].concat();
    assert_eq!(redirect(&nul), Err("redirect contains a NUL"));
}

#[test]
fn external_files_need_metacopy_only() {
    let missing = Error::Corrupt("external file without metacopy");
    let only = |own: &[Vec<u8>]| {
        let mut new = New::file(CHUNKS, 10);
        if !own.is_empty() {
            new.xattrs = xattr_area(&[], own);
        }
        let (image, node) = Builder::single(&new);
        image.external(&node)
    };
    assert_eq!(only(&[]), Err(missing));
    assert_eq!(only(&[xattr(4, b"overlay.redirect", b"/a")]), Err(missing));
    // Right names, wrong namespace.
    assert_eq!(only(&[xattr(1, b"overlay.metacopy", b"")]), Err(missing));
    let found = only(&[xattr(4, b"overlay.metacopy", b"")])
        .unwrap()
        .unwrap();
    assert_eq!((found.digest, found.redirect), (None, None));

    let mut new = New::file(PLAIN, 0);
    new.xattrs = external(b"", b"/a");
    let (image, node) = Builder::single(&new);
    assert_eq!(image.external(&node), Ok(None));
}

#[test]
fn external_files_may_have_other_attributes() {
    let digest = [&[0, 36, 0, 1][..], &[7; 32]].concat();
    let (trusted, user) = (XattrIndex::Trusted as u8, XattrIndex::User as u8);
    let mut new = New::file(CHUNKS, 10);
    let own = [
        xattr(user, b"overlay.metacopy", b""),
        xattr(trusted, b"overlay.opaque", b"y"),
        xattr(trusted, b"overlay.metacopy", &digest),
        xattr(trusted, b"overlay.redirect", b"/ab"),
    ];
    new.xattrs = xattr_area(&[], &own);
    let (image, node) = Builder::single(&new);
    let found = image.external(&node).unwrap().unwrap();
    assert_eq!(found.digest.unwrap().as_bytes(), [7; 32]);
    assert_eq!(found.redirect.unwrap().len(), 3);
    assert_eq!(image.has_digest(&node), Ok(true));
}
