// SPDX-License-Identifier: GPL-2.0-only
//! A repository: making one, opening one, and who may do what to it at a time.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context, Result};
use composefs_tools::fsverity::Algorithm;
use composefs_tools::quote;
use composefs_tools::staged::{Published, Staged};
use composefs_tools::store::Store;
use composefs_tools::verity::{self, Enabled, Obstacle};
use rustix::fs::{Access, AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::meta::{self, Metadata};

/// Where objects are.
pub(crate) const OBJECTS: &str = "objects";

/// What came of making a repository.
#[derive(Debug)]
pub enum Made {
    /// There is one now. If fs-verity was wanted but cannot be had, why.
    New(Option<Obstacle>),
    /// There was one, as was asked for.
    Existed,
}

/// An open repository. What is in it stays as long as it is open: nobody collects in the meantime.
#[derive(Debug)]
pub struct Repository {
    path: PathBuf,
    dir: OwnedFd,
    metadata: Metadata,
    algorithm: Algorithm,
    is_secure: bool,
    store: Store,
}

impl Repository {
    /// Makes a repository at `path`, and directories above it. With `verity` its objects are to be
    /// protected by fs-verity, if the file system can do that.
    ///
    /// # Errors
    /// If there is another one, or it cannot be written.
    pub fn init(path: &Path, metadata: &Metadata, verity: bool) -> Result<Made> {
        let context = || format!("cannot make repository {}", quote::path(path));
        let dir = make_dir(path).with_context(context)?;
        let written = open_objects(&dir)
            .context(OBJECTS)
            .and_then(|_| write_metadata(dir.as_fd(), metadata, verity));
        if let Ok(made) = written {
            return Ok(made);
        }
        // Even on a file system that is read-only there may be what was asked for.
        match read_metadata(dir.as_fd()).with_context(context)? {
            Some((_, found)) if found == *metadata => Ok(Made::Existed),
            Some(_) => Err(anyhow!("there is one, of another kind")).with_context(context),
            None => written.with_context(context),
        }
    }

    /// Opens one.
    ///
    /// # Errors
    /// If there is none, or it cannot be used.
    pub fn open(path: &Path) -> Result<Self> {
        let context = || format!("repository {}", quote::path(path));
        Self::open_dir(path).with_context(context)
    }

    fn open_dir(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty())?;
        lock(&dir, FlockOperation::LockShared)?;
        let (file, metadata) = match read_metadata(dir.as_fd())? {
            Some(found) => found,
            None if exists(&dir, OBJECTS) => {
                return Err(anyhow!(
                    "has no {}: it was made by an old version of composefs-rs; cfsctl can bring it up to date",
                    meta::FILE
                ))
            }
            None => return Err(anyhow!("is none: there is no {}", meta::FILE)),
        };
        let algorithm = metadata.algorithm()?;
        let is_secure = verity::measure(&file, algorithm)?.is_some();
        let objects = open_objects(&dir).context(OBJECTS)?;
        let store = Store::of_dir(objects, &path.join(OBJECTS), algorithm);
        Ok(Self {
            path: path.to_owned(),
            dir,
            metadata,
            algorithm,
            is_secure,
            store,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `meta.json` says.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// How objects are named.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether every object has to be protected by fs-verity.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The objects, to add to them. See [`Repository::expect_writable`].
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where the objects are.
    pub fn objects_path(&self) -> PathBuf {
        self.path.join(OBJECTS)
    }

    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// To be called before anything is written.
    ///
    /// # Errors
    /// If the repository can only be read.
    pub fn expect_writable(&self) -> Result<()> {
        let context = || format!("repository {}", quote::path(&self.path));
        self.metadata.expect_writable().with_context(context)?;
        rustix::fs::accessat(&self.dir, ".", Access::WRITE_OK, AtFlags::EACCESS)
            .context("cannot be written to")
            .with_context(context)
    }

    /// To be called when objects were added: all of them have what the repository asks for.
    ///
    /// # Errors
    /// If fs-verity is to protect them, and does not.
    pub fn expect_protected(&self) -> Result<()> {
        match self.store.without_verity() {
            Some(obstacle) if self.is_secure => Err(anyhow!(
                "repository {}: fs-verity cannot be enabled on an object: {obstacle}",
                quote::path(&self.path)
            )),
            _ => Ok(()),
        }
    }

    /// Waits until nobody else has the repository open, and keeps others out until it is closed.
    /// `waiting` is called if somebody has.
    ///
    /// # Errors
    /// If the file system has no locks.
    pub fn lock_out_others(&self, waiting: impl FnOnce()) -> Result<()> {
        match rustix::fs::flock(&self.dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK | Errno::INTR) => waiting(),
            Err(error) => return Err(error.into()),
        }
        // Others may come in between: what was known of the repository is no longer so.
        lock(&self.dir, FlockOperation::LockExclusive)
    }

    /// Keeps others out until the repository is closed, unless somebody has it open now. Whether
    /// others are out. What was known of the repository need not be so any more: in between,
    /// others may have been in.
    ///
    /// # Errors
    /// If the file system has no locks.
    pub fn try_lock_out_others(&self) -> Result<bool> {
        match rustix::fs::flock(&self.dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            // The lock that there was is gone: so it is when a lock changes.
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                lock(&self.dir, FlockOperation::LockShared)?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Lets others collect, though the repository is open.
    ///
    /// # Errors
    /// If the file system has no locks.
    pub fn let_others_collect(&self) -> Result<()> {
        lock(&self.dir, FlockOperation::Unlock)
    }

    /// Has nobody collect from now on, as it is when a repository is opened. Waits for those who do.
    ///
    /// # Errors
    /// If the file system has no locks.
    pub fn let_nobody_collect(&self) -> Result<()> {
        lock(&self.dir, FlockOperation::LockShared)
    }

    /// Sees to it that what was written is on disk.
    ///
    /// # Errors
    /// Of the disk.
    pub fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(&self.dir)
            .with_context(|| format!("cannot sync repository {}", quote::path(&self.path)))
    }
}

fn lock(dir: &OwnedFd, operation: FlockOperation) -> Result<()> {
    loop {
        match rustix::fs::flock(dir, operation) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot be locked"),
        }
    }
}

fn exists(dir: &OwnedFd, name: &str) -> bool {
    rustix::fs::accessat(dir, name, Access::EXISTS, AtFlags::empty()).is_ok()
}

/// The directory, which is for its owner alone.
fn make_dir(path: &Path) -> std::io::Result<OwnedFd> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// The directory of the objects. It is made with the repository: who opens that only to read it may
/// not be able to.
fn open_objects(dir: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(dir, OBJECTS, flags, Mode::empty());
    match open() {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    match rustix::fs::mkdirat(dir, OBJECTS, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => open(),
        Err(error) => Err(error),
    }
}

fn read_metadata(dir: BorrowedFd) -> Result<Option<(File, Metadata)>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir, meta::FILE, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error).context(meta::FILE),
    };
    let text = std::io::read_to_string(&file).context(meta::FILE)?;
    let metadata = Metadata::parse(text.as_bytes()).context(meta::FILE)?;
    Ok(Some((file, metadata)))
}

/// Writes `meta.json`, if there is none. Whether that has fs-verity says whether objects must.
fn write_metadata(dir: BorrowedFd, metadata: &Metadata, verity: bool) -> Result<Made> {
    let mut staged = Staged::new(dir, Mode::from_raw_mode(0o644))?;
    let mut file = File::from(rustix::io::fcntl_dupfd_cloexec(staged.file(), 0)?);
    file.write_all(metadata.text()?.as_bytes())?;
    file.sync_all()?;
    drop(file);
    let mut without = None;
    if verity {
        staged.seal()?;
        match verity::enable(staged.file(), metadata.algorithm()?)? {
            Enabled::Yes => {}
            Enabled::No(obstacle @ Obstacle::Filesystem) => without = Some(obstacle),
            Enabled::No(obstacle) => {
                return Err(anyhow!(
                    "cannot enable fs-verity on {}: {obstacle}",
                    meta::FILE
                ))
            }
        }
    }
    match staged.publish(dir, meta::FILE)? {
        Published::Created => Ok(Made::New(without)),
        Published::Exists => Err(anyhow!("{} exists", meta::FILE)),
    }
}
