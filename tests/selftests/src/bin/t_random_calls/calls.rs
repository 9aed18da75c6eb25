// SPDX-License-Identifier: GPL-2.0-only
//! The calls.

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::image::Image;
use composefs_selftests::setup::drop_caches;
use mmap_io::MemoryMappedFile;
use rustix::fs::{
    self, inotify, Access, Advice, AtFlags, Dir, FallocateFlags, FileType, FlockOperation, Mode,
    OFlags, RenameFlags, ResolveFlags, SeekFrom, StatxFlags, Timespec, Timestamps, XattrFlags, CWD,
    UTIME_NOW,
};
use rustix::io::{self, ReadWriteFlags};
use rustix::pipe::{pipe_with, splice, PipeFlags, SpliceFlags};

use crate::handles::Handles;
use crate::{choices, mounts};

/// How many files a task has open at most.
const OPEN_MAX: usize = 40;
/// What may be asked of an open besides.
const OPEN_FLAGS: &[u32] = &[
    OFlags::CREATE.bits(),
    OFlags::EXCL.bits(),
    OFlags::TRUNC.bits(),
    OFlags::APPEND.bits(),
    OFlags::DIRECT.bits(),
    OFlags::DIRECTORY.bits(),
    OFlags::NOFOLLOW.bits(),
    OFlags::NOATIME.bits(),
    OFlags::PATH.bits(),
    OFlags::SYNC.bits(),
    OFlags::TMPFILE.bits(),
];

/// A task, and what it has.
pub struct Caller<'a> {
    roots: &'a [&'a Path],
    names: &'a [&'a [u8]],
    image: &'a Image,
    place: PathBuf,
    random: Random,
    files: Vec<OwnedFd>,
    handles: Handles,
    pipe: (OwnedFd, OwnedFd),
    watch: OwnedFd,
    /// Calls, and those that did not fail.
    pub done: u64,
    pub taken: u64,
}

