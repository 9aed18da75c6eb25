// SPDX-License-Identifier: GPL-2.0-only
//! What is granted, and the mount of it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use composefs_format::{Digest, Verity};
use composefs_mount::detached::{map_owners, Detached};
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::caller::{mounting, Caller};
use crate::config::Config;
use crate::control::Control;
use crate::descriptors::Descriptors;
use crate::interface::{Error, MountImage};
use crate::own;

/// What every mount has.
const ALWAYS: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// Why an image is granted.
enum Ground<'a> {
    /// The kernel is to trust this signature.
    Signature(BorrowedFd<'a>),
    /// The administrator lists it.
    Listed,
    /// It is made anew.
    Own(File),
}

/// A mount that was granted, and the words for it in the journal.
pub struct Granted {
    pub mount: OwnedFd,
    pub what: String,
}

/// Makes the mount that is asked for. This process has no more rights than the caller afterwards,
/// whatever comes of it.
pub fn grant(
    config: &Config,
    caller: &Caller,
    request: &MountImage,
    descriptors: &Descriptors,
    control: &Control,
) -> Result<Granted, Error> {
    caller
        .act_as()
        .map_err(|error| failed("cannot act as the caller", error))?;

    let image = descriptors.file("imageFileDescriptor", request.image_file_descriptor)?;
    let basedir = |&at: &usize| descriptors.directory("basedirFileDescriptors", at);
    let basedirs = request.basedir_file_descriptors.iter().map(basedir);
    let basedirs = basedirs.collect::<Result<Vec<_>, _>>()?;
    let signature = request
        .signature_file_descriptor
        .map(|at| descriptors.file("signatureFileDescriptor", at))
        .transpose()?;
    let at = request.user_namespace_file_descriptor;
    let namespace = descriptors.any("userNamespaceFileDescriptor", at)?;
    let digest = request.digest.as_deref().map(parse).transpose()?;

    let ground = ground(config, image, signature, digest.as_ref())?;
    let what = format!("image {} {}", name(image), words(&ground, digest.as_ref()));
    let (file, signature, verity) = match &ground {
        Ground::Signature(signature) => (image, Some(*signature), Verity::Require),
        Ground::Listed => (image, None, Verity::Require),
        // What users have at home often is on no file system with fs-verity.
        Ground::Own(file) => match request.verity {
            Some(true) => (file.as_fd(), None, Verity::Require),
            _ => (file.as_fd(), None, Verity::Off),
        },
    };
    let exec = match request.no_exec {
        Some(true) => MountAttrFlags::MOUNT_ATTR_NOEXEC,
        _ => MountAttrFlags::empty(),
    };
    let detached = Detached {
        image: file,
        basedirs: &basedirs,
        digest: digest
            .as_ref()
            .filter(|_| !matches!(ground, Ground::Own(_))),
        signature,
        verity,
        attributes: ALWAYS | exec,
    };
    let failed_to = |what| move |error| failed(what, error);
    control.count()?;
    let mount = mounting(|| detached.mount()).map_err(failed_to("cannot mount"))?;
    let mount = mount.map_err(refused)?;
    mounting(|| map_owners(&mount, namespace))
        .map_err(failed_to("cannot map owners"))?
        .map_err(refused_namespace)?;
    caller.enter(namespace).map_err(refused_namespace)?;
    Ok(Granted { mount, what })
}

/// Why it may be granted, or why not.
fn ground<'a>(
    config: &Config,
    image: BorrowedFd,
    signature: Option<BorrowedFd<'a>>,
    digest: Option<&Digest>,
) -> Result<Ground<'a>, Error> {
    let not_permitted = |reason: String| Err(Error::NotPermitted { reason });
    match (signature, digest) {
        (Some(signature), _) if config.grant.signed => Ok(Ground::Signature(signature)),
        (Some(_), _) => not_permitted("signed images are not granted here".into()),
        (None, Some(digest)) if config.grant.digests.contains(digest) => Ok(Ground::Listed),
        (None, _) if config.grant.own => {
            let own = own::rebuild(image, digest, config.limits.own_size);
            own.map(Ground::Own).map_err(|error| Error::InvalidImage {
                reason: format!("{error:#}"),
            })
        }
        (None, Some(digest)) => not_permitted(format!(
            "{digest} is not among the digests that are granted"
        )),
        (None, None) => not_permitted("images without signature or digest are not granted".into()),
    }
}

fn parse(text: &str) -> Result<Digest, Error> {
    Digest::parse_hex(text.as_bytes()).map_err(|_| Error::InvalidParameter {
        parameter: "digest".into(),
    })
}

/// How the journal names a file that came as a descriptor.
fn name(file: BorrowedFd) -> String {
    fstat(file).map_or_else(
        |error| error.to_string(),
        |stat| format!("{:x}:{}", stat.st_dev, stat.st_ino),
    )
}

fn words(ground: &Ground, digest: Option<&Digest>) -> String {
    match (ground, digest) {
        (Ground::Signature(_), Some(digest)) => format!("with a signature and the digest {digest}"),
        (Ground::Signature(_), None) => "with a signature".into(),
        (Ground::Listed, Some(digest)) => format!("with the listed digest {digest}"),
        (Ground::Listed, None) => "that is listed".into(),
        (Ground::Own(_), Some(digest)) => format!("of the digest {digest}, made anew"),
        (Ground::Own(_), None) => "made anew".into(),
    }
}

/// What the kernel says of an image, sorted.
fn refused(error: composefs_mount::Error) -> Error {
    let reason = error.to_string();
    match error.errno() {
        Errno::NOKEY | Errno::KEYREJECTED | Errno::ACCESS | Errno::PERM => {
            Error::NotPermitted { reason }
        }
        Errno::NOMEM | Errno::NODEV | Errno::NOSYS => Error::Failed { reason },
        _ => Error::InvalidImage { reason },
    }
}

fn refused_namespace(error: Errno) -> Error {
    match error {
        Errno::PERM => Error::NotPermitted {
            reason: "the user namespace is not the caller's".into(),
        },
        error => Error::InvalidFile {
            parameter: "userNamespaceFileDescriptor".into(),
            reason: error.to_string(),
        },
    }
}

fn failed(what: &str, error: Errno) -> Error {
    Error::Failed {
        reason: format!("{what}: {error}"),
    }
}
