// SPDX-License-Identifier: GPL-2.0-only
//! An OCI image in a directory, made by umoci of layers that are trees here.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::run;
use crate::containers::{text, Containers};

/// The tag of every image.
pub const TAG: &str = "tag";

/// What tar is told for archives with all that a file can have, and nothing of who reads it.
pub const PAX: &[&str] = &[
    "--format=pax",
    "--pax-option=delete=atime,delete=ctime",
    "--xattrs",
    "--xattrs-include=*",
];

/// An image.
pub struct OciImage<'a> {
    containers: &'a Containers,
    directory: PathBuf,
}

impl<'a> OciImage<'a> {
    /// One without layers, in a directory that is made.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(containers: &'a Containers, directory: &Path) -> Result<Self> {
        let image = Self {
            containers,
            directory: directory.to_owned(),
        };
        containers.umoci(&["init", "--layout", text(directory)?])?;
        containers.umoci(&["new", "--image", &image.name()?])?;
        Ok(image)
    }

    /// As umoci names it.
    ///
    /// # Errors
    /// If its path is not text.
    pub fn name(&self) -> Result<String> {
        Ok(format!("{}:{TAG}", text(&self.directory)?))
    }

    /// As skopeo and ours name it.
    ///
    /// # Errors
    /// If its path is not text.
    pub fn reference(&self) -> Result<String> {
        Ok(format!("oci:{}", self.name()?))
    }

    /// Puts the archive on top, which is moved there.
    ///
    /// # Errors
    /// If umoci cannot.
    pub fn add(&self, layer: &Path) -> Result<()> {
        let name = self.name()?;
        self.containers
            .umoci(&["raw", "add-layer", "--image", &name, text(layer)?])?;
        Ok(fs::remove_file(layer)?)
    }

    /// Gives another tag to what there is of it now.
    ///
    /// # Errors
    /// If umoci cannot.
    pub fn tag(&self, tag: &str) -> Result<()> {
        let name = self.name()?;
        self.containers
            .umoci(&["tag", "--image", &name, tag])
            .map(drop)
    }

    /// What umoci unpacks of it.
    ///
    /// # Errors
    /// If umoci cannot.
    pub fn unpack(&self, to: &Path) -> Result<()> {
        let name = self.name()?;
        self.containers
            .umoci(&["raw", "unpack", "--image", &name, text(to)?])
            .map(drop)
    }
}

/// Makes an archive of a tree, as `more` arguments of tar say.
///
/// # Errors
/// If tar cannot.
pub fn archive(tree: &Path, to: &Path, more: &[&str]) -> Result<()> {
    let fixed = [
        "--numeric-owner",
        "--sort=name",
        "--warning=no-file-ignored",
    ];
    let what = ["-cf", text(to)?, "-C", text(tree)?, "."];
    run("tar", [&fixed[..], more, &what].concat()).map(drop)
}
