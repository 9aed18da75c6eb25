// SPDX-License-Identifier: GPL-2.0-only
//! All that an image says of one file, the way a dump tells it.

use anyhow::{anyhow, Result};
use composefs_format::disk::file_type;
use composefs_format::disk::overlay::{ESCAPED, PRIVATE, WHITEOUT, WHITEOUTS};
use composefs_format::{Digest, FileType, Inode};

use crate::contents::{Fault, Opened};

/// Largest file that the image may hold whole. The writers stay far below; anything larger would
/// be an attempt to use up memory.
const CONTENT_MAX: u64 = 64 << 20;

/// What the names and values of a file's xattrs may take, as in the C tool. References let a few
/// bytes of an image stand for a great many.
const XATTRS_MAX: usize = u16::MAX as usize;

/// A file. Its buffers are reused from one to the next.
#[derive(Debug, Default)]
pub struct Record {
    inode: Option<Inode>,
    /// Whether it stands for a whiteout, that is a character device.
    is_whiteout: bool,
    /// Size in bytes.
    pub size: u64,
    /// What the image holds of the file's data: content or link target.
    data: Vec<u8>,
    payload: Option<Payload>,
    /// Digest of content that is in a store.
    pub digest: Option<Digest>,
    names: Vec<u8>,
    values: Vec<u8>,
    /// Where in the two each xattr ends.
    xattr_ends: Vec<(usize, usize)>,
}

#[derive(Debug)]
enum Payload {
    /// `data` is the target of a symlink.
    Target,
    /// `data` is the path of an object.
    Object,
}

impl Record {
    /// The inode. Only of a record that has been read.
    pub fn inode(&self) -> &Inode {
        self.inode.as_ref().expect("a record is read before use")
    }

    /// Type of the file.
    pub fn file_type(&self) -> FileType {
        match self.is_whiteout {
            true => FileType::CharDevice,
            false => self.inode().node.file_type(),
        }
    }

    /// File type and permissions.
    pub fn mode(&self) -> u16 {
        self.inode().mode & !file_type::MASK | self.file_type().mode()
    }

    /// The target of a symlink, or the path of the object that holds the content.
    pub fn payload(&self) -> Option<&[u8]> {
        self.payload.as_ref().map(|_| self.data.as_slice())
    }

    /// The path of the object that holds the content.
    pub fn object(&self) -> Option<&[u8]> {
        match self.payload {
            Some(Payload::Object) => Some(&self.data),
            _ => None,
        }
    }

    /// The content, if the image holds it.
    pub fn content(&self) -> Option<&[u8]> {
        let has_content = self.payload.is_none() && !self.data.is_empty();
        has_content.then_some(self.data.as_slice())
    }

    /// The xattrs, without those that are of the format and not of the file.
    pub fn xattrs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let starts = std::iter::once(&(0, 0)).chain(&self.xattr_ends);
        let ranges = starts.zip(&self.xattr_ends);
        ranges.map(|(start, end)| (&self.names[start.0..end.0], &self.values[start.1..end.1]))
    }

    /// Reads everything about `inode`.
    ///
    /// # Errors
    /// If the image is damaged.
    pub fn read(&mut self, image: &Opened, inode: &Inode, is_root: bool) -> Result<()> {
        self.inode = Some(*inode);
        self.is_whiteout = false;
        self.size = inode.node.size();
        self.data.clear();
        self.payload = None;
        self.digest = None;
        self.names.clear();
        self.values.clear();
        self.xattr_ends.clear();
        if is_root && inode.node.file_type() != FileType::Directory {
            return Err(anyhow!("the root is not a directory"));
        }
        self.read_data(image, inode)?;
        self.read_xattrs(image, inode)
    }

    fn read_data(&mut self, image: &Opened, inode: &Inode) -> Result<()> {
        let node = &inode.node;
        if let Some(external) = image.external(node)? {
            self.digest = external.digest;
            if let Some(redirect) = external.redirect {
                self.data.resize(redirect.len(), 0);
                image.read_xattr(&redirect, &mut self.data)?;
                if self.data.len() > 1 {
                    self.data.remove(0);
                }
                self.payload = Some(Payload::Object);
            }
            return Ok(());
        }
        match node.file_type() {
            FileType::Symlink => self.payload = Some(Payload::Target),
            FileType::Regular => {}
            _ => return Ok(()),
        }
        if node.size() > CONTENT_MAX {
            return Err(anyhow!("{} bytes of content in the image", node.size()));
        }
        self.data.resize(node.size() as usize, 0);
        let count = image.read_data(node, 0, &mut self.data)?;
        self.data.truncate(count);
        Ok(())
    }

    fn read_xattrs(&mut self, image: &Opened, inode: &Inode) -> Result<()> {
        let is_regular = inode.node.file_type() == FileType::Regular;
        let mut fault: Option<Fault> = None;
        let mut too_much = false;
        image.list_xattrs(&inode.node, &mut |index, name, value| {
            let start = self.names.len();
            self.names.extend_from_slice(index.prefix());
            self.names.extend_from_slice(name);
            let name = &self.names[start..];
            let is_whiteout = is_regular && name == WHITEOUT[0];
            if is_whiteout {
                self.is_whiteout = true;
                self.size = 0;
            }
            let is_mark = is_whiteout || name == WHITEOUT[1] || WHITEOUTS.contains(&name);
            let is_private = name.starts_with(PRIVATE) && !name.starts_with(ESCAPED);
            if is_mark || is_private {
                self.names.truncate(start);
                return true;
            }
            if name.starts_with(ESCAPED) {
                self.names
                    .drain(start + PRIVATE.len()..start + ESCAPED.len());
            }
            let start = self.values.len();
            if self.names.len() + start + value.len() > XATTRS_MAX {
                too_much = true;
                return false;
            }
            self.values.resize(start + value.len(), 0);
            if let Err(error) = image.read_xattr(&value, &mut self.values[start..]) {
                fault = Some(error);
                return false;
            }
            self.xattr_ends.push((self.names.len(), self.values.len()));
            true
        })?;
        match fault {
            Some(fault) => Err(fault.into()),
            None if too_much => Err(anyhow!("xattrs take more than {XATTRS_MAX} bytes")),
            None => Ok(()),
        }
    }
}
