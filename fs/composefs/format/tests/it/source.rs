// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Sources that fail, or whose blocks are more than slices.

use std::cell::Cell;
use std::ops::Deref;

use composefs_format::{Error, Image, Source, BLOCK_SIZE};

use crate::support::file;

#[derive(Debug, PartialEq)]
enum Failure {
    Io,
    Format(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Format(error)
    }
}

/// A source that counts the blocks which are held, and fails after so many reads.
struct Counting {
    bytes: Vec<u8>,
    size: u64,
    reads: Cell<u64>,
    held: Cell<u64>,
    most: Cell<u64>,
}

struct Held<'a>(&'a Counting, Vec<u8>);

impl Deref for Held<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.1
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.set(self.0.held.get() - 1);
    }
}

impl Source for Counting {
    type Error = Failure;
    type Block<'a> = Held<'a>;

    fn size(&self) -> u64 {
        self.size
    }

    fn block(&self, index: u64) -> Result<Held<'_>, Failure> {
        if self.reads.get() == 0 {
            return Err(Failure::Io);
        }
        self.reads.set(self.reads.get() - 1);
        self.held.set(self.held.get() + 1);
        self.most.set(self.most.get().max(self.held.get()));
        let start = self.bytes.len().min((index * BLOCK_SIZE) as usize);
        let end = self.bytes.len().min(start + BLOCK_SIZE as usize);
        Ok(Held(self, self.bytes[start..end].to_vec()))
    }
}

fn counting(len: usize) -> Counting {
    let mut bytes = file("c-v0.img");
    let size = bytes.len() as u64;
    bytes.truncate(len);
    Counting {
        bytes,
        size,
        reads: Cell::new(u64::MAX),
        held: Cell::new(0),
        most: Cell::new(0),
    }
}

/// Uses the image in every way there is.
fn use_all(image: &Image<Counting>) -> Result<(), Failure> {
    let mut nids = Vec::new();
    let mut queue = vec![image.root()];
    while let Some(nid) = queue.pop() {
        let node = image.inode(nid)?.node;
        image.lookup(&node, b"external")?;
        image.read_dir(&node, 0, &mut |entry| {
            let below = !entry.name.starts_with(b".") && entry.file_type.dt() == 4;
            if below { &mut queue } else { &mut nids }.push(entry.nid);
            true
        })?;
    }
    for nid in nids {
        let node = image.inode(nid)?.node;
        let mut values = Vec::new();
        image.list_xattrs(&node, &mut |_, _, value| {
            values.push(value);
            true
        })?;
        for value in values {
            image.read_xattr(&value, &mut [0; 9100])?;
        }
        image.read_visible_xattr(
            &node,
            composefs_format::XattrIndex::Trusted,
            b"overlay.opaque",
            &mut composefs_format::XattrFilter::default(),
            &mut [0; 9100],
        )?;
        if image.external(&node)?.is_none() {
            image.read_data(&node, 0, &mut [0; 5000])?;
        }
    }
    Ok(())
}

#[test]
fn few_blocks_are_held_at_once() {
    let image = Image::open(counting(usize::MAX)).unwrap_or_else(|error| panic!("{error:?}"));
    use_all(&image).unwrap();
    assert_eq!(image.source().held.get(), 0);
    assert!(image.source().most.get() <= 2);
}

#[test]
fn errors_of_the_source_come_through() {
    let whole = counting(usize::MAX);
    let image = Image::open(whole).unwrap_or_else(|error| panic!("{error:?}"));
    let before = image.source().reads.get();
    use_all(&image).unwrap();
    let needed = before - image.source().reads.get();
    assert!(needed > 100);
    for reads in (0..needed).step_by(13) {
        image.source().reads.set(reads);
        assert_eq!(use_all(&image), Err(Failure::Io));
    }
    for reads in 0..2 {
        let source = counting(usize::MAX);
        source.reads.set(reads);
        assert_eq!(Image::open(source).err(), Some(Failure::Io));
    }
}

#[test]
fn an_image_that_shrinks_is_noticed() {
    let short = Failure::Format(Error::Corrupt("image is shorter than it was when opened"));
    let len = file("c-v0.img").len();
    let mut noticed = 0;
    for len in (1184..len).step_by(61) {
        let image = match Image::open(counting(len)) {
            Ok(image) => image,
            Err(error) => {
                assert_eq!(error, short);
                continue;
            }
        };
        match use_all(&image) {
            Ok(()) => {}
            Err(Failure::Format(_)) => noticed += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(noticed > 500);
}
