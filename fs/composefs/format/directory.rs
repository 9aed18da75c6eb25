// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Directories: blocks of sorted entries, each block beginning with its dirents, the names after
//! them.

use core::cmp::Ordering;

use super::bytes::{compare, has_slash_or_nul};
use super::disk::dirent::{self, at, NAME_MAX};
use super::disk::Field;
use super::image::View;
use super::source::Window;
use super::{inode, Error, FileType, Image, Node, Source, BLOCK_SIZE};

const DIRENT_SIZE: usize = dirent::SIZE;
/// Where the name of the next dirent is, which is where that of this one ends.
const NEXT_NAME: Field<u16> = Field::at(DIRENT_SIZE + at::NAME.offset());

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
    /// Finds `name` in directory `dir`: a binary search over blocks, each fetched once, then within
    /// one.
    ///
    /// A whiteout is a name that does not exist.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if `dir` is no directory or what was looked at is malformed, or the
    /// source's.
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
            let dirents = Dirents::new(view.bytes())?;
            if compare(dirents.name(dirents.table)?, name).is_le() {
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
    /// 0 is the position of the first entry. Entries come as they are stored, `.` and `..` among
    /// them, but without whiteouts. Returns the position to go on from: that of the entry which
    /// `emit` did not take, or the size of the directory at its end. A position is the byte offset
    /// of a dirent, as in EROFS, so it stays valid for as long as the image; one within a dirent
    /// stands for the next.
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
            let index = ((pos % BLOCK_SIZE) as usize).div_ceil(DIRENT_SIZE);
            let mut rest = dirents.starting_at(index);
            let mut previous = match index.checked_sub(1) {
                Some(before) if !rest.is_empty() => dirents.name(dirents.starting_at(before))?,
                _ => b"",
            };
            pos = start.saturating_add(index.saturating_mul(DIRENT_SIZE) as u64);
            while let Some((dirent, after)) = rest.split_first_chunk() {
                let name = dirents.name(rest)?;
                if has_slash_or_nul(name) {
                    return Err(Error::Corrupt("directory entry name contains / or NUL").into());
                }
                if compare(name, previous).is_le() {
                    return Err(Error::Corrupt("directory entries are not in order").into());
                }
                let DirEntry { nid, file_type } = entry(dirent)?;
                let found = Entry {
                    name,
                    nid,
                    file_type,
                    pos,
                };
                let hidden = file_type == FileType::CharDevice && is_whiteout(&mut inodes, nid)?;
                if !hidden && !emit(&found) {
                    return Ok(pos);
                }
                previous = name;
                rest = after;
                pos = pos.saturating_add(DIRENT_SIZE as u64);
            }
            pos = start.saturating_add(BLOCK_SIZE).min(dir.size());
        }
        Ok(pos)
    }
}

pub(super) fn check_directory(dir: &Node) -> Result<(), Error> {
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
    /// What of it is dirents.
    table: &'a [u8],
}

impl<'a> Dirents<'a> {
    #[inline]
    fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        // The first name follows the last dirent.
        let names = at::NAME.read(bytes).map_or(0, usize::from);
        match bytes.get(..names) {
            Some(table) if names > 0 && names % DIRENT_SIZE == 0 && names < bytes.len() => {
                Ok(Self { bytes, table })
            }
            _ => Err(Error::Corrupt("directory block has no valid dirents")),
        }
    }

    /// The dirents from number `index` on.
    #[inline]
    fn starting_at(&self, index: usize) -> &'a [u8] {
        let at = index.saturating_mul(DIRENT_SIZE);
        self.table.get(at..).unwrap_or_default()
    }

    /// The name of the first of `dirents`, which ends where the next begins; the last ends with the
    /// block or at a NUL.
    #[inline]
    fn name(&self, dirents: &[u8]) -> Result<&'a [u8], Error> {
        const BAD: Error = Error::Corrupt("directory entry name is out of place");

        let start = at::NAME.read(dirents).map(usize::from).ok_or(BAD)?;
        if start < self.table.len() {
            return Err(BAD);
        }
        let name = if let Some(end) = NEXT_NAME.read(dirents) {
            self.bytes.get(start..usize::from(end)).ok_or(BAD)?
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

    /// Finds `name` in this block.
    #[inline]
    fn find(&self, name: &[u8]) -> Result<Option<DirEntry>, Error> {
        let (mut low, mut high) = (0, self.table.len() / DIRENT_SIZE);
        while low < high {
            let middle = usize::midpoint(low, high);
            let dirents = self.starting_at(middle);
            match compare(self.name(dirents)?, name) {
                Ordering::Less => low = middle.saturating_add(1),
                Ordering::Equal => return dirents.first_chunk().map(entry).transpose(),
                Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }
}

/// What a dirent stands for.
#[inline]
fn entry(dirent: &[u8; DIRENT_SIZE]) -> Result<DirEntry, Error> {
    let file_type = at::FILE_TYPE.read(dirent).and_then(FileType::from_dirent);
    match (at::NID.read(dirent), file_type) {
        (Some(nid), Some(file_type)) => Ok(DirEntry { nid, file_type }),
        _ => Err(Error::Corrupt("directory entry of no known file type")),
    }
}
