// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! What the tests share.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use composefs_format::{Error, FileType, Image, Inode, Node, Source, XattrIndex, BLOCK_SIZE};

/// Every image in `tests/images`, with the dump that it was made from.
pub const IMAGES: &[(&str, &str)] = &[
    ("c-v0.img", "tree.dump"),
    ("c-v0-large.img", "large.dump"),
    ("c-v1-whiteouts.img", "whiteouts.dump"),
    ("rs-v1-sha512.img", "tree-sha512.dump"),
    ("rs-v2-sha256.img", "tree.dump"),
    ("rs-v2-sha512.img", "tree-sha512.dump"),
    ("rs-v2-whiteouts.img", "whiteouts.dump"),
];

/// The prefixes by their numbers.
pub const INDEXES: [XattrIndex; 7] = [
    XattrIndex::Unprefixed,
    XattrIndex::User,
    XattrIndex::PosixAclAccess,
    XattrIndex::PosixAclDefault,
    XattrIndex::Trusted,
    XattrIndex::Lustre,
    XattrIndex::Security,
];

/// The bytes of a file in `tests/images`.
pub fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/images")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An image in memory.
pub struct Memory {
    pub bytes: Vec<u8>,
    /// How many blocks have been asked for.
    pub fetched: Cell<u64>,
    /// Which of the first 64 blocks have been, one bit each.
    pub touched: Cell<u64>,
}

impl Memory {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            fetched: Cell::new(0),
            touched: Cell::new(0),
        }
    }
}

impl Source for Memory {
    type Error = Error;
    type Block<'a> = &'a [u8];

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn block(&self, index: u64) -> Result<&[u8], Error> {
        self.fetched.set(self.fetched.get() + 1);
        self.touched.set(self.touched.get() | 1 << index.min(63));
        let start = usize::try_from(index * BLOCK_SIZE).unwrap();
        assert!(start < self.bytes.len(), "block {index} is past the end");
        let end = self.bytes.len().min(start + BLOCK_SIZE as usize);
        Ok(&self.bytes[start..end])
    }
}

pub fn open(bytes: Vec<u8>) -> Result<Image<Memory>, Error> {
    Image::open(Memory::new(bytes))
}

/// A test image, which must be valid.
pub fn image(name: &str) -> Image<Memory> {
    open(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub fn root(image: &Image<Memory>) -> Node {
    image.inode(image.root()).unwrap().node
}

/// The node that `path`, without a leading slash, leads to.
pub fn find(image: &Image<Memory>, path: &str) -> Inode {
    let mut inode = image.inode(image.root()).unwrap();
    for name in path.split('/') {
        let entry = image.lookup(&inode.node, name.as_bytes()).unwrap();
        let entry = entry.unwrap_or_else(|| panic!("{path}: no {name}"));
        inode = image.inode(entry.nid).unwrap();
    }
    inode
}

/// An entry of a directory, of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: Vec<u8>,
    pub nid: u64,
    pub file_type: FileType,
    pub pos: u64,
}

/// The entries of `dir` from `pos` on, `max` at most, and where to go on.
pub fn list(
    image: &Image<Memory>,
    dir: &Node,
    pos: u64,
    max: usize,
) -> Result<(Vec<Listed>, u64), Error> {
    let mut entries = Vec::new();
    let end = image.read_dir(dir, pos, &mut |entry| {
        if entries.len() == max {
            return false;
        }
        entries.push(Listed {
            name: entry.name.to_vec(),
            nid: entry.nid,
            file_type: entry.file_type,
            pos: entry.pos,
        });
        true
    })?;
    Ok((entries, end))
}

/// Values of attributes by prefix and rest of the name.
pub type Xattrs = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

/// All stored attributes of an inode.
pub fn xattrs(image: &Image<Memory>, node: &Node) -> Result<Xattrs, Error> {
    let mut found = Vec::new();
    image.list_xattrs(node, &mut |index, name, value| {
        found.push((index, name.to_vec(), value));
        true
    })?;
    let mut all = Xattrs::new();
    for (index, name, value) in found {
        let mut bytes = vec![0; value.len()];
        assert_eq!(image.read_xattr(&value, &mut bytes)?, bytes.len());
        all.insert((index as u8, name), bytes);
    }
    Ok(all)
}

/// The content of `node`, read in pieces of `step` bytes.
pub fn content(image: &Image<Memory>, node: &Node, step: usize) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    loop {
        let mut piece = vec![0; step];
        let copied = image.read_data(node, all.len() as u64, &mut piece)?;
        all.extend_from_slice(&piece[..copied]);
        if copied < step {
            return Ok(all);
        }
    }
}

/// Uses inode `nid` in every way. Returns how many calls failed, and the inodes that it names.
///
/// Every call must end after fetching about as many blocks as it can have use for.
pub fn exercise(image: &Image<Memory>, nid: u64) -> (usize, Vec<u64>) {
    let mut names = Vec::new();
    let Ok(inode) = image.inode(nid) else {
        return (1, names);
    };
    let node = inode.node;
    let fetched = &image.source().fetched;
    let blocks = image.source().size() / BLOCK_SIZE;
    let mut failures = 0;

    let before = fetched.get();
    failures += usize::from(xattrs(image, &node).is_err());
    for (index, name) in [
        (XattrIndex::User, &b"a"[..]),
        (XattrIndex::Trusted, b"overlay.overlay.opaque"),
    ] {
        failures += usize::from(image.xattr(&node, index, name).is_err());
    }
    failures += usize::from(image.external(&node).is_err());
    let used = fetched.get() - before;
    // A list and three searches: the own attributes once each, and 255 shared ones of 64 KiB.
    assert!(used <= 4 * (blocks + 255 * 18), "{used} blocks");

    let before = fetched.get();
    match node.file_type() {
        FileType::Directory => {
            failures += usize::from(image.lookup(&node, b"many").is_err());
            match list(image, &node, 0, usize::MAX) {
                Ok((entries, _)) => names.extend(entries.iter().map(|entry| entry.nid)),
                Err(_) => failures += 1,
            }
            let used = fetched.get() - before;
            // The blocks of the directory, and the inodes of whiteouts, each at least 13 bytes of it.
            assert!(used <= 2 * blocks + node.size() / 13, "{used} blocks");
        }
        FileType::Regular | FileType::Symlink if !node.is_external() => {
            failures += usize::from(content(image, &node, 8000).is_err());
            let used = fetched.get() - before;
            // At most three blocks for each piece.
            assert!(used <= 2 * blocks + 2, "{used} blocks");
        }
        _ => {}
    }
    (failures, names)
}

/// Uses these inodes and all that can be reached from them but those `seen`. Returns how many calls failed.
pub fn exercise_all(image: &Image<Memory>, from: &[u64], seen: &mut BTreeSet<u64>) -> usize {
    let mut failures = 0;
    let mut queue = from.to_vec();
    while let Some(nid) = queue.pop() {
        if seen.insert(nid) {
            let (failed, names) = exercise(image, nid);
            failures += failed;
            queue.extend(names);
        }
    }
    failures
}
