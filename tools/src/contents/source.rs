// SPDX-License-Identifier: GPL-2.0-only
//! The bytes of an image file, for the parser.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use anyhow::{anyhow, Result};
use composefs_format::{Error, Image, Source, BLOCK_SIZE};

/// Size of what is read and kept in one piece, in bytes.
const SEGMENT_SIZE: u64 = 64 * 1024;
/// Most pieces that are kept: half a gibibyte. Real images fit; what does not is read again.
const SEGMENTS_MAX: u64 = 8192;

/// Why an image cannot be read.
#[derive(Debug)]
pub enum Fault {
    /// It is not one, or damaged.
    Format(Error),
    /// The file cannot be read.
    Io(io::Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Format(error)
    }
}

impl From<Fault> for anyhow::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Format(Error::NotComposefs(reason)) => {
                anyhow!("not a composefs image: {reason}")
            }
            Fault::Format(error) => anyhow!("not a valid composefs image: {error}"),
            Fault::Io(error) => error.into(),
        }
    }
}

/// An open image.
pub type Opened = Image<FileSource>;

/// An image file.
pub struct FileSource {
    file: File,
    size: u64,
    /// The pieces in memory, each in the place that its number gives it.
    segments: RefCell<Vec<Option<Segment>>>,
}

#[derive(Clone)]
struct Segment {
    number: u64,
    bytes: Rc<[u8]>,
}

/// One block.
pub struct Block {
    bytes: Rc<[u8]>,
    start: usize,
    end: usize,
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

impl FileSource {
    fn segment(&self, number: u64) -> io::Result<Rc<[u8]>> {
        let slot = (number % SEGMENTS_MAX) as usize;
        if let Some(segment) = &self.segments.borrow()[slot] {
            if segment.number == number {
                return Ok(Rc::clone(&segment.bytes));
            }
        }
        let start = number * SEGMENT_SIZE;
        let len = SEGMENT_SIZE.min(self.size - start) as usize;
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, start)?;
        let bytes: Rc<[u8]> = bytes.into();
        self.segments.borrow_mut()[slot] = Some(Segment {
            number,
            bytes: Rc::clone(&bytes),
        });
        Ok(bytes)
    }
}

impl Source for FileSource {
    type Error = Fault;
    type Block<'a> = Block;

    fn size(&self) -> u64 {
        self.size
    }

    fn block(&self, index: u64) -> Result<Block, Fault> {
        let position = index * BLOCK_SIZE;
        let bytes = self.segment(position / SEGMENT_SIZE).map_err(Fault::Io)?;
        let start = (position % SEGMENT_SIZE) as usize;
        let end = bytes.len().min(start + BLOCK_SIZE as usize);
        Ok(Block { bytes, start, end })
    }
}

/// Opens an image.
///
/// # Errors
/// If the file cannot be read, or is not an image.
pub fn open(path: &Path) -> Result<Opened> {
    open_file(File::open(path)?)
}

/// Takes an open file for an image.
///
/// # Errors
/// If the file cannot be read, or is not an image.
pub fn open_file(file: File) -> Result<Opened> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(anyhow!("is not a regular file"));
    }
    let size = metadata.len();
    let segments = size.div_ceil(SEGMENT_SIZE).min(SEGMENTS_MAX);
    Ok(Image::open(FileSource {
        file,
        size,
        segments: RefCell::new(vec![None; segments as usize]),
    })?)
}
