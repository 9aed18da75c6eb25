// SPDX-License-Identifier: GPL-2.0-only
//! Changing what is mounted.

use std::path::Path;

use composefs_format::disk::header;
use rustix::mount::{mount_remount, MountAttrFlags, MountFlags};

use crate::context::Context;
use crate::driver;
use crate::error::{Error, Step};
use crate::options::{Options, Proof};

/// Changes the mount at `target`: what is checked of objects, where the driver has mounted it, and
/// what mounts of all types have, such as `nosuid`.
///
/// # Errors
/// If the driver finds that something else is to be changed; whatever the kernel refuses.
pub fn remount(options: &Options, target: &Path) -> Result<(), Error> {
    let about = || format!("cannot change {}", target.display());

    let statistics = rustix::fs::statfs(target).step(about)?;
    if statistics.f_type as u32 == header::MAGIC {
        let context = Context::pick(driver::NAME, target)?;
        let level = options.verity.map(Proof::with_driver);
        driver::configure(&context, options, level)?;
        context.reconfigure()?;
    }
    mount_remount(target, MountFlags::BIND | flags(options.attributes), "").step(about)
}

/// What `mount(2)` calls these attributes.
fn flags(attributes: MountAttrFlags) -> MountFlags {
    [
        (MountAttrFlags::MOUNT_ATTR_RDONLY, MountFlags::RDONLY),
        (MountAttrFlags::MOUNT_ATTR_NOSUID, MountFlags::NOSUID),
        (MountAttrFlags::MOUNT_ATTR_NODEV, MountFlags::NODEV),
        (MountAttrFlags::MOUNT_ATTR_NOEXEC, MountFlags::NOEXEC),
        (MountAttrFlags::MOUNT_ATTR_NOATIME, MountFlags::NOATIME),
        (
            MountAttrFlags::MOUNT_ATTR_STRICTATIME,
            MountFlags::STRICTATIME,
        ),
        (
            MountAttrFlags::MOUNT_ATTR_NODIRATIME,
            MountFlags::NODIRATIME,
        ),
        (
            MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW,
            MountFlags::NOSYMFOLLOW,
        ),
    ]
    .into_iter()
    .filter(|(attribute, _)| attributes.contains(*attribute))
    .fold(MountFlags::empty(), |flags, (_, flag)| flags | flag)
}
