// SPDX-License-Identifier: GPL-2.0-only
//! A small ext4 filesystem in a file, whose bytes can be changed below the filesystem: what a
//! broken disk does, or somebody who has the disk in hands.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::command::run;
use crate::mount::Mount;
use crate::setup;

/// How long files may stay open that nobody needs any more.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Disk {
    backing: PathBuf,
    target: PathBuf,
    mount: Option<Mount>,
}

/// A run of bytes of a file: where they are in the file, and where on the disk.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub logical: u64,
    pub physical: u64,
    pub length: u64,
}

/// Where byte `position` of a file with these extents is on the disk.
pub fn on_the_disk(extents: &[Extent], position: u64) -> Result<u64> {
    let holds = |e: &&Extent| (e.logical..e.logical + e.length).contains(&position);
    match extents.iter().find(holds) {
        Some(extent) => Ok(extent.physical + (position - extent.logical)),
        None => bail!("byte {position} is nowhere on the disk"),
    }
}

impl Disk {
    /// Makes and mounts a filesystem of `size` bytes with fs-verity.
    pub fn create(directory: &Path, size: u64) -> Result<Self> {
        Self::with_features(directory, size, "verity")
    }

    /// As [`Disk::create`], with these features of ext4.
    pub fn with_features(directory: &Path, size: u64, features: &str) -> Result<Self> {
        setup::modprobe("loop")?;
        let backing = directory.join("disk");
        let target = directory.join("on-disk");
        setup::create_dir(&target)?;
        File::create(&backing)
            .and_then(|file| file.set_len(size))
            .with_context(|| backing.display().to_string())?;
        let path = backing.to_string_lossy();
        run(
            "mkfs.ext4",
            ["-q", "-F", "-b", "4096", "-O", features, &path],
        )?;
        let mut disk = Self {
            backing,
            target,
            mount: None,
        };
        disk.mount()?;
        Ok(disk)
    }

    pub fn root(&self) -> &Path {
        &self.target
    }

    /// Where the blocks of a file are: its content, and past the content's end the Merkle tree and
    /// the verity descriptor.
    pub fn extents(&self, file: &Path) -> Result<Vec<Extent>> {
        let context = || format!("FIEMAP of {}", file.display());
        let opened = File::open(file).with_context(context)?;
        opened.sync_all().with_context(context)?;
        let mut extents = Vec::new();
        for extent in fiemap::Fiemap::new(opened) {
            let extent = extent.with_context(context)?;
            extents.push(Extent {
                logical: extent.fe_logical,
                physical: extent.fe_physical,
                length: extent.fe_length,
            });
        }
        ensure!(!extents.is_empty(), "{} has no extents", file.display());
        Ok(extents)
    }

    /// Changes bytes while the filesystem is unmounted and nothing of it is cached: XORs the byte
    /// at each position of the disk with a mask. The filesystem is mounted again afterwards.
    pub fn tamper(&mut self, changes: &[(u64, u8)]) -> Result<()> {
        rustix::fs::sync();
        if let Some(mount) = self.mount.take() {
            mount.unmount()?;
        }
        let context = || self.backing.display().to_string();
        let backing = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.backing)
            .with_context(context)?;
        for (position, mask) in changes {
            let mut byte = [0];
            backing
                .read_exact_at(&mut byte, *position)
                .with_context(context)?;
            backing
                .write_all_at(&[byte[0] ^ mask], *position)
                .with_context(context)?;
        }
        backing.sync_all().with_context(context)?;
        self.mount()
    }

    /// Takes the filesystem away, once whoever has something open on it has heard that it is to
    /// be closed.
    pub fn unmount(mut self) -> Result<()> {
        let Some(mount) = self.mount.take() else {
            return Ok(());
        };
        let begin = Instant::now();
        loop {
            match rustix::mount::unmount(mount.root(), UnmountFlags::empty()) {
                Err(Errno::BUSY) if begin.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                result => {
                    result.with_context(|| mount.root().display().to_string())?;
                    mount.forget();
                    return Ok(());
                }
            }
        }
    }

    fn mount(&mut self) -> Result<()> {
        let (backing, target) = (
            self.backing.to_string_lossy(),
            self.target.to_string_lossy(),
        );
        run("mount", ["-t", "ext4", "-o", "loop", &backing, &target])?;
        self.mount = Some(Mount::adopt(&self.target));
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Before the backing file, so that the loop device has gone.
        drop(self.mount.take());
        let _ = fs::remove_file(&self.backing);
    }
}
