// SPDX-License-Identifier: GPL-2.0-only
//! A disk that fails or is slow when it is told to: a device-mapper device whose table is exchanged
//! for one of errors or delays.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::run;
use crate::mount::Mount;
use crate::setup;

/// An ext4 filesystem with fs-verity on such a disk.
pub struct FailingDisk {
    name: String,
    backing: PathBuf,
    loop_device: String,
    sectors: u64,
    target: PathBuf,
    mount: Option<Mount>,
}

impl FailingDisk {
    pub fn create(directory: &Path, name: &str, size: u64) -> Result<Self> {
        setup::modprobe("loop")?;
        setup::modprobe("dm-mod")?;
        let backing = directory.join(format!("{name}.disk"));
        File::create(&backing)
            .and_then(|file| file.set_len(size))
            .with_context(|| backing.display().to_string())?;
        let path = backing.to_string_lossy();
        let options = ["-q", "-F", "-b", "4096", "-O", "verity"];
        run("mkfs.ext4", options.into_iter().chain([&*path]))?;
        let mut disk = Self {
            name: format!("composefs-{name}"),
            loop_device: run("losetup", ["--find", "--show", &path])?,
            backing,
            sectors: size / 512,
            target: directory.join(name),
            mount: None,
        };
        let table = disk.table("linear");
        dmsetup(&["create", &disk.name, "--table", &table])?;
        setup::create_dir(&disk.target)?;
        // The names in /dev/mapper are udev's, and there is none in the guest.
        let known = ["info", "--columns", "--noheadings", "-o", "blkdevname"];
        let device = run("dmsetup", known.into_iter().chain([&*disk.name]))?;
        let device = format!("/dev/{}", device.trim());
        let at = disk.target.to_string_lossy().into_owned();
        run("mount", ["-t", "ext4", "-o", "noatime", &device, &at])?;
        disk.mount = Some(Mount::adopt(&disk.target));
        Ok(disk)
    }

    pub fn root(&self) -> &Path {
        &self.target
    }

    /// From now on every request fails with an I/O error; what is cached and clean is dropped.
    pub fn fail(&self) -> Result<()> {
        rustix::fs::sync();
        self.load("error")?;
        setup::drop_caches()
    }

    /// From now on every request takes a second; what is cached and clean is dropped.
    pub fn slow_down(&self) -> Result<()> {
        setup::modprobe("dm-delay")?;
        self.load("delay")?;
        setup::drop_caches()
    }

    /// The disk works again.
    pub fn repair(&self) -> Result<()> {
        self.load("linear")
    }

    /// Takes the filesystem out of sight, as `umount --lazy` does.
    pub fn detach(&mut self) -> Result<()> {
        self.mount.take().map_or(Ok(()), Mount::detach)
    }

    fn table(&self, kind: &str) -> String {
        match kind {
            "error" => format!("0 {} error", self.sectors),
            "delay" => format!("0 {} delay {} 0 1000", self.sectors, self.loop_device),
            _ => format!("0 {} linear {} 0", self.sectors, self.loop_device),
        }
    }

    fn load(&self, kind: &str) -> Result<()> {
        dmsetup(&["suspend", "--nolockfs", &self.name])?;
        dmsetup(&["load", &self.name, "--table", &self.table(kind)])?;
        dmsetup(&["resume", &self.name])
    }
}

fn dmsetup(arguments: &[&str]) -> Result<()> {
    run("dmsetup", arguments.iter().chain(&["--noudevsync"])).map(drop)
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        let _ = self.repair();
        drop(self.mount.take());
        let _ = dmsetup(&["remove", "--retry", &self.name]);
        let _ = run("losetup", ["--detach", &self.loop_device]);
        let _ = fs::remove_file(&self.backing);
    }
}
