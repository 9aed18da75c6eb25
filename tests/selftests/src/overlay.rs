// SPDX-License-Identifier: GPL-2.0-only
//! overlayfs on top of other mounts.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::run;
use crate::mount::Mount;
use crate::setup;

/// An overlayfs whose layers have names of their own, so that it can be mounted again.
pub struct Overlay {
    options: String,
    target: PathBuf,
}

impl Overlay {
    pub fn new(work: &Path, name: &str, lowers: &[&Path], features: &str) -> Result<Self> {
        let part = |part: &str| work.join(format!("{name}-{part}"));
        for directory in [part("upper"), part("work"), part("merged")] {
            setup::create_dir(&directory)?;
        }
        let lowers: Vec<_> = lowers
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        Ok(Self {
            options: format!(
                "lowerdir={},upperdir={},workdir={}{features}",
                lowers.join(":"),
                part("upper").display(),
                part("work").display()
            ),
            target: part("merged"),
        })
    }

    pub fn upper(&self) -> PathBuf {
        let text = self.target.to_string_lossy().replace("-merged", "-upper");
        text.into()
    }

    pub fn mount(&self) -> Result<Mount> {
        let target = self.target.to_string_lossy();
        run(
            "mount",
            ["-t", "overlay", "-o", &self.options, "overlay", &target],
        )?;
        Ok(Mount::adopt(&self.target))
    }
}
