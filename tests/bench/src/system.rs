// SPDX-License-Identifier: GPL-2.0-only
//! What is compared, and how each of them is mounted.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use composefs_selftests::fs_context::FsContext;
use composefs_selftests::{command, setup};
use rustix::mount::{mount_bind, unmount, UnmountFlags};

/// One of the systems that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum System {
    /// The driver.
    Composefs,
    /// composefs 1.0.8: EROFS for the metadata, overlayfs to find the objects.
    Overlay,
    /// EROFS alone, with the same image: metadata without content.
    Erofs,
    /// The tree as it is, without fs-verity.
    Ext4,
    /// The driver, by root, in a mount that shows other owners.
    Mapped,
    /// The driver, by composefs-mountd, as users have it.
    Service,
    /// The driver, with a service that would fetch what is not here.
    Lazy,
    /// The FUSE server of composefs-rs, which users have where there is no service.
    Fuse,
    /// EROFS with the content of files in the image, which is under fs-verity.
    ErofsData,
    /// The same, with a page cache that is shared between images.
    ErofsShared,
}

impl System {
    /// What root mounts.
    pub const BY_ROOT: [Self; 6] = [
        Self::Composefs,
        Self::Overlay,
        Self::Erofs,
        Self::Ext4,
        Self::ErofsData,
        Self::ErofsShared,
    ];

    pub const ALL: [Self; 10] = [
        Self::Composefs,
        Self::Overlay,
        Self::Erofs,
        Self::Ext4,
        Self::Mapped,
        Self::Service,
        Self::Lazy,
        Self::Fuse,
        Self::ErofsData,
        Self::ErofsShared,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Composefs => "composefs",
            Self::Overlay => "overlay_erofs",
            Self::Erofs => "erofs",
            Self::Ext4 => "ext4",
            Self::Mapped => "mapped_owners",
            Self::Service => "by_service",
            Self::Lazy => "lazily",
            Self::Fuse => "composefs_fuse",
            Self::ErofsData => "erofs_data",
            Self::ErofsShared => "erofs_shared",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|system| system.name() == name)
    }

    /// Whether its image has the content of files in it.
    pub fn is_data_inside(self) -> bool {
        matches!(self, Self::ErofsData | Self::ErofsShared)
    }

    /// Whether the content of files can be read.
    pub fn has_content(self) -> bool {
        self != Self::Erofs
    }
}

/// What is mounted: a tree, and the image and objects that were made of it.
#[derive(Clone, Debug)]
pub struct Subject {
    pub tree: PathBuf,
    pub image: PathBuf,
    /// An image that has the content of files in it.
    pub data: PathBuf,
    pub objects: PathBuf,
    /// The fs-verity digest of the image.
    pub digest: String,
    /// Where each system is mounted in its turn, so that all see paths of the same form.
    pub target: PathBuf,
}

impl Subject {
    /// Mounts what root mounts by itself.
    pub fn mount(&self, system: System) -> Result<()> {
        setup::create_dir(&self.target)?;
        match system {
            System::Composefs => {
                let context = FsContext::open("composefs")?;
                context.set_string("source", &self.image.to_string_lossy())?;
                context.set_string("basedir", &self.objects.to_string_lossy())?;
                context.set_string("digest", &self.digest)?;
                context.create()?;
                context.attach(&self.target)?;
            }
            System::Overlay => {
                command::run(setup::C_MOUNT, self.helper_arguments())?;
            }
            System::Erofs => {
                self.mount_erofs(&self.image, &self.target)?;
            }
            System::ErofsData | System::ErofsShared => {
                self.mount_data(system == System::ErofsShared, &self.data, &self.target)?;
            }
            System::Ext4 => mount_bind(&self.tree, &self.target).context("bind mount")?,
            System::Mapped | System::Service | System::Lazy | System::Fuse => {
                bail!("{} takes more than what root has", system.name())
            }
        }
        Ok(())
    }

    /// What composefs 1.0.8's mount helper is given.
    pub fn helper_arguments(&self) -> [String; 4] {
        let (objects, digest) = (self.objects.display(), &self.digest);
        [
            "-o".into(),
            format!("ro,basedir={objects},digest={digest},verity"),
            self.image.display().to_string(),
            self.target.display().to_string(),
        ]
    }

    /// As composefs 1.0.8's mount helper does it, which needs no loop device here.
    pub fn mount_erofs(&self, image: &Path, target: &Path) -> Result<()> {
        let context = FsContext::open("erofs")?;
        context.set_string("source", &image.to_string_lossy())?;
        context.set_flag("ro")?;
        context.set_flag("noacl")?;
        context.create()?;
        context.attach(target)?;
        Ok(())
    }

    /// EROFS shares pages between the images of a domain whose mounts ask for it.
    pub fn mount_data(&self, is_shared: bool, image: &Path, target: &Path) -> Result<()> {
        let context = FsContext::open("erofs")?;
        context.set_string("source", &image.to_string_lossy())?;
        context.set_flag("ro")?;
        if is_shared {
            context.set_string("domain_id", "bench")?;
            context.set_flag("inode_share")?;
        }
        context.create()?;
        context.attach(target)?;
        Ok(())
    }

    /// Makes what is mounted the current directory: paths that begin there are not about what
    /// lies above.
    pub fn enter(&self) -> Result<()> {
        env::set_current_dir(&self.target).with_context(|| self.target.display().to_string())
    }

    pub fn unmount(&self) -> Result<()> {
        env::set_current_dir("/")?;
        unmount(&self.target, UnmountFlags::empty())
            .with_context(|| format!("unmounting {}", self.target.display()))
    }
}

/// Everything that is to be mounted is known to the kernel.
pub fn load() -> Result<()> {
    setup::load_module()?;
    setup::load_incumbent()?;
    for name in ["composefs", "erofs", "overlay"] {
        ensure!(setup::is_registered(name)?, "the kernel has no {name}");
    }
    Ok(())
}
