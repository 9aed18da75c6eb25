// SPDX-License-Identifier: GPL-2.0-only
//! The object store: a directory of files named by the fs-verity digest of their content.
//!
//! An object never appears before it is complete and on disk, is never overwritten, and is never
//! taken for good because of its name alone. Several processes may fill one store.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;

use anyhow::{anyhow, Context, Result};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::copy;
use crate::fsverity::{object_path, Algorithm, Digest, Hasher};
use crate::quote;
use crate::read;
use crate::staged::{Published, Staged};
use crate::verity::{self, Enabled};

/// Where the content of an object comes from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file.
    pub file: &'a File,
    /// Its size.
    pub size: u64,
    /// All of its content, if it is in memory.
    pub content: Option<&'a [u8]>,
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    dir: OwnedFd,
    algorithm: Algorithm,
    /// Objects that this process made, or found to be right.
    known: Mutex<HashSet<Digest>>,
    /// Which of the 256 directories are known to be there.
    subdirs: [AtomicBool; 256],
    /// Whether cloning has not failed yet for want of support.
    reflink: AtomicBool,
    /// Why fs-verity could not be enabled, the first time.
    no_verity: Mutex<Option<String>>,
}

impl Store {
    /// Opens the store at `path`; makes the directory, and those above it, if need be.
    ///
    /// # Errors
    /// If there is no such directory and none can be made.
    pub fn open(path: &Path, algorithm: Algorithm) -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let open = || {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(path)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).map_err(std::io::Error::from)
        };
        let dir = open().with_context(|| format!("cannot open store {}", quote::path(path)))?;
        Ok(Self {
            path: path.to_owned(),
            dir,
            algorithm,
            known: Mutex::default(),
            subdirs: [const { AtomicBool::new(false) }; 256],
            reflink: AtomicBool::new(true),
            no_verity: Mutex::default(),
        })
    }

    /// Why objects of this store lack fs-verity, if some do.
    pub fn verity_problem(&self) -> Option<String> {
        lock(&self.no_verity).clone()
    }

    /// Puts an object into the store, unless it is there.
    ///
    /// # Errors
    /// If an object of that name is there but is another file, the source is not what `digest`
    /// says, or writing fails. The message names the object.
    pub fn put(&self, digest: &Digest, source: Source) -> Result<()> {
        if lock(&self.known).contains(digest) {
            return Ok(());
        }
        let name = object_path(digest);
        self.put_new(digest, &name, source)
            .with_context(|| format!("object {}", quote::path(&self.path.join(&name))))?;
        lock(&self.known).insert(*digest);
        Ok(())
    }

    fn put_new(&self, digest: &Digest, name: &str, source: Source) -> Result<()> {
        if self.check_existing(digest, name, source.size)? {
            return Ok(());
        }
        self.make_subdir(digest, name)?;
        let mut staged = Staged::new(self.dir.as_fd(), Mode::from_raw_mode(0o644))?;
        // Readable by all whatever the umask is: an object belongs to no one in particular.
        rustix::fs::fchmod(staged.file(), Mode::from_raw_mode(0o644))?;
        let verified = copy::fill(staged.file(), source, &self.reflink)?;
        rustix::fs::fdatasync(staged.file())?;
        staged.seal()?;
        match verity::enable(staged.file(), self.algorithm)? {
            Enabled::Yes => {
                let measured = verity::measure(staged.file(), self.algorithm)?;
                expect_digest(digest, measured)?;
            }
            Enabled::No(reason) => {
                lock(&self.no_verity).get_or_insert(reason);
                if !verified {
                    expect_digest(digest, Some(self.hash(staged.file())?))?;
                }
            }
        }
        match staged.publish(name)? {
            Published::Created => Ok(()),
            Published::Exists => {
                if self.check_existing(digest, name, source.size)? {
                    return Ok(());
                }
                Err(anyhow!("was removed while it was being made"))
            }
        }
    }

    fn make_subdir(&self, digest: &Digest, name: &str) -> Result<()> {
        let known = &self.subdirs[usize::from(digest.as_bytes()[0])];
        if !known.load(Ordering::Relaxed) {
            match rustix::fs::mkdirat(&self.dir, &name[..2], Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => known.store(true, Ordering::Relaxed),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether the object is in the store. One that is there must be what its name says.
    fn check_existing(&self, digest: &Digest, name: &str, size: u64) -> Result<bool> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(false),
            Err(Errno::LOOP) => return Err(anyhow!("is a symbolic link")),
            Err(error) => return Err(error.into()),
        };
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(anyhow!("is not a regular file"));
        }
        if u64::try_from(stat.st_size) != Ok(size) {
            return Err(anyhow!(
                "is damaged: its size is {}, not {size}",
                stat.st_size
            ));
        }
        let found = match verity::measure(&file, self.algorithm)? {
            Some(measured) => measured,
            None => self.hash(file.as_fd())?,
        };
        if found != *digest {
            return Err(anyhow!("is damaged: its digest is {found}"));
        }
        Ok(true)
    }

    /// The digest of a file's content.
    fn hash(&self, file: BorrowedFd) -> Result<Digest> {
        let file = File::from(rustix::io::dup(file)?);
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
        read::hash(&file, &mut Hasher::new(self.algorithm))
    }
}

/// Checks that an object is what the source was when it was hashed.
fn expect_digest(want: &Digest, found: Option<Digest>) -> Result<()> {
    match found {
        Some(found) if found == *want => Ok(()),
        Some(found) => Err(anyhow!(
            "the source changed while it was read: its digest is now {found}"
        )),
        None => Err(anyhow!("fs-verity was enabled, yet there is no digest")),
    }
}

/// Locks a mutex. One that a panicking thread held is as good as any here.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
