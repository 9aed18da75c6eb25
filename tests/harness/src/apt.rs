// SPDX-License-Identifier: GPL-2.0-only
//! Debian suites other than the host's. apt is used with directories of its own, so the host's is
//! left alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::place;
use crate::process::{self, Log};
use crate::suite::Archive;

/// One package of a suite.
#[derive(Debug, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// The names of what it depends on; of alternatives, the first.
    pub depends: Vec<String>,
    /// Whether it comes from the suite itself, not from backports.
    pub is_main: bool,
}

/// The URL of the Debian archive, which the launcher has found in the host's apt sources.
pub fn mirror() -> Result<String> {
    std::env::var("COMPOSEFS_MIRROR").context("COMPOSEFS_MIRROR is not set")
}

/// apt's view of a suite for an architecture, below the cache.
pub struct World {
    archive: Archive,
    dir: PathBuf,
}

impl World {
    pub fn new(archive: impl Into<Archive>) -> Result<Self> {
        let archive = archive.into();
        let dir = place::cache()?.join("apt").join(archive.to_string());
        for part in [
            "etc/apt.conf.d",
            "etc/preferences.d",
            "etc/sources.list.d",
            "lists/partial",
            "archives/partial",
        ] {
            fs::create_dir_all(dir.join(part))?;
        }
        let world = Self { archive, dir };
        world.put("status", "")?;
        world.put("etc/sources.list", &world.sources(&mirror()?))?;
        Ok(world)
    }

    /// Writes a file that others may be reading.
    fn put(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        let new = path.with_extension(std::process::id().to_string());
        fs::write(&new, text)?;
        Ok(fs::rename(new, path)?)
    }

    /// The sources of the suite, signed by the Debian archive's keys.
    fn sources(&self, mirror: &str) -> String {
        self.archive
            .suite
            .pockets()
            .iter()
            .map(|pocket| {
                format!(
                    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {pocket} main\n"
                )
            })
            .collect()
    }

    /// The file with these sources.
    pub fn sources_list(&self) -> PathBuf {
        self.dir.join("etc/sources.list")
    }

    /// apt-get, which sees this suite and nothing of the host.
    pub fn apt_get(&self) -> Command {
        let dir = self.dir.display();
        let mut command = Command::new("apt-get");
        for option in [
            format!("Dir::Etc={dir}/etc"),
            format!("Dir::State={dir}"),
            format!("Dir::State::lists={dir}/lists"),
            format!("Dir::State::status={dir}/status"),
            format!("Dir::Cache={dir}"),
            format!("APT::Architecture={}", self.archive.arch.name()),
            "APT::Sandbox::User=".into(),
            "Acquire::Languages=none".into(),
            // That of testing may be past its date on a mirror that stands still.
            "Acquire::Check-Valid-Until=false".into(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }

    /// All packages that the mirror has now.
    pub fn packages(&self, log: &Log) -> Result<Vec<Package>> {
        log.run(self.apt_get().args(["-q", "update"]))?;
        let targets = process::output(self.apt_get().args([
            "indextargets",
            "--format",
            "$(CODENAME) $(FILENAME)",
            "Created-By: Packages",
        ]))?;
        let mut packages = Vec::new();
        for (pocket, file) in targets.lines().filter_map(|line| line.split_once(' ')) {
            let text =
                process::output(Command::new("/usr/lib/apt/apt-helper").args(["cat-file", file]))?;
            packages.extend(parse(&text, pocket == self.archive.suite.name()));
        }
        Ok(packages)
    }

    /// Downloads packages in these versions, `NAME=VERSION`, into `dir`.
    pub fn download(&self, packages: &[String], dir: &Path, log: &Log) -> Result<()> {
        log.run(
            self.apt_get()
                .args(["-q", "download"])
                .args(packages)
                .current_dir(dir),
        )
    }
}

/// The stanzas of a Packages file.
fn parse(text: &str, is_main: bool) -> impl Iterator<Item = Package> + '_ {
    text.split("\n\n").filter_map(move |stanza| {
        let field = |name: &str| {
            stanza
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let depends = field("Depends").unwrap_or_default();
        Some(Package {
            name: field("Package")?.into(),
            version: field("Version")?.into(),
            depends: depends
                .split(", ")
                .filter_map(|one| one.split([' ', ':']).next())
                .filter(|name| !name.is_empty())
                .map(Into::into)
                .collect::<BTreeSet<String>>()
                .into_iter()
                .collect(),
            is_main,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanzas_become_packages() {
        let text = "Package: a\nVersion: 1:2-3\nDepends: b (>= 1), c:any | d, e\n\nPackage: f\nVersion: 4\n";
        let packages: Vec<_> = parse(text, true).collect();
        assert_eq!(packages.len(), 2);
        assert_eq!(packages[0].version, "1:2-3");
        assert_eq!(packages[0].depends, ["b", "c", "e"]);
        assert!(packages[1].depends.is_empty());
    }
}
