// SPDX-License-Identifier: GPL-2.0-only
//! The driver, mounted by what is open; and what such a mount costs that is somebody's own.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use composefs_format::{Digest, Verity};
use composefs_mount::detached::Detached;
use composefs_selftests::setup::{self, drop_caches};
use rustix::fs::CWD;
use rustix::mount::{move_mount, MountAttrFlags, MoveMountFlags};

use crate::recorder::Recorder;
use crate::system::{Subject, System};
use crate::tree::Paths;
use crate::{opening, reading, walking};

/// The image, and the directory of objects.
pub fn files(subject: &Subject) -> Result<(File, File)> {
    let image = File::open(&subject.image).context("the image")?;
    let objects = File::open(&subject.objects).context("the objects")?;
    Ok((image, objects))
}

/// A mount that is nowhere yet, with a trigger between two mentions of the store if there is one.
pub fn mount(subject: &Subject, trigger: Option<BorrowedFd>) -> Result<OwnedFd> {
    let (image, objects) = files(subject)?;
    let digest = Digest::parse_hex(subject.digest.as_bytes());
    let digest = digest.ok().context("the digest")?;
    let mut basedirs = vec![objects.as_fd()];
    if let Some(trigger) = trigger {
        basedirs.extend([trigger, objects.as_fd()]);
    }
    let detached = Detached {
        image: image.as_fd(),
        basedirs: &basedirs,
        digest: Some(&digest),
        signature: None,
        verity: Verity::Require,
        attributes: MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV,
    };
    Ok(detached.mount()?)
}

/// Puts it where all systems are mounted.
pub fn attach(mount: OwnedFd, subject: &Subject) -> Result<()> {
    setup::create_dir(&subject.target)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(&mount, "", CWD, &subject.target, flags)?)
}

/// Records what a system costs that is mounted there, and unmounts it.
pub fn operations(system: System, subject: &Subject, paths: &Paths, device: &str) -> Result<()> {
    let recorder = Recorder::new(system);
    drop_caches()?;
    subject.enter()?;
    walking::measure(&recorder, paths, device)?;
    opening::measure(&recorder, paths, &subject.target)?;
    reading::measure(&recorder, paths)?;
    subject.unmount()
}
