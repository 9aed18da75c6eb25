// SPDX-License-Identifier: GPL-2.0-only
//! `composefs mount` and `composefs umount`.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use composefs_fetchd::message::Wish;
use composefs_format::Verity;
use composefs_mount::options::{Driver, Options as Mount, Proof, Upper};
use composefs_repository::Repository;
use composefs_tools::fsverity::Digest;
use composefs_tools::quote;
use rustix::fs::{memfd_create, MemfdFlags};
use rustix::io::Errno;
use rustix::mount::{unmount, UnmountFlags};

use crate::fetched;
use crate::lazy::Trigger;
use crate::place::Place;
use crate::service;

/// Mount an image
#[derive(Args, Debug)]
pub struct Options {
    /// The image
    image: String,
    /// Where
    target: PathBuf,
    /// Have a layer on top that can be written to, and is kept in this directory
    #[arg(long, value_name = "DIR")]
    writable: Option<PathBuf>,
    /// Give the kernel no signature, even if the image has one here
    #[arg(long)]
    no_signature: bool,
    /// Fetch objects that are not here when they are opened, from where fetch --lazy was told; and
    /// meanwhile all others
    #[arg(long)]
    lazy: bool,
    /// But no others
    #[arg(long, requires = "lazy")]
    no_fill: bool,
}

/// Unmount an image
#[derive(Args, Debug)]
pub struct Unmount {
    /// Where it is mounted
    target: PathBuf,
}

impl Options {
    pub fn run(self, place: &Place) -> Result<()> {
        let repository = place.open()?;
        let (with_manifest, digest) = fetched::open(&repository, &self.image)?;
        let image = repository.object(&digest)?;
        let context = || format!("cannot mount {}", quote::bytes(self.image.as_bytes()));
        let mut options = Mount {
            basedirs: vec![repository.objects_path()],
            ..Mount::default()
        };
        let trigger = match self.lazy {
            true => Some(self.trigger(&repository, &digest).with_context(context)?),
            false => None,
        };
        if let Some(trigger) = &trigger {
            // What the trigger has fetched is in the store by the time that it answers.
            let trigger = trigger.path().to_owned();
            options
                .basedirs
                .extend([trigger, repository.objects_path()]);
            options.driver = Driver::Kernel;
        }
        // Without fs-verity the digest was compared above, and the kernel could not.
        match repository.is_secure() {
            true => options.digest = Some(digest),
            false => options.verity = Some(Proof::Must(Verity::Off)),
        }
        if let Some(dir) = &self.writable {
            let upper = Upper {
                dir: dir.join("upper"),
                work: dir.join("work"),
            };
            for dir in [&upper.dir, &upper.work] {
                std::fs::create_dir_all(dir).with_context(|| quote::path(dir).to_string())?;
            }
            options.upper = Some(upper);
        }
        // What has no fs-verity has nothing that the kernel could compare with a signature.
        let may_sign = !self.no_signature && repository.is_secure();
        let signatures = match may_sign {
            true => fetched::signatures(&repository, with_manifest.as_ref(), &digest),
            false => Ok(Vec::new()),
        };
        let signatures: std::io::Result<Vec<_>> = signatures
            .with_context(context)?
            .iter()
            .map(|signature| in_memory(signature))
            .collect();
        let signatures = signatures.with_context(context)?;
        match mount(&image, &mut options, &signatures, &self.target) {
            Err(error) if error.errno() == Errno::PERM && service::is_there() => {
                let wanted = service::Wanted {
                    image: &image,
                    digest: &digest,
                    objects: &repository.objects_path(),
                    is_secure: repository.is_secure(),
                    signatures: &signatures,
                };
                wanted.mount(options.upper.as_ref(), &self.target)
            }
            mounted => Ok(mounted?),
        }
        .with_context(context)
    }
}

impl Options {
    /// Where objects are looked for that are not here.
    fn trigger(&self, repository: &Repository, image: &Digest) -> Result<Trigger> {
        let path = repository.path();
        Trigger::new(&Wish {
            repository: path
                .canonicalize()
                .with_context(|| quote::path(path).to_string())?,
            image: image.to_string(),
            fill: !self.no_fill,
        })
    }
}

/// Mounts it with the first signature that the kernel takes, if there is any.
fn mount(
    image: &File,
    options: &mut Mount,
    signatures: &[File],
    target: &Path,
) -> Result<(), composefs_mount::Error> {
    let mut refused = None;
    for signature in signatures {
        options.signature = Some(format!("/proc/self/fd/{}", signature.as_raw_fd()).into());
        match composefs_mount::mount(image, options, target) {
            Err(error) if is_of_signature(&error) => refused = Some(error),
            done => return done,
        }
    }
    match refused {
        Some(error) => Err(error),
        None => composefs_mount::mount(image, options, target),
    }
}

/// Whether another signature may be taken where this one was not: by another key, say.
fn is_of_signature(error: &composefs_mount::Error) -> bool {
    matches!(
        error.errno(),
        Errno::NOKEY | Errno::KEYREJECTED | Errno::BADMSG
    )
}

/// A file that is nowhere.
fn in_memory(content: &[u8]) -> std::io::Result<File> {
    let file = memfd_create("signature", MemfdFlags::CLOEXEC)?;
    let mut file = File::from(file);
    file.write_all(content)?;
    Ok(file)
}

impl Unmount {
    pub fn run(self) -> Result<()> {
        unmount(&self.target, UnmountFlags::NOFOLLOW)
            .with_context(|| format!("cannot unmount {}", quote::path(&self.target)))
    }
}
