// SPDX-License-Identifier: GPL-2.0-only
//! The root file system.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use composefs_format::Verity;
use composefs_mount::options::{Options, Proof};
use rustix::fs::{major, minor, FileType};
use rustix::io::Errno;
use rustix::mount::{mount_change, unmount, MountAttrFlags, MountPropagationFlags, UnmountFlags};

use crate::arguments::{Arguments, Image};
use crate::config::{Config, Mount};
use crate::{directory, writable};

/// Where the root is until it is whole; and EROFS for a moment, if the kernel does not have the
/// driver.
const ROOT: &str = "/run/composefs/root";
const EROFS: &str = "/run/composefs/erofs";

/// Where the disk is, and the root comes.
pub struct Place<'a> {
    /// Where the disk is mounted.
    pub disk: &'a Path,
    /// Where the root is mounted; in place of the disk if there is nothing else.
    pub target: Option<&'a Path>,
}

/// An image that is on the disk.
struct Found {
    file: OwnedFd,
    /// The name of its state.
    name: PathBuf,
    image: Option<Image>,
}

/// Mounts the image that `arguments` ask for, and what can be written to.
///
/// # Errors
/// If no such image is on the disk, or it is not what it should be; whatever the kernel refuses.
pub fn set_up(arguments: &Arguments, config: &Config, place: &Place) -> Result<()> {
    let what = || place.disk.display().to_string();
    let disk = directory::at(place.disk).with_context(what)?;
    let repository = directory::open(&disk, "composefs")
        .with_context(|| format!("no composefs repository in {}", place.disk.display()))?;
    let found = find(arguments, &disk, &repository)?;
    let open = |path: &Path| {
        directory::open_file(&disk, path).with_context(|| format!("signature {}", path.display()))
    };
    let signature = arguments.signature.as_deref().map(open).transpose()?;
    let state = match directory::open(&disk, Path::new("state/deploy").join(&found.name)) {
        Ok(state) => Some(state),
        Err(Errno::NOENT) => None,
        Err(error) => return Err(error).context("state/deploy of the disk"),
    };

    let is_insecure = found.image.is_some_and(|image| image.is_insecure);
    let options = Options {
        basedirs: vec![place.disk.join("composefs/objects")],
        digest: found
            .image
            .filter(|image| !image.is_insecure)
            .map(|image| image.digest),
        signature: signature.as_ref().map(directory::path),
        verity: (is_insecure && signature.is_none()).then_some(Proof::Must(Verity::Off)),
        attributes: MountAttrFlags::MOUNT_ATTR_RDONLY,
        image_mountdir: Some(EROFS.into()),
        ..Options::default()
    };
    for path in [ROOT, EROFS] {
        std::fs::create_dir_all(path).context(path)?;
    }
    let root = Path::new(ROOT);
    composefs_mount::mount(&found.file, &options, root)
        .with_context(|| format!("image {}", found.name.display()))?;
    let result = make_private(root)
        .and_then(|()| fill(root, config, &disk, state.as_ref()))
        .and_then(|()| put(&disk, place));
    // What it was made of is where it is to be, or is not wanted any more. A transient root lies
    // above the image.
    while unmount(root, UnmountFlags::DETACH).is_ok() {}
    result
}

/// What is unmounted in `root` stays mounted in what was cloned from it.
fn make_private(root: &Path) -> Result<()> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change(root, flags).context(ROOT)
}

/// Puts the root where it is to be.
fn put(disk: &OwnedFd, place: &Place) -> Result<()> {
    make_private(Path::new(ROOT))?;
    let tree = directory::clone(Path::new(ROOT)).context(ROOT)?;
    let target = place.target.unwrap_or(place.disk);
    let what = || target.display().to_string();
    if place.target.is_none() {
        remember_device(disk);
        unmount(place.disk, UnmountFlags::DETACH).with_context(what)?;
    }
    directory::attach(tree, directory::at(target).with_context(what)?).with_context(what)
}

/// Mounts what is to be in the root.
fn fill(root: &Path, config: &Config, disk: &OwnedFd, state: Option<&OwnedFd>) -> Result<()> {
    let open = || directory::at(root).context(ROOT);
    if config.root.transient {
        writable::transient(&open()?).context("/")?;
    }
    let root = open()?;
    if let Ok(sysroot) = directory::open(&root, "sysroot") {
        let clone = directory::clone_of(disk).context("/sysroot")?;
        directory::attach(clone, sysroot).context("/sysroot")?;
    }
    writable::mount(&root, state, "etc", config.etc.mount(Mount::Overlay)).context("/etc")?;
    writable::mount(&root, state, "var", config.var.mount(Mount::Bind)).context("/var")
}

fn find(arguments: &Arguments, disk: &OwnedFd, repository: &OwnedFd) -> Result<Found> {
    let mut tried = Vec::new();
    for &image in &arguments.images {
        let name = image.digest.to_string();
        match directory::open_file(repository, Path::new("images").join(&name)) {
            Ok(file) => {
                return Ok(Found {
                    file,
                    name: name.into(),
                    image: Some(image),
                })
            }
            Err(Errno::NOENT) => tried.push(name),
            Err(error) => return Err(error).with_context(|| format!("image {name}")),
        }
    }
    match &arguments.signature {
        _ if !tried.is_empty() => bail!("no such image on the disk: {}", tried.join(", ")),
        None => bail!("the kernel command line has no composefs=, nor composefs.digest="),
        Some(signature) => {
            let (name, path) = Arguments::signed_image(signature)?;
            let file = directory::open_file(disk, &path)
                .with_context(|| format!("image {}", path.display()))?;
            Ok(Found {
                file,
                name,
                image: None,
            })
        }
    }
}

/// Tells systemd which disk the root is from, which it cannot see: it would not find the other
/// partitions. It looks at the name of the link's target only.
fn remember_device(disk: &OwnedFd) {
    let gpt = rustix::fs::stat("/dev/gpt-auto-root")
        .ok()
        .filter(|stat| FileType::from_raw_mode(stat.st_mode).is_block_device())
        .map(|stat| stat.st_rdev);
    let own = || rustix::fs::fstat(disk).ok().map(|stat| stat.st_dev);
    let Some(device) = gpt.or_else(own).filter(|&device| major(device) != 0) else {
        return;
    };
    let target = format!("/dev/block/{}:{}", major(device), minor(device));
    // Who runs no systemd has no such directory.
    let _ = rustix::fs::symlink(target, "/run/systemd/volatile-root");
}
