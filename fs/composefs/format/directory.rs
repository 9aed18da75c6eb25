// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Directories: blocks of sorted entries, each block beginning with its dirents, the names after them.

use core::cmp::Ordering;

use super::bytes::{compare, field, has_slash_or_nul, le16};
use super::image::View;
use super::source::Window;
use super::{inode, Error, FileType, Image, Node, Source, BLOCK_SIZE};

const DIRENT_SIZE: usize = 12;
const NAME_OFFSET: usize = 8;
const NAME_MAX: usize = 255;

/// What a name in a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Number of the inode.
    pub nid: u64,
    /// Type of the file, as the entry says; [`Image::inode`] has the final word.
    pub file_type: FileType,
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name: 1 to 255 bytes, none of them `/` or NUL.
    pub name: &'a [u8],
    /// Number of the inode.
    pub nid: u64,
    /// Type of the file, as the entry says; [`Image::inode`] has the final word.
    pub file_type: FileType,
    /// Position of the entry in its directory; reading from here on yields it first.
    pub pos: u64,
}

impl<S: Source> Image<S> {
    /// Finds `name` in directory `dir`: a binary search over blocks, each fetched once, then within one.
    ///
    /// A whiteout is a name that does not exist.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if `dir` is no directory or what was looked at is malformed, or the source's.
    pub fn lookup(&self, dir: &Node, name: &[u8]) -> Result<Option<DirEntry>, S::Error> {
        check_directory(dir)?;
        let Some(view) = self.find_block(dir, name)? else {
            return Ok(None);
        };
        let Some(found) = Dirents::new(view.bytes())?.find(name)? else {
            return Ok(None);
        };
        drop(view);
        if found.file_type == FileType::CharDevice
            && is_whiteout(&mut Window::new(self), found.nid)?
        {
            return Ok(None);
        }
        Ok(Some(found))
    }

    /// The last block of `dir` whose first name is not greater than `name`, if any.
    fn find_block(&self, dir: &Node, name: &[u8]) -> Result<Option<View<S::Block<'_>>>, S::Error> {
        let (mut low, mut high) = (0, dir.size().div_ceil(BLOCK_SIZE));
        let mut candidate = None;
        while low < high {
            let middle = u64::midpoint(low, high);
            let view = self.data(dir, middle.saturating_mul(BLOCK_SIZE))?;
            if compare(Dirents::new(view.bytes())?.name(0)?, name).is_le() {
                candidate = Some(view);
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        Ok(candidate)
    }

    /// Calls `emit` for the entries of `dir` from position `pos` on, until it returns false.
    ///
    /// 0 is the position of the first entry. Entries come as they are stored, `.` and `..` among them, but without
    /// whiteouts. Returns the position to go on from: that of the entry which `emit` did not take, or the size of the
    /// directory at its end. A position is the byte offset of a dirent, as in EROFS, so it stays valid for as long as
    /// the image; one within a dirent stands for the next.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if `dir` is no directory or an entry is malformed, or the source's.
    pub fn read_dir(
        &self,
        dir: &Node,
        pos: u64,
        emit: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<u64, S::Error> {
        check_directory(dir)?;
        let mut inodes = Window::new(self);
        let mut pos = pos;
        while pos < dir.size() {
            let start = pos.saturating_sub(pos % BLOCK_SIZE);
            let view = self.data(dir, start)?;
            let dirents = Dirents::new(view.bytes())?;
            let mut index = ((pos % BLOCK_SIZE) as usize).div_ceil(DIRENT_SIZE);
            let mut previous = match index.checked_sub(1) {
                Some(before) if index < dirents.count => dirents.name(before)?,
                _ => b"",
            };
            while index < dirents.count {
                let name = dirents.checked_name(index)?;
                if compare(name, previous).is_le() {
                    return Err(Error::Corrupt("directory entries are not in order").into());
                }
                previous = name;
                let DirEntry { nid, file_type } = dirents.entry(index)?;
                let pos = start.saturating_add(index.saturating_mul(DIRENT_SIZE) as u64);
                let entry = Entry {
                    name,
                    nid,
                    file_type,
                    pos,
                };
                let hidden = file_type == FileType::CharDevice && is_whiteout(&mut inodes, nid)?;
                if !hidden && !emit(&entry) {
                    return Ok(pos);
                }
                index = index.saturating_add(1);
            }
            pos = start.saturating_add(BLOCK_SIZE).min(dir.size());
        }
        Ok(pos)
    }
}

fn check_directory(dir: &Node) -> Result<(), Error> {
    if dir.file_type() == FileType::Directory {
        Ok(())
    } else {
        Err(Error::Corrupt("not a directory"))
    }
}

/// Whether inode `nid`, a character device by its directory entry, is a whiteout.
fn is_whiteout<S: Source>(inodes: &mut Window<'_, S>, nid: u64) -> Result<bool, S::Error> {
    let inode = inode::read(inodes, nid)?;
    if inode.node.file_type() != FileType::CharDevice {
        return Err(Error::Corrupt("directory entry and inode differ in type").into());
    }
    Ok(inode.is_whiteout())
}

/// One block of a directory.
struct Dirents<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Dirents<'a> {
    #[inline]
    fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        // The first name follows the last dirent.
        let names = le16(bytes, NAME_OFFSET).map_or(0, usize::from);
        if names == 0 || names % DIRENT_SIZE != 0 || names >= bytes.len() {
            return Err(Error::Corrupt("directory block has no valid dirents"));
        }
        Ok(Self {
            bytes,
            count: names / DIRENT_SIZE,
        })
    }

