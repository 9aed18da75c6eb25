// SPDX-License-Identifier: GPL-2.0-only
//! Mounting composefs images.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::command;
use crate::fs_context::{FsContext, Refusal};
use crate::setup;
use crate::tap;

/// What to mount, and how: the options in the order in which they are given.
#[derive(Clone, Default)]
pub struct Request {
    options: Vec<(String, Option<String>)>,
}

impl Request {
    /// A mount of this image.
    pub fn new(image: &Path) -> Self {
        Self::default().set("source", &image.to_string_lossy())
    }

    pub fn basedir(self, store: &Path) -> Self {
        self.set("basedir", &store.to_string_lossy())
    }

    pub fn digest(self, digest: &str) -> Self {
        self.set("digest", digest)
    }

    /// Any option with a value.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.options.push((key.into(), Some(value.into())));
        self
    }

    /// Any option without a value.
    pub fn flag(mut self, key: &str) -> Self {
        self.options.push((key.into(), None));
        self
    }

    /// Mounts it at `target`, a directory that is made if it does not exist.
    pub fn at(&self, target: &Path) -> Result<Mount, Refusal> {
        // A missing directory shows as the refusal of the last step.
        let _ = std::fs::create_dir_all(target);
        if setup::incumbent() {
            self.mount_incumbent(target)?;
        } else {
            self.mount_driver(target)?;
        }
        Ok(Mount {
            target: target.to_owned(),
            mounted: true,
        })
    }

    /// It must not mount, but fail with `errno` and leave one message with all of `words`.
    pub fn refused(&self, target: &Path, errno: Errno, words: &[&str]) -> Result<Refusal> {
        let Err(refusal) = self.at(target) else {
            bail!("it was mounted; expected {errno}");
        };
        ensure!(refusal.errno == errno, "{refusal}; expected {errno}");
        let message = refusal.message();
        let message = message.with_context(|| format!("not exactly one message: {refusal}"))?;
        for word in words {
            ensure!(message.contains(word), "\"{word}\" is not in \"{message}\"");
        }
        Ok(refusal)
    }

    fn mount_driver(&self, target: &Path) -> Result<(), Refusal> {
        let context = FsContext::open("composefs").map_err(Refusal::of("fsopen"))?;
        for (key, value) in &self.options {
            match value {
                Some(value) => context.set_string(key, value)?,
                None => context.set_flag(key)?,
            }
        }
        context.create()?;
        context.attach(target)
    }

    /// Mounts it with composefs 1.0.8, which takes one basedir option and no value for verity.
    pub fn mount_incumbent(&self, target: &Path) -> Result<(), Refusal> {
        let values = |wanted: &str| -> Vec<&str> {
            let pairs = self.options.iter().filter(|(key, _)| key == wanted);
            pairs.filter_map(|(_, value)| value.as_deref()).collect()
        };
        let mut options = format!("ro,basedir={}", values("basedir").join(":"));
        // It knows digests of SHA-256 only.
        if let Some(digest) = values("digest").first().filter(|hex| hex.len() == 64) {
            options.push_str(&format!(",digest={digest}"));
        }
        if values("verity").contains(&"require") {
            options.push_str(",verity");
        }
        let image = values("source").concat();
        let arguments = ["-o", &options, &image, &target.to_string_lossy()];
        match command::run(setup::C_MOUNT, arguments) {
            Ok(_) => Ok(()),
            Err(error) => Err(Refusal {
                step: "mount.composefs".into(),
                errno: Errno::IO,
                log: vec![format!("{error:#}")],
            }),
        }
    }
}

/// Something mounted, unmounted when dropped.
pub struct Mount {
    target: PathBuf,
    mounted: bool,
}

impl Mount {
    /// Mounts the request's image with composefs 1.0.8, whatever is under test.
    pub fn incumbent(request: &Request, target: &Path) -> Result<Self> {
        setup::create_dir(target)?;
        setup::load_incumbent()?;
        request.mount_incumbent(target)?;
        Ok(Self::adopt(target))
    }

    /// Takes charge of what another program mounted.
    pub fn adopt(target: &Path) -> Self {
        Self {
            target: target.to_owned(),
            mounted: true,
        }
    }

    pub fn root(&self) -> &Path {
        &self.target
    }

    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.target.join(path)
    }

    /// Whether the filesystem is read-only.
    pub fn is_read_only(&self) -> Result<bool> {
        let statistics = rustix::fs::statvfs(&self.target)?;
        Ok(statistics.f_flag.contains(StatVfsMountFlags::RDONLY))
    }

    /// Changes one option of it.
    pub fn reconfigure(&self, key: &str, value: &str) -> Result<(), Refusal> {
        let picked = FsContext::pick(&self.target).map_err(Refusal::of("fspick"))?;
        picked.set_string(key, value)?;
        picked.reconfigure()
    }

    pub fn unmount(mut self) -> Result<()> {
        self.mounted = false;
        rustix::mount::unmount(&self.target, UnmountFlags::empty())
            .with_context(|| format!("unmounting {}", self.target.display()))
    }

    /// Leaves it mounted.
    pub fn forget(mut self) {
        self.mounted = false;
    }

    /// Takes the mount out of sight; it goes when the last user of it does.
    pub fn detach(mut self) -> Result<()> {
        self.mounted = false;
        rustix::mount::unmount(&self.target, UnmountFlags::DETACH)
            .with_context(|| format!("detaching {}", self.target.display()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if !self.mounted {
            return;
        }
        if let Err(error) = rustix::mount::unmount(&self.target, UnmountFlags::empty()) {
            tap::note(format_args!("unmount {}: {error}", self.target.display()));
            let _ = rustix::mount::unmount(&self.target, UnmountFlags::DETACH);
        }
    }
}
