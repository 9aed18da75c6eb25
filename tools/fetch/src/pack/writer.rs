// SPDX-License-Identifier: GPL-2.0-only
//! Writing packs.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context, Result};
use composefs_tools::fsverity::{Algorithm, Digest, Hasher};
use composefs_tools::output;
use composefs_tools::staged::Staged;
use rustix::fs::{Mode, OFlags};
use zstd::stream::write::Encoder;

use super::index::{self, Frame};
use super::{index_name, pack_name};
use crate::missing::Wanted;

/// Objects smaller than this are compressed with others.
const SMALL: u64 = 256 << 10;
/// Bytes of those, at least: as much comes at most in vain with an object that alone is missing.
const TOGETHER: usize = 1 << 20;
/// Bytes of a pack after which another is begun. Some servers keep no larger files at hand.
const PACK: u64 = 256 << 20;
/// What it costs to compress is paid once, what is saved is saved with each that fetches.
const LEVEL: i32 = 9;

/// Puts objects into packs, in a directory.
pub struct Writer {
    path: PathBuf,
    dir: OwnedFd,
    algorithm: Algorithm,
    /// Small objects that are not compressed yet.
    small: Vec<u8>,
    objects: Vec<Wanted>,
    pack: Option<Pack>,
    done: Vec<Digest>,
}

/// A pack that has no name yet.
struct Pack {
    file: Staged,
    hasher: Hasher,
    frames: Vec<Frame>,
}

impl Writer {
    /// No packs yet.
    pub fn new(path: &Path, algorithm: Algorithm) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            path: path.to_owned(),
            dir: rustix::fs::open(path, flags, Mode::empty())?,
            algorithm,
            small: Vec::new(),
            objects: Vec::new(),
            pack: None,
            done: Vec::new(),
        })
    }

    /// Adds an object.
    ///
    /// # Errors
    /// If it is not of that size, cannot be read, or the pack not written.
    pub fn put(&mut self, object: Wanted, mut content: impl Read) -> Result<()> {
        if object.size >= SMALL {
            return self.write(vec![object], &mut content);
        }
        let before = self.small.len();
        content.take(SMALL).read_to_end(&mut self.small)?;
        if (self.small.len() - before) as u64 != object.size {
            return Err(wrong_size(&object));
        }
        self.objects.push(object);
        if self.small.len() >= TOGETHER {
            self.write_small()?;
        }
        Ok(())
    }

    /// Ends the last pack. Gives the names of all, the first one first.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<Vec<Digest>> {
        self.write_small()?;
        self.end_pack()?;
        Ok(self.done)
    }

    fn write_small(&mut self) -> Result<()> {
        if self.objects.is_empty() {
            return Ok(());
        }
        let (small, objects) = (
            std::mem::take(&mut self.small),
            std::mem::take(&mut self.objects),
        );
        self.write(objects, &mut small.as_slice())
    }

    fn write(&mut self, objects: Vec<Wanted>, content: &mut dyn Read) -> Result<()> {
        let pack = match &mut self.pack {
            Some(pack) => pack,
            none => none.insert(Pack {
                file: Staged::new(self.dir.as_fd(), Mode::from_raw_mode(0o666))?,
                hasher: Hasher::new(self.algorithm),
                frames: Vec::new(),
            }),
        };
        let before = pack.hasher.size();
        let mut encoder = Encoder::new(&mut *pack, LEVEL)?;
        encoder.window_log(super::frame::WINDOW_LOG_MAX)?;
        let copied = io::copy(content, &mut encoder)?;
        encoder.finish()?;
        let size: u64 = objects.iter().map(|object| object.size).sum();
        if let Some(object) = objects.first().filter(|_| copied != size) {
            return Err(wrong_size(object));
        }
        let len = pack.hasher.size().saturating_sub(before);
        pack.frames.push(Frame { len, objects });
        match pack.hasher.size() >= PACK {
            true => self.end_pack(),
            false => Ok(()),
        }
    }

    fn end_pack(&mut self) -> Result<()> {
        let Some(mut pack) = self.pack.take() else {
            return Ok(());
        };
        let name = pack.hasher.finish();
        rustix::fs::fdatasync(pack.file.file())?;
        let index = index::encode(self.algorithm, &pack.frames)?;
        let path = self.path.join(index_name(&name));
        output::write(&path, None, |out| Ok(out.write_all(&index)?))?;
        let file = pack_name(&name);
        let published = pack.file.publish(self.dir.as_fd(), &file);
        published.with_context(|| format!("cannot write {file}"))?;
        self.done.push(name);
        Ok(())
    }
}

impl Write for &mut Pack {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = rustix::io::write(self.file.file(), bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn wrong_size(object: &Wanted) -> anyhow::Error {
    anyhow!(
        "object {} is not of {} bytes, as the image has it",
        object.digest,
        object.size
    )
}
