// SPDX-License-Identifier: GPL-2.0-only
//! The storage of podman and its fellows, whose layers are what was unpacked: skopeo knows how to
//! make archives of them again.

use std::io::Read;
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};
use tempfile::TempDir;

use super::layout::Layout;
use super::{Root, Source};
use crate::manifest::Descriptor;

/// Where there is room.
const PLACE: &str = "/var/tmp";

/// An image that was copied out of there.
#[derive(Debug)]
pub struct Storage {
    layout: Layout,
    _dir: TempDir,
}

impl Storage {
    /// Copies the image of this name.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn open(name: &str) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("composefs-")
            .tempdir_in(PLACE)
            .context(PLACE)?;
        let mut to = std::ffi::OsString::from("oci:");
        to.push(dir.path());
        let output = Command::new("skopeo")
            .args(["copy", "--quiet", "--dest-oci-accept-uncompressed-layers"])
            .arg(format!("containers-storage:{name}"))
            .arg(to)
            .stdin(Stdio::null())
            .output()
            .context("skopeo cannot be run, which knows how to read podman's storage")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("skopeo: {}", said.lines().last().unwrap_or("fails").trim());
        }
        Ok(Self {
            layout: Layout::new(dir.path(), None),
            _dir: dir,
        })
    }
}

impl Source for Storage {
    fn root(&self) -> Result<Root> {
        self.layout.root()
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        self.layout.blob(descriptor)
    }
}
