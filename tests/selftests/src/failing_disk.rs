// SPDX-License-Identifier: GPL-2.0-only
//! A disk that fails or is slow when it is told to.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::run;
use crate::mapped_device::{MappedDevice, Requests};
use crate::mount::Mount;
use crate::setup;

/// An ext4 filesystem with fs-verity on such a disk. What is declared first is dropped first: the
/// mount is gone before its device is, and that before what it is made of.
pub struct FailingDisk {
    mount: Option<Mount>,
    device: MappedDevice,
    _below: LoopDevice,
    target: PathBuf,
}

impl FailingDisk {
    pub fn create(directory: &Path, name: &str, size: u64) -> Result<Self> {
        let below = LoopDevice::create(directory.join(format!("{name}.disk")), size)?;
        let options = ["-q", "-F", "-b", "4096", "-O", "verity"];
        run("mkfs.ext4", options.into_iter().chain([&*below.path]))?;
        let device = MappedDevice::create(&format!("composefs-{name}"), &below.path)?;
        let target = directory.join(name);
        setup::create_dir(&target)?;
        let path = format!("/dev/{}", device.kernel_name()?);
        let at = target.to_string_lossy();
        run("mount", ["-t", "ext4", "-o", "noatime", &path, &at])?;
        Ok(Self {
            mount: Some(Mount::adopt(&target)),
            device,
            _below: below,
            target,
        })
    }

    pub fn root(&self) -> &Path {
        &self.target
    }

    /// From now on every request fails with an I/O error; what is cached and clean is dropped.
    pub fn fail(&self) -> Result<()> {
        rustix::fs::sync();
        self.device.load(Requests::Fail)?;
        setup::drop_caches()
    }

    /// From now on every request takes a second; what is cached and clean is dropped.
    pub fn slow_down(&self) -> Result<()> {
        self.device.load(Requests::Delay { milliseconds: 1000 })?;
        setup::drop_caches()
    }

    /// The disk works again.
    pub fn repair(&self) -> Result<()> {
        self.device.load(Requests::Pass)
    }

    /// Takes the filesystem out of sight, as `umount --lazy` does.
    pub fn detach(&mut self) -> Result<()> {
        self.mount.take().map_or(Ok(()), Mount::detach)
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        // What is still to be written cannot be before.
        let _ = self.repair();
    }
}

/// A file as a block device; both are gone when this is dropped.
struct LoopDevice {
    path: String,
    backing: PathBuf,
}

impl LoopDevice {
    fn create(backing: PathBuf, size: u64) -> Result<Self> {
        setup::modprobe("loop")?;
        File::create(&backing)
            .and_then(|file| file.set_len(size))
            .with_context(|| backing.display().to_string())?;
        let path = run("losetup", ["--find", "--show", &backing.to_string_lossy()])?;
        Ok(Self { path, backing })
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = run("losetup", ["--detach", &self.path]);
        let _ = fs::remove_file(&self.backing);
    }
}
