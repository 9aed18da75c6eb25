// SPDX-License-Identifier: GPL-2.0-only
//! The names of images and streams, and the references that keep them.
//!
//! All of them are symbolic links, relative, and replaced in one step.

use std::os::fd::OwnedFd;

use anyhow::{anyhow, Context, Result};
use composefs_tools::fsverity::{object_path, Digest};
use composefs_tools::quote;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::objects::digest_of_path;
use crate::repository::{Repository, OBJECTS};

/// How the temporary name of a link begins, in the repository's directory.
pub const LINK_TEMPORARY: &str = ".symlink-";
/// Where references are, in the directory of a category.
const REFS: &str = "refs";
/// Longest name of a file.
const NAME_MAX: usize = 255;

/// What has names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Images: named by their digests.
    Images,
    /// Streams.
    Streams,
}

impl Category {
    /// The directory.
    pub fn dir(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Streams => "streams",
        }
    }

    pub(crate) fn path(self, name: &str) -> String {
        format!("{}/{name}", self.dir())
    }

    pub(crate) fn ref_path(self, name: &str) -> String {
        format!("{}/{REFS}/{name}", self.dir())
    }
}

/// A link and what it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name; of a reference, its path below `refs`.
    pub name: String,
    /// What it leads to, as it is written there.
    pub target: String,
}

impl Link {
    /// The last part of what it leads to.
    pub fn target_name(&self) -> &str {
        last_part(&self.target)
    }

    /// The object that it leads to, there or not, if it is a name.
    pub(crate) fn object(&self, repository: &Repository) -> Option<Digest> {
        digest_of_path(&self.target, repository.algorithm())
    }
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

impl Repository {
    /// The object that a name stands for; `None` if there is no such name, or no object.
    ///
    /// # Errors
    /// If it does not lead to an object.
    pub fn lookup(&self, category: Category, name: &str) -> Result<Option<Digest>> {
        let path = category.path(name);
        let context = || self.quote(&path);
        let Some(target) = self.read_link(&path).with_context(context)? else {
            return Ok(None);
        };
        let digest = digest_of_path(&target, self.algorithm());
        let digest = digest
            .ok_or_else(|| anyhow!("does not lead to an object"))
            .with_context(context)?;
        // What was collected may have left its name behind.
        match self.open_object(&digest) {
            Ok(_) => Ok(Some(digest)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).with_context(|| self.name_object(&digest)),
        }
    }

    /// Gives an object a name, in place of what has it.
    ///
    /// # Errors
    /// If the name is none, or it cannot be written.
    pub fn set_name(&self, category: Category, name: &str, digest: &Digest) -> Result<()> {
        check_names(name, [name])?;
        let target = format!("{OBJECTS}/{}", object_path(digest));
        self.set_link(&category.path(name), &target)
    }

    /// Takes a name away.
    ///
    /// # Errors
    /// If it cannot be.
    pub(crate) fn remove_name(&self, category: Category, name: &str) -> Result<()> {
        self.remove_link(&category.path(name)).map(drop)
    }

    /// Makes a reference to a name, in place of what it was to.
    ///
    /// # Errors
    /// If it is not one that can be, or it cannot be written.
    pub fn set_ref(&self, category: Category, reference: &str, name: &str) -> Result<()> {
        check_path(reference)?;
        self.set_link(&category.ref_path(reference), &category.path(name))
    }

    /// The name that a reference is to.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn get_ref(&self, category: Category, reference: &str) -> Result<Option<String>> {
        check_path(reference)?;
        let path = category.ref_path(reference);
        let target = self.read_link(&path).with_context(|| self.quote(&path))?;
        Ok(target.map(|target| last_part(&target).to_owned()))
    }

