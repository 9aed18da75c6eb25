// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The whole parser as machine code: what is generic is used with a source of bytes in memory. What rustc may inline
//! into other crates it does not compile in this one, so every function here says that it may not.
//!
//! Compiled by the test `panic_free`, not by cargo.

#![no_std]
#![forbid(unsafe_code)]
#![allow(missing_docs)]

#[path = "../../mod.rs"]
pub mod format;

use format::{
    basedirs, Digest, DirEntry, Entry, Error, External, FileType, FormattedDigest, Image, Inode,
    InvalidDigest, MalformedSignature, NidSet, Node, Search, Signer, Source, Verity, XattrFilter, XattrIndex, XattrValue, BLOCK_SIZE,
};

pub struct Slice<'a>(&'a [u8]);

impl Source for Slice<'_> {
    type Error = Error;
    type Block<'a>
        = &'a [u8]
    where
        Self: 'a;

    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn block(&self, index: u64) -> Result<&[u8], Error> {
        let start = index.saturating_mul(BLOCK_SIZE) as usize;
        let end = start.saturating_add(BLOCK_SIZE as usize).min(self.0.len());
        self.0.get(start..end).ok_or(Error::Corrupt("source"))
    }
}

#[inline(never)]
pub fn open(bytes: &[u8]) -> Result<Image<Slice<'_>>, Error> {
    Image::open(Slice(bytes))
}

#[inline(never)]
pub fn inode(image: &Image<Slice<'_>>, nid: u64) -> Result<Inode, Error> {
    image.inode(nid)
}

#[inline(never)]
pub fn lookup(
    image: &Image<Slice<'_>>,
    dir: &Node,
    name: &[u8],
) -> Result<Option<DirEntry>, Error> {
    image.lookup(dir, name)
}

#[inline(never)]
pub fn read_dir(
    image: &Image<Slice<'_>>,
    dir: &Node,
    pos: u64,
    emit: &mut dyn FnMut(&Entry<'_>) -> bool,
) -> Result<u64, Error> {
    image.read_dir(dir, pos, emit)
}

#[inline(never)]
pub fn search(
    image: &Image<Slice<'_>>,
    memory: &mut [u8],
    nid: u64,
    unread: &mut dyn FnMut(u64) -> bool,
) -> Result<bool, Error> {
    let mut search = Search::new(image, memory);
    search.read(nid, unread)?;
    Ok(contains(&search.finish(), nid))
}

#[inline(never)]
pub fn contains(set: &NidSet<&mut [u8]>, nid: u64) -> bool {
    set.contains(nid)
}

#[inline(never)]
pub fn read_data(
    image: &Image<Slice<'_>>,
    node: &Node,
    offset: u64,
    out: &mut [u8],
) -> Result<usize, Error> {
    image.read_data(node, offset, out)
}

#[inline(never)]
pub fn xattr(
    image: &Image<Slice<'_>>,
    node: &Node,
    index: XattrIndex,
    name: &[u8],
) -> Result<Option<XattrValue>, Error> {
    image.xattr(node, index, name)
}

#[inline(never)]
pub fn read_visible_xattr(
    image: &Image<Slice<'_>>,
    node: &Node,
    index: XattrIndex,
    name: &[u8],
    filter: &mut XattrFilter,
    out: &mut [u8],
) -> Result<Option<usize>, Error> {
    image.read_visible_xattr(node, index, name, filter, out)
}

#[inline(never)]
pub fn read_xattr(
    image: &Image<Slice<'_>>,
    value: &XattrValue,
    out: &mut [u8],
) -> Result<usize, Error> {
    image.read_xattr(value, out)
}

#[inline(never)]
pub fn list_xattrs(
    image: &Image<Slice<'_>>,
    node: &Node,
    emit: &mut dyn FnMut(XattrIndex, &[u8], XattrValue) -> bool,
) -> Result<(), Error> {
    image.list_xattrs(node, emit)
}

#[inline(never)]
pub fn external(image: &Image<Slice<'_>>, node: &Node) -> Result<Option<External>, Error> {
    image.external(node)
}

#[inline(never)]
pub fn has_digest(image: &Image<Slice<'_>>, node: &Node) -> Result<bool, Error> {
    image.has_digest(node)
}

#[inline(never)]
pub fn parse_hex(text: &[u8]) -> Result<Digest, InvalidDigest> {
    Digest::parse_hex(text)
}

#[inline(never)]
pub fn print(digest: &Digest, to: &mut dyn core::fmt::Write) -> core::fmt::Result {
    write!(to, "{digest} {digest:?}")
}

#[inline(never)]
pub fn visible_name(index: XattrIndex, name: &[u8]) -> Option<&[u8]> {
    format::overlay::visible_name(index, name)
}

#[inline(never)]
pub fn file_type(mode: u16) -> Option<FileType> {
    FileType::from_mode(mode)
}

#[inline(never)]
pub fn formatted_digest(digest: &Digest) -> FormattedDigest {
    FormattedDigest::new(digest)
}

#[inline(never)]
pub fn formatted_digest_of_image(digest: &Digest) -> FormattedDigest {
    FormattedDigest::of_image(digest)
}

#[inline(never)]
pub fn signer(message: &[u8]) -> Result<Signer<'_>, MalformedSignature> {
    Signer::of(message)
}

#[inline(never)]
pub fn show_signer(signer: &Signer<'_>, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
    core::fmt::Display::fmt(signer, f)
}

#[inline(never)]
pub fn split_basedirs(value: &[u8], visit: &mut dyn FnMut(u8)) {
    basedirs::split(value).for_each(|path| path.bytes().for_each(&mut *visit));
}

#[inline(never)]
pub fn join_basedirs(paths: &[&[u8]], visit: &mut dyn FnMut(u8)) {
    basedirs::join(paths.iter().copied()).for_each(visit);
}

#[inline(never)]
pub fn verity(name: &[u8]) -> Option<Verity> {
    Verity::parse(name).or_else(|| Verity::parse_number(name))
}
