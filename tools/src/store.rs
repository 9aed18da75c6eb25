// SPDX-License-Identifier: GPL-2.0-only
//! The object store: a directory of files named by the fs-verity digest of their content.
//!
//! An object never appears before it is complete and on disk, is never overwritten, and is never
//! taken for good because of its name alone. Several processes may fill one store.
//!
//! Writing each object through to the disk would cost far more than all the rest. So objects are
//! collected, nameless, and one `syncfs` goes before giving names to many of them.

mod existing;
mod sealed;
mod unnamed;

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use anyhow::{anyhow, Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use self::existing::Known;
use crate::copy::{self, Source};
use crate::fsverity::{object_path, Algorithm, Digest};
use crate::limits;
use crate::lock::lock;
use crate::measure;
use crate::quote;
use crate::staged::{Published, Staged};
use crate::verity::{self, Enabled, Obstacle};

pub use unnamed::Unnamed;

/// Most objects that are collected before they get their names; each is an open file.
const BATCH: usize = 2048;
/// Bytes of objects that are collected.
const BATCH_BYTES: u64 = 64 << 20;

/// The directory that an object is in, and its name there.
#[derive(Debug)]
struct Target {
    dir: OwnedFd,
    name: String,
}

/// What went wrong with an object. It may not be the one that was put last.
#[derive(Debug)]
pub struct Failure {
    /// The number that was given for its source.
    pub id: u32,
    /// The cause.
    pub error: anyhow::Error,
}

/// An object that is complete but for its name.
#[derive(Debug)]
struct Pending {
    id: u32,
    digest: Digest,
    size: u64,
    staged: Staged,
    /// Whether the content is known to be right.
    verified: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Objects that this process made, is about to, or found to be right.
    known: HashSet<Digest>,
    pending: Vec<Pending>,
    pending_bytes: u64,
    /// Objects that are not what their names say, and are to be replaced.
    damaged: HashSet<Digest>,
    /// Why fs-verity could not be enabled, the first time.
    no_verity: Option<Obstacle>,
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    dir: OwnedFd,
    algorithm: Algorithm,
    /// Objects to collect.
    batch: usize,
    state: Mutex<State>,
    /// Files that are open as [`Unnamed`] objects.
    unnamed: AtomicUsize,
    /// Held while a batch gets its names: one at a time, so that the open files are no more than
    /// those of two batches, however slow the disk is.
    publishing: Mutex<()>,
    /// Which of the 256 directories are known to be there.
    subdirs: [AtomicBool; 256],
    /// Whether cloning has not failed yet for want of support.
    reflink: AtomicBool,
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
        Ok(Self::of_dir(dir, path, algorithm))
    }

    /// The store in a directory that is open. `path` is what it is called.
    pub fn of_dir(dir: OwnedFd, path: &Path, algorithm: Algorithm) -> Self {
        Self {
            path: path.to_owned(),
            dir,
            algorithm,
            batch: (limits::open_files() / 8).clamp(1, BATCH),
            state: Mutex::default(),
            unnamed: AtomicUsize::new(0),
            publishing: Mutex::default(),
            subdirs: [const { AtomicBool::new(false) }; 256],
            reflink: AtomicBool::new(true),
        }
    }

    /// How objects are named.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Why objects of this store lack fs-verity, if some do.
    pub fn without_verity(&self) -> Option<Obstacle> {
        self.lock().no_verity.clone()
    }

    /// Has new objects take the places of these, which are not what their names say. Whoever has one
    /// of them open keeps what it has.
    pub fn replace(&self, damaged: impl IntoIterator<Item = Digest>) {
        self.lock().damaged.extend(damaged);
    }

    /// Puts an object into the store, unless it is there. It may appear only with [`finish`]. `id`
    /// is a number for it, to be found in a [`Failure`].
    ///
    /// [`finish`]: Store::finish
    ///
    /// # Errors
    /// If an object of that name is there but is another file, the source is not what `digest`
    /// says, or writing fails. The message names the object.
    pub(crate) fn put(&self, digest: &Digest, source: Source, id: u32) -> Result<(), Failure> {
        if !self.lock().known.insert(*digest) {
            return Ok(());
        }
        let staged = self.stage(digest, source, id).map_err(|error| Failure {
            id,
            error: self.name_object(digest, error),
        })?;
        let Some(pending) = staged else {
            return Ok(());
        };
        let mut state = self.lock();
        state.pending.push(pending);
        state.pending_bytes += source.size;
        if !self.is_full(&state) {
            return Ok(());
        }
        drop(state);
        let _publishing = lock(&self.publishing);
        let mut state = self.lock();
        // Another thread may have published it in the meantime.
        if !self.is_full(&state) {
            return Ok(());
        }
        let batch = std::mem::take(&mut state.pending);
        state.pending_bytes = 0;
        drop(state);
        self.publish(batch)
    }

    /// Whether it is time to publish what is pending.
    fn is_full(&self, state: &State) -> bool {
        state.pending.len() >= self.batch || state.pending_bytes >= BATCH_BYTES
    }

    /// Makes every object that was put appear, and sees to it that they stay.
    ///
    /// # Errors
    /// As of [`Store::put`].
    pub fn finish(&self) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.lock().pending);
        let Some(last) = batch.last() else {
            return Ok(());
        };
        let id = last.id;
        self.publish(batch)?;
        self.sync().map_err(|error| Failure { id, error })
    }

    fn name_object(&self, digest: &Digest, error: anyhow::Error) -> anyhow::Error {
        let path = self.path.join(object_path(digest));
        error.context(format!("object {}", quote::path(&path)))
    }

    fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(&self.dir)
            .with_context(|| format!("cannot sync store {}", quote::path(&self.path)))
    }

    /// An empty file that is to become an object. Readable by all whatever the umask is: an object
    /// belongs to no one in particular.
    fn create(&self) -> Result<Staged> {
        let mode = Mode::from_raw_mode(0o644);
        let staged = Staged::new(self.dir.as_fd(), mode)?;
        rustix::fs::fchmod(staged.file(), mode)?;
        Ok(staged)
    }

    /// Makes an object without a name; `None` if there is one already.
    fn stage(&self, digest: &Digest, source: Source, id: u32) -> Result<Option<Pending>> {
        if self.check_existing(digest, Known::Size(source.size))? {
            return Ok(None);
        }
        let staged = self.create()?;
        let verified = copy::fill(staged.file(), source, &self.reflink)?;
        Ok(Some(Pending {
            id,
            digest: *digest,
            size: source.size,
            staged,
            verified,
        }))
    }

    /// Gives objects their names.
    fn publish(&self, batch: Vec<Pending>) -> Result<(), Failure> {
        let Some(first) = batch.first() else {
            return Ok(());
        };
        let id = first.id;
        self.sync().map_err(|error| Failure { id, error })?;
        for pending in batch {
            let (id, digest) = (pending.id, pending.digest);
            self.publish_one(pending).map_err(|error| Failure {
                id,
                error: self.name_object(&digest, error),
            })?;
        }
        Ok(())
    }

    fn publish_one(&self, pending: Pending) -> Result<()> {
        let Pending {
            digest,
            size,
            mut staged,
            verified,
            ..
        } = pending;
        self.seal(&mut staged, &digest, verified)?;
        self.name(&digest, size, |to, replace| {
            sealed::publish(self, staged, to, replace)
        })
    }

    /// Whether the filesystem is known to have no fs-verity.
    fn lacks_verity(&self) -> bool {
        self.lock().no_verity == Some(Obstacle::Filesystem)
    }

    /// Makes a file one that nobody can write to, and that is what `digest` says.
    fn seal(&self, staged: &mut Staged, digest: &Digest, verified: bool) -> Result<()> {
        if verified && self.lacks_verity() {
            return Ok(());
        }
        staged.seal()?;
        match verity::enable(staged.file(), self.algorithm)? {
            Enabled::Yes => {
                let measured = verity::measure(staged.file(), self.algorithm)?;
                expect_digest(digest, measured)
            }
            Enabled::No(obstacle) => {
                self.lock().no_verity.get_or_insert(obstacle);
                if verified {
                    return Ok(());
                }
                expect_digest(digest, Some(self.hash(staged.file())?))
            }
        }
    }

    /// Where an object is to be, in a directory that is there.
    fn make_place(&self, digest: &Digest) -> Result<Target> {
        let known = &self.subdirs[usize::from(digest.as_bytes()[0])];
        if !known.load(Ordering::Relaxed) {
            let path = object_path(digest);
            match rustix::fs::mkdirat(&self.dir, &path[..2], Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => known.store(true, Ordering::Relaxed),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.place(digest)?)
    }

    /// Where an object is. Links in place of directories are not followed: what they lead to is not
    /// ours to change.
    fn place(&self, digest: &Digest) -> Result<Target, Errno> {
        let path = object_path(digest);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.dir, &path[..2], flags, Mode::empty())?;
        let name = path[3..].to_owned();
        Ok(Target { dir, name })
    }

    /// Gives an object its name, as `publish` does it: there, and in place of whatever has it or
    /// unless something has.
    fn name(
        &self,
        digest: &Digest,
        size: u64,
        publish: impl FnOnce(&Target, bool) -> Result<Published, Errno>,
    ) -> Result<()> {
        let to = self.make_place(digest)?;
        let published = publish(&to, self.is_damaged(digest))?;
        self.expect_published(published, digest, size)
    }

    /// Whether an object is to be replaced.
    fn is_damaged(&self, digest: &Digest) -> bool {
        self.lock().damaged.contains(digest)
    }

    /// Whoever was first to give an object its name has to have got it right.
    fn expect_published(&self, published: Published, digest: &Digest, size: u64) -> Result<()> {
        match published {
            Published::Created => {
                self.lock().damaged.remove(digest);
                Ok(())
            }
            Published::Exists if self.check_existing(digest, Known::Size(size))? => Ok(()),
            Published::Exists => Err(anyhow!("was removed while it was being made")),
        }
    }

    /// The digest of a file's content.
    fn hash(&self, file: BorrowedFd) -> Result<Digest> {
        let file = File::from(rustix::io::dup(file)?);
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
        measure::content(&file, self.algorithm)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
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