impl<'a> Caller<'a> {
    /// One that mounts below `place`.
    pub fn new(
        roots: &'a [&'a Path],
        names: &'a [&'a [u8]],
        image: &'a Image,
        place: &Path,
        random: Random,
    ) -> Result<Self> {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        Ok(Self {
            roots,
            names,
            image,
            place: place.to_owned(),
            random,
            files: Vec::new(),
            handles: Handles::of(roots)?,
            pipe: pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?,
            watch: inotify::init(flags)?,
            done: 0,
            taken: 0,
        })
    }

    /// A call. Fails if it has changed something that must not change.
    pub fn call(&mut self) -> Result<()> {
        self.done += 1;
        let is_taken = match self.random.below(100) {
            0..25 => self.open(),
            25..50 => self.read(),
            50..65 => self.ask(),
            65..80 => self.ask_attributes(),
            80..88 => self.change_by_name()?,
            88..94 => self.change_by_descriptor()?,
            94..96 => self.map_or_watch(),
            96 => {
                let path = self.path();
                self.handles.call(&mut self.random, &path)?
            }
            97 => {
                let root = self.root();
                mounts::change(&mut self.random, self.image, root)
            }
            98 => {
                let root = self.root();
                mounts::copy(&mut self.random, root)
            }
            _ => match self.random.below(12) {
                0 => mounts::make(&mut self.random, self.image, &self.place)?,
                1 => mounts::abandon(self.image, &self.place)?,
                2 => drop_caches().is_ok(),
                _ => false,
            },
        };
        self.taken += u64::from(is_taken);
        Ok(())
    }

    /// Nothing is open any more.
    pub fn finish(self) -> Result<()> {
        Ok(std::fs::remove_dir(&self.place)?)
    }

    fn path(&mut self) -> PathBuf {
        choices::path(&mut self.random, self.roots, self.names)
    }

    /// One that is below a root, rather than a root itself: the name of that is in a directory
    /// elsewhere, which can be changed.
    fn path_below(&mut self) -> PathBuf {
        loop {
            let path = self.path();
            if path.file_name().is_some() && !self.roots.contains(&path.as_path()) {
                return path;
            }
        }
    }

    fn root(&mut self) -> &'a Path {
        self.random.of(self.roots)
    }

    /// One of the open files.
    fn file(&mut self) -> Option<&OwnedFd> {
        let index = self.random.index(self.files.len());
        self.files.get(index)
    }

    fn open(&mut self) -> bool {
        let path = self.path();
        let access =
            self.random
                .of(&[OFlags::RDONLY, OFlags::RDONLY, OFlags::RDWR, OFlags::WRONLY]);
        // Nobody waits for the other end of a FIFO.
        let fixed = access | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let flags = fixed | OFlags::from_bits_retain(choices::bits(&mut self.random, OPEN_FLAGS));
        let mode = Mode::from_raw_mode(if flags.contains(OFlags::CREATE) {
            0o644
        } else {
            0
        });
        let file = if self.random.below(3) == 0 {
            let resolve = ResolveFlags::from_bits_retain(u64::from(choices::bits(
                &mut self.random,
                &[1, 2, 4, 8, 16, 32],
            )));
            fs::openat2(CWD, &path, flags, mode, resolve)
        } else {
            fs::open(&path, flags, mode)
        };
        let Ok(file) = file else {
            return false;
        };
        // What is behind a device node or FIFO is not the file system's.
        let is_its_own = fs::fstat(&file).is_ok_and(|stat| {
            let kind = FileType::from_raw_mode(stat.st_mode);
            matches!(kind, FileType::RegularFile | FileType::Directory)
        });
        if is_its_own {
            if self.files.len() >= OPEN_MAX {
                self.files.swap_remove(self.random.index(OPEN_MAX));
            }
            self.files.push(file);
        }
        true
    }

    fn read(&mut self) -> bool {
        let (position, length) = (
            choices::position(&mut self.random),
            choices::length(&mut self.random),
        );
        let which = self.random.below(11);
        let (one, flags) = (self.random.index(length + 1), self.random.below(64) as u32);
        let (reader, writer) = (self.pipe.0.try_clone(), self.pipe.1.try_clone());
        let Some(file) = self.file() else {
            return false;
        };
        let mut buffer = vec![0; length];
        match which {
            0 => io::read(file, &mut buffer).is_ok(),
            1 | 2 => io::pread(file, &mut buffer, position).is_ok(),
            3 => {
                let (first, second) = buffer.split_at_mut(one);
                let mut parts = [IoSliceMut::new(first), IoSliceMut::new(second)];
                let flags = ReadWriteFlags::from_bits_retain(flags);
                io::preadv2(file, &mut parts, position, flags).is_ok()
            }
            4 => fs::seek(file, SeekFrom::Start(position)).is_ok(),
            5 => fs::seek(file, SeekFrom::Data(position)).is_ok(),
            6 => fs::seek(file, SeekFrom::Hole(position)).is_ok(),
            7 => Dir::read_from(file).is_ok_and(|dir| dir.take(1 + one % 99).all(|e| e.is_ok())),
            8 => {
                let Ok(writer) = writer else { return false };
                let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
                splice(file, Some(&mut { position }), &writer, None, length, flags).is_ok()
            }
            9 => {
                let Ok(writer) = writer else { return false };
                fs::sendfile(&writer, file, Some(&mut { position }), length).is_ok()
            }
            _ => reader.is_ok_and(|reader| io::read(&reader, &mut buffer).is_ok()),
        }
    }

    fn ask(&mut self) -> bool {
        let path = self.path();
        let flags = AtFlags::from_bits_retain(choices::bits(
            &mut self.random,
            &[0x100, 0x200, 0x400, 0x800, 0x1000, 0x2000, 0x4000],
        ));
        let mask = StatxFlags::from_bits_retain(self.random.number() as u32 & 0x7fff_ffff);
        let (position, advice) = (choices::position(&mut self.random), self.random.below(6));
        match self.random.below(9) {
            0 | 1 => fs::statat(CWD, &path, flags).is_ok(),
            2 => fs::statx(CWD, &path, flags, mask).is_ok(),
            3 => fs::accessat(CWD, &path, Access::from_bits_retain(advice as u32), flags).is_ok(),
            4 => fs::readlink(&path, Vec::new()).is_ok(),
            5 => fs::statvfs(&path).is_ok(),
            which => {
                let Some(file) = self.file() else {
                    return false;
                };
                match which {
                    6 => fs::fstatfs(file).is_ok() && fs::fstat(file).is_ok(),
                    7 => {
                        let advice = match advice {
                            0 => Advice::Normal,
                            1 => Advice::Random,
                            2 => Advice::Sequential,
                            3 => Advice::WillNeed,
                            4 => Advice::DontNeed,
                            _ => Advice::NoReuse,
                        };
                        fs::fadvise(file, position, std::num::NonZero::new(position), advice)
                            .is_ok()
                    }
                    _ => fs::ioctl_getflags(file).is_ok(),
                }
            }
        }
    }

    fn ask_attributes(&mut self) -> bool {
        let path = self.path();
        let name = choices::attribute(&mut self.random);
        let length = self.random.of(&[0, 1, 20, 256, 65536]);
        let mut buffer = vec![0; length];
        match self.random.below(6) {
            0 => fs::getxattr(&path, &name, &mut buffer).is_ok(),
            1 => fs::lgetxattr(&path, &name, &mut buffer).is_ok(),
            2 => fs::listxattr(&path, &mut buffer).is_ok(),
            3 => fs::llistxattr(&path, &mut buffer).is_ok(),
            which => {
                let Some(file) = self.file() else {
                    return false;
                };
                match which {
                    4 => fs::fgetxattr(file, &name, &mut buffer).is_ok(),
                    _ => fs::flistxattr(file, &mut buffer).is_ok(),
                }
            }
        }
    }

    fn change_by_name(&mut self) -> Result<bool> {
        let (path, other) = (self.path_below(), self.path_below());
        let mode = Mode::from_raw_mode(self.random.below(0o10000) as u32);
        let flags = AtFlags::from_bits_retain(self.random.of(&[0, 0x100, 0x200, 0x400]));
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        let name = choices::attribute(&mut self.random);
        let kinds = [
            FileType::RegularFile,
            FileType::Fifo,
            FileType::CharacterDevice,
        ];
        let kind = self.random.of(&kinds);
        let rename = RenameFlags::from_bits_retain(self.random.below(8) as u32);
        let which = self.random.below(13);
        let result = match which {
            0 => fs::mkdir(&path, mode),
            1 => fs::unlinkat(CWD, &path, flags),
            2 => fs::rmdir(&path),
            3 => fs::symlink(&other, &path),
            4 => fs::linkat(CWD, &other, CWD, &path, flags),
            5 => fs::renameat_with(CWD, &other, CWD, &path, rename),
            6 => fs::mknodat(CWD, &path, kind, mode, 0),
            7 => fs::chmodat(CWD, &path, mode, AtFlags::empty()),
            8 => fs::chownat(CWD, &path, None, None, flags),
            9 => fs::utimensat(CWD, &path, &times, flags),
            10 => fs::setxattr(&path, &name, b"value", XattrFlags::empty()),
            11 => fs::lremovexattr(&path, &name),
            _ => fs::rename(&other, &path),
        };
        ensure!(
            result.is_err(),
            "call {which} has changed {} ({})",
            path.display(),
            other.display()
        );
        Ok(false)
    }

    fn change_by_descriptor(&mut self) -> Result<bool> {
        let position = choices::position(&mut self.random);
        let length = choices::length(&mut self.random) as u64;
        let name = choices::attribute(&mut self.random);
        let which = self.random.below(12);
        let other = self.file().and_then(|file| file.try_clone().ok());
        let Some((file, other)) = self.file().zip(other) else {
            return Ok(false);
        };
        let bytes = vec![1; length as usize];
        let result = match which {
            0 => io::write(file, &bytes).map(drop),
            1 => io::pwrite(file, &bytes, position).map(drop),
            2 => fs::ftruncate(file, position),
            3 => fs::fallocate(file, FallocateFlags::empty(), position, length),
            4 => fs::fallocate(file, FallocateFlags::PUNCH_HOLE, position, length),
            5 => fs::fchmod(file, Mode::RUSR),
            6 => fs::fsetxattr(file, &name, b"value", XattrFlags::empty()),
            7 => fs::fremovexattr(file, &name),
            8 => fs::copy_file_range(&other, None, file, None, 4096).map(drop),
            9 => fs::ioctl_ficlone(file, &other),
            // These change nothing of the file.
            10 => {
                let operation = self.random.of(&[
                    FlockOperation::NonBlockingLockShared,
                    FlockOperation::NonBlockingLockExclusive,
                    FlockOperation::Unlock,
                ]);
                return Ok(fs::flock(&other, operation).is_ok());
            }
            _ => return Ok(fs::fsync(file).is_ok() & fs::syncfs(file).is_ok()),
        };
        ensure!(result.is_err(), "call {which} has changed a file");
        Ok(false)
    }

    fn map_or_watch(&mut self) -> bool {
        let path = self.path();
        if self.random.below(2) == 0 {
            let flags = inotify::WatchFlags::ALL_EVENTS;
            return inotify::add_watch(&self.watch, &path, flags).is_ok();
        }
        let is_file = fs::lstat(&path)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        if !is_file {
            return false;
        }
        let Ok(mapped) = MemoryMappedFile::open_ro(&path) else {
            return false;
        };
        let mut bytes = vec![0; 4096.min(mapped.len() as usize)];
        let last = mapped.len() - bytes.len() as u64;
        mapped
            .read_into(self.random.below(last + 1), &mut bytes)
            .is_ok()
    }
}