    /// The name of dirent `index`, which ends where the next begins; the last ends with the block or at a NUL.
    #[inline]
    fn name(&self, index: usize) -> Result<&'a [u8], Error> {
        const BAD: Error = Error::Corrupt("directory entry name is out of place");

        let at = index
            .saturating_mul(DIRENT_SIZE)
            .saturating_add(NAME_OFFSET);
        let start = le16(self.bytes, at).map(usize::from).ok_or(BAD)?;
        if start < self.count.saturating_mul(DIRENT_SIZE) {
            return Err(BAD);
        }
        let next = index.saturating_add(1);
        let name = if next < self.count {
            let end = le16(self.bytes, at.saturating_add(DIRENT_SIZE)).map(usize::from);
            self.bytes.get(start..end.ok_or(BAD)?).ok_or(BAD)?
        } else {
            let rest = self.bytes.get(start..).ok_or(BAD)?;
            rest.split(|byte| *byte == 0).next().unwrap_or_default()
        };
        if name.is_empty() {
            return Err(Error::Corrupt("directory entry name is empty"));
        }
        if name.len() > NAME_MAX {
            return Err(Error::Corrupt("directory entry name is too long"));
        }
        Ok(name)
    }

    /// The name of dirent `index`, if it has no byte that a name cannot have.
    #[inline]
    fn checked_name(&self, index: usize) -> Result<&'a [u8], Error> {
        let name = self.name(index)?;
        if has_slash_or_nul(name) {
            return Err(Error::Corrupt("directory entry name contains / or NUL"));
        }
        Ok(name)
    }

    /// What dirent `index` stands for.
    #[inline]
    fn entry(&self, index: usize) -> Result<DirEntry, Error> {
        let dirent: [u8; DIRENT_SIZE] = field(self.bytes, index.saturating_mul(DIRENT_SIZE))
            .ok_or(Error::Corrupt("directory entry is out of place"))?;
        let [n0, n1, n2, n3, n4, n5, n6, n7, _, _, file_type, _] = dirent;
        Ok(DirEntry {
            nid: u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7]),
            file_type: FileType::from_dirent(file_type)
                .ok_or(Error::Corrupt("directory entry of no known file type"))?,
        })
    }

    /// Finds `name` in this block.
    #[inline]
    fn find(&self, name: &[u8]) -> Result<Option<DirEntry>, Error> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = usize::midpoint(low, high);
            match compare(self.name(middle)?, name) {
                Ordering::Less => low = middle.saturating_add(1),
                Ordering::Equal => return self.entry(middle).map(Some),
                Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }
}
