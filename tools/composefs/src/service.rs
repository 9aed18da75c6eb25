// SPDX-License-Identifier: GPL-2.0-only
//! Mounts for whoever is not root, by the service that may.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use composefs_mount::attach_for_user;
use composefs_mount::options::Upper;
use composefs_mountd::client::{self, Request};
use composefs_mountd::interface::{Error, SOCKET};
use composefs_tools::fsverity::Digest;
use rustix::fs::{openat, Mode, OFlags, CWD};
use rustix::mount::{open_tree, OpenTreeFlags};

/// Names another socket.
const VARIABLE: &str = "COMPOSEFS_MOUNT_SERVICE";

/// What user namespaces map that are not the first one's children.
const EVERYTHING: [&str; 3] = ["0", "0", "4294967295"];

fn socket() -> PathBuf {
    std::env::var_os(VARIABLE).map_or_else(|| SOCKET.into(), PathBuf::from)
}

/// Whether somebody may listen.
pub fn is_there() -> bool {
    socket().exists()
}

/// What is to be mounted.
pub struct Wanted<'a> {
    pub image: &'a File,
    pub digest: &'a Digest,
    pub objects: &'a Path,
    /// Whether objects have fs-verity.
    pub is_secure: bool,
    pub signatures: &'a [File],
}

impl Wanted<'_> {
    /// Mounts it, as whoever owns the user namespace that this runs in.
    pub fn mount(&self, upper: Option<&Upper>, target: &Path) -> Result<()> {
        let map = fs::read_to_string("/proc/self/uid_map").context("/proc/self/uid_map")?;
        if map.split_whitespace().eq(EVERYTHING) {
            bail!(
                "only root can mount outside of a user namespace; in one of your own, the mount \
                 service helps: unshare --user --map-root-user --mount"
            );
        }
        let namespace = File::open("/proc/self/ns/user").context("/proc/self/ns/user")?;
        // The service has other mounts than this process, and can use none of its own but one that
        // is nowhere.
        let context = || format!("cannot open {}", self.objects.display());
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let around = open_tree(CWD, self.objects, flags).with_context(context)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let objects = openat(&around, ".", flags, Mode::empty()).with_context(context)?;
        let mount = self.ask(&namespace, &objects)?;
        Ok(attach_for_user(&mount, upper, target)?)
    }

    /// Asks for it by each signature, and then without any.
    fn ask(&self, namespace: &File, objects: &OwnedFd) -> Result<OwnedFd> {
        let ask = |signature: Option<&File>| {
            let request = Request {
                image: self.image.as_fd(),
                basedirs: &[objects.as_fd()],
                signature: signature.map(File::as_fd),
                digest: Some(self.digest.to_string()),
                verity: self.is_secure,
                namespace: namespace.as_fd(),
            };
            client::mount(&socket(), &request)
        };
        for signature in self.signatures {
            match ask(Some(signature)) {
                Err(error) if is_of_policy(&error) => {}
                done => return done,
            }
        }
        ask(None)
    }
}

/// Whether it may be granted for another reason.
fn is_of_policy(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::NotPermitted { .. }))
}
