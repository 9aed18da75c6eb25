// SPDX-License-Identifier: GPL-2.0-only
//! What of the root file system can be written to.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{bail, Context, Result};
use rustix::mount::{fsconfig_create, fsmount, fsopen, FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::config::Mount;
use crate::directory;

/// Mounts what is to be at the directory `name` of `root`, given its state.
pub fn mount(root: impl AsFd, state: Option<&OwnedFd>, name: &str, mount: Mount) -> Result<()> {
    let place =
        || directory::open(root.as_fd(), name).with_context(|| format!("the image's /{name}"));
    let state = || -> Result<OwnedFd> {
        let Some(state) = state else {
            bail!("there is no state for it on the disk");
        };
        directory::open(state, name).with_context(|| format!("{name} of the state on the disk"))
    };
    match mount {
        Mount::None => Ok(()),
        Mount::Bind => {
            let tree = directory::clone_of(state()?)?;
            Ok(directory::attach(tree, place()?)?)
        }
        Mount::Overlay => overlay(&place()?, &state()?),
        Mount::Transient => transient(&place()?),
    }
}

/// An overlay on `place` that keeps in memory what is written.
pub fn transient(place: &OwnedFd) -> Result<()> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let memory = fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    overlay(place, &memory)
}

/// An overlay on `place` that keeps in the directories `upper` and `work` of `state` what is written.
fn overlay(place: &OwnedFd, state: &OwnedFd) -> Result<()> {
    // What is seen has the mode of the upper directory.
    let upper = directory::make(state, "upper", 0o755)?;
    let work = directory::make(state, "work", 0o700)?;
    let overlay = composefs_mount::writable(place, upper, work)?;
    Ok(directory::attach(overlay, place)?)
}