    /// Takes a reference away. Whether there was one.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn remove_ref(&self, category: Category, reference: &str) -> Result<bool> {
        check_path(reference)?;
        self.remove_link(&category.ref_path(reference))
    }

    /// All names.
    ///
    /// # Errors
    /// If they cannot be read, or there is what is none.
    pub fn names(&self, category: Category) -> Result<Vec<Link>> {
        let mut links = Vec::new();
        let mut others = Vec::new();
        self.list(category.dir(), "", &mut links, &mut others)?;
        others.retain(|name| name != REFS);
        let context = |name: &str| self.quote(&category.path(name));
        if links.iter().any(|link| link.name == REFS) {
            return Err(anyhow!("is not a directory")).with_context(|| context(REFS));
        }
        match others.first() {
            None => Ok(links),
            Some(other) => Err(anyhow!("is not a link")).with_context(|| context(other)),
        }
    }

    /// All references.
    ///
    /// # Errors
    /// If they cannot be read, or there is what is none.
    pub fn refs(&self, category: Category) -> Result<Vec<Link>> {
        let mut links = Vec::new();
        let mut dirs = vec![String::new()];
        while let Some(dir) = dirs.pop() {
            let place = category.ref_path(&dir);
            self.list(place.trim_end_matches('/'), &dir, &mut links, &mut dirs)?;
        }
        links.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(links)
    }

    /// Lists the directory `dir`: its links, and other directories, all with `prefix` in front.
    fn list(
        &self,
        dir: &str,
        prefix: &str,
        links: &mut Vec<Link>,
        dirs: &mut Vec<String>,
    ) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd: OwnedFd = match rustix::fs::openat(self.dir(), dir, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error).with_context(|| self.quote(dir)),
        };
        for entry in Dir::read_from(&fd).with_context(|| self.quote(dir))? {
            let entry = entry.with_context(|| self.quote(dir))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let context = || self.quote(&format!("{dir}/{}", String::from_utf8_lossy(name)));
            let name = std::str::from_utf8(name)
                .context("is not text")
                .with_context(context)?;
            let path = match prefix {
                "" => name.to_owned(),
                prefix => format!("{prefix}/{name}"),
            };
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let stat = match rustix::fs::statat(&fd, name, flags) {
                Ok(stat) => stat,
                // Somebody took it away meanwhile, as may be.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error).with_context(context),
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    let target = match rustix::fs::readlinkat(&fd, name, Vec::new()) {
                        Ok(target) => target,
                        Err(Errno::NOENT) => continue,
                        Err(error) => return Err(error).with_context(context),
                    };
                    let target = target.into_string().context("leads to what is not text");
                    links.push(Link {
                        name: path,
                        target: target.with_context(context)?,
                    });
                }
                FileType::Directory => dirs.push(path),
                _ => return Err(anyhow!("is not a link")).with_context(context),
            }
        }
        Ok(())
    }

    fn read_link(&self, path: &str) -> Result<Option<String>> {
        let (parents, name) = split(path);
        let read = self
            .descend(parents, false)
            .and_then(|dir| rustix::fs::readlinkat(dir, name, Vec::new()));
        match read {
            Ok(target) => Ok(Some(
                target.into_string().context("leads to what is not text")?,
            )),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(Errno::INVAL) => Err(anyhow!("is not a link")),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the link `path`, to `target`; both are paths from the repository's directory.
    fn set_link(&self, path: &str, target: &str) -> Result<()> {
        let context = || format!("cannot write {}", self.quote(path));
        let target = relative(path, target);
        if self.read_link(path).with_context(context)?.as_deref() == Some(&target) {
            return Ok(());
        }
        let (parents, name) = split(path);
        let dir = self.descend(parents, true).with_context(context)?;
        match rustix::fs::symlinkat(&target, &dir, name) {
            Err(Errno::EXIST) => self.replace_link(&dir, name, &target),
            done => done,
        }
        .with_context(context)
    }

    fn replace_link(&self, dir: &OwnedFd, name: &str, target: &str) -> rustix::io::Result<()> {
        let number = std::process::id();
        for attempt in 0_u32.. {
            let temporary = format!("{LINK_TEMPORARY}{number}-{attempt}");
            match rustix::fs::symlinkat(target, self.dir(), &temporary) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(error),
            }
            let renamed = rustix::fs::renameat(self.dir(), &temporary, dir, name);
            if renamed.is_err() {
                // Nothing is left to do if even this fails.
                let _ = rustix::fs::unlinkat(self.dir(), &temporary, AtFlags::empty());
            }
            return renamed;
        }
        Err(Errno::EXIST)
    }

    /// Opens a directory of the repository, and makes it and those above it if that is wanted. Links
    /// in place of any of them are not followed: what they lead to is not ours to change.
    pub(crate) fn descend(&self, path: &str, make: bool) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut dir = rustix::io::fcntl_dupfd_cloexec(self.dir(), 0)?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if make {
                match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
            }
            dir = rustix::fs::openat(&dir, name, flags, Mode::empty())?;
        }
        Ok(dir)
    }

    /// Removes what is not a directory.
    pub(crate) fn unlink(&self, path: &str) -> rustix::io::Result<()> {
        let (parents, name) = split(path);
        rustix::fs::unlinkat(self.descend(parents, false)?, name, AtFlags::empty())
    }

    fn remove_link(&self, path: &str) -> Result<bool> {
        match self.unlink(path) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot remove {}", self.quote(path))),
        }
    }

    pub(crate) fn quote(&self, path: &str) -> String {
        quote::path(&self.path().join(path)).to_string()
    }
}

/// The directory of a path, and the name in it.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// What a link at `path` has to hold to lead to `target`.
fn relative(path: &str, target: &str) -> String {
    let (path, target): (Vec<_>, Vec<_>) = (path.split('/').collect(), target.split('/').collect());
    let common = path.iter().zip(&target).take_while(|(a, b)| a == b).count();
    let up = path.len().saturating_sub(common + 1);
    let mut parts = vec![".."; up];
    parts.extend(target.iter().skip(common));
    parts.join("/")
}

/// Whether each of `parts`, of which `text` consists, can be the name of a file.
pub(crate) fn check_names<'a>(text: &str, parts: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let is_bad = |name: &str| {
        name.is_empty()
            || name.len() > NAME_MAX
            || matches!(name, "." | ".." | REFS)
            || name.contains(['/', '\0'])
    };
    match parts.into_iter().any(is_bad) {
        true => Err(anyhow!(
            "{}: cannot be a name",
            quote::bytes(text.as_bytes())
        )),
        false => Ok(()),
    }
}

fn check_path(path: &str) -> Result<()> {
    check_names(path, path.split('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative() {
        for (path, target, want) in [
            ("images/abc", "objects/ab/c", "../objects/ab/c"),
            ("images/refs/name", "images/abc", "../abc"),
            ("images/refs/a/name", "images/abc", "../../abc"),
            (
                "streams/refs/oci/tag",
                "streams/oci-manifest-x",
                "../../oci-manifest-x",
            ),
        ] {
            assert_eq!(relative(path, target), want);
        }
    }

    #[test]
    fn names_that_would_lead_elsewhere() {
        for name in ["", ".", "..", "refs", "a/b", "a\0"] {
            check_names(name, [name]).expect_err(name);
        }
        for path in ["/a", "a//b", "a/../b", "a/"] {
            check_path(path).expect_err(path);
        }
        check_path("oci/docker:%2F%2Fa").expect("a reference");
    }
}
