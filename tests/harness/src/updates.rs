// SPDX-License-Identifier: GPL-2.0-only
//! A Debian system as it was released, and with the updates that came afterwards.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::apt;
use crate::artifact::Artifact;
use crate::root::{self, Variant};
use crate::suite::Suite;

/// A server, with what security updates are for.
const PACKAGES: &[&str] = &[
    "git",
    "linux-image-amd64",
    "nginx",
    "openssh-server",
    "php-fpm",
    "python3",
    "ruby",
    "runc",
    "vim",
];

/// Both roots.
pub fn roots() -> Result<(PathBuf, PathBuf)> {
    let mirror = apt::mirror()?;
    let security = mirror
        .strip_suffix("/debian")
        .map(|archive| format!("{archive}/debian-security"))
        .context("the mirror is none of Debian's security updates")?;
    let release = format!("deb {mirror} trixie main");
    let updates = [
        format!("deb {mirror} trixie-updates main"),
        format!("deb {security} trixie-security main"),
    ];
    let artifact = Artifact {
        name: "updates".into(),
        what: "a Debian system, and the same with its updates".into(),
        usually: "3 minutes",
        inputs: [
            vec!["1".into()],
            PACKAGES.iter().map(ToString::to_string).collect(),
        ]
        .concat(),
    };
    let dir = artifact.get(|dir, log| {
        for (name, more) in [("before", &[][..]), ("after", &updates)] {
            let sources = std::iter::once(&release).chain(more);
            let sources: Vec<_> = sources.map(Into::into).collect();
            let dir = dir.join(name);
            let variant = Variant::Important;
            root::make_from(&sources, &dir, Suite::Trixie, variant, PACKAGES, &[], log)?;
        }
        Ok(())
    })?;
    Ok((dir.join("before"), dir.join("after")))
}
