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
use composefs_oci::image::Image;
use composefs_repository::Repository;
use composefs_tools::fsverity::Digest;
use composefs_tools::quote;
use rustix::fs::{memfd_create, MemfdFlags};
use rustix::io::Errno;
use rustix::mount::{unmount, UnmountFlags};

use crate::ahead;
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
    /// Meanwhile read ahead what record has noted of the image
    #[arg(long)]
    prefetch: bool,
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
        let image = Found::new(&repository, &self.image)?;
        let context = || format!("cannot mount {}", quote::bytes(self.image.as_bytes()));
        let mut options = Mount {
            basedirs: vec![repository.objects_path()],
            ..Mount::default()
        };
        let trigger = match self.lazy {
            true => Some(
                self.trigger(&repository, &image.digest)
                    .with_context(context)?,
            ),
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
        image
            .mount(options, !self.no_signature, &self.target)
            .with_context(context)?;
        if self.prefetch {
            ahead::start(&repository, &self.image, &image.digest);
        }
        Ok(())
    }

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

/// An image that can be mounted.
pub(super) struct Found<'a> {
    repository: &'a Repository,
    with_manifest: Option<Image>,
    pub digest: Digest,
    file: File,
}

impl<'a> Found<'a> {
    /// The image of this name.
    pub fn new(repository: &'a Repository, name: &str) -> Result<Self> {
        let (with_manifest, digest) = fetched::open(repository, name)?;
        Ok(Self {
            repository,
            with_manifest,
            digest,
            file: repository.object(&digest)?,
        })
    }

    /// Mounts it, as one that must have its digest, with a signature if the kernel takes one.
    pub fn mount(&self, mut options: Mount, may_sign: bool, target: &Path) -> Result<()> {
        let repository = self.repository;
        // Without fs-verity the digest was compared above, and the kernel could not.
        match repository.is_secure() {
            true => options.digest = Some(self.digest),
            false => options.verity = Some(Proof::Must(Verity::Off)),
        }
        // What has no fs-verity has nothing that the kernel could compare with a signature.
        let signatures = match may_sign && repository.is_secure() {
            true => fetched::signatures(repository, self.with_manifest.as_ref(), &self.digest)?,
            false => Vec::new(),
        };
        let signatures: Vec<_> = signatures
            .iter()
            .map(|signature| in_memory(signature))
            .collect::<std::io::Result<_>>()?;
        match mount(&self.file, &mut options, &signatures, target) {
            Err(error) if error.errno() == Errno::PERM && service::is_there() => {
                let wanted = service::Wanted {
                    image: &self.file,
                    digest: &self.digest,
                    objects: &repository.objects_path(),
                    is_secure: repository.is_secure(),
                    signatures: &signatures,
                };
                wanted.mount(options.upper.as_ref(), target)
            }
            mounted => Ok(mounted?),
        }
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
