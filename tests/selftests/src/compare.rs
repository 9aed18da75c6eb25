// SPDX-License-Identifier: GPL-2.0-only
//! Comparing trees: entry by entry, or against a mount that may refuse but never lie.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use anyhow::{bail, Result};

use crate::attributes::{content_hash, xattrs, Attributes, Xattrs};
use crate::tree::{display, Entry, Tree};

/// Which links must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// None: mkcomposefs makes a file of its own of every name, and overlayfs shows 1 link for
    /// every directory.
    Ignore,
    /// The link counts of directories.
    Directories,
    /// Which names of a file belong together, and how many there are.
    Files,
}

/// Every difference, one line each, in the order of the paths.
pub fn differences(a: &Tree, b: &Tree, links: Links) -> Vec<String> {
    let paths: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    let mut found = Vec::new();
    for path in paths {
        match (a.get(path), b.get(path)) {
            (Some(a), Some(b)) => {
                for difference in entry_differences(a, b, links) {
                    found.push(format!("{}: {difference}", display(path)));
                }
            }
            (Some(_), None) => found.push(format!("{}: only in the first", display(path))),
            _ => found.push(format!("{}: only in the second", display(path))),
        }
    }
    found
}

/// Fails with the first differences, if there are any.
pub fn expect_equal(expected: &Tree, actual: &Tree, links: Links) -> Result<()> {
    let found = differences(expected, actual, links);
    if found.is_empty() {
        return Ok(());
    }
    bail!(
        "{} differences among {} entries (expected, actual):\n{}",
        found.len(),
        expected.len(),
        found[..found.len().min(20)].join("\n")
    )
}

fn entry_differences(a: &Entry, b: &Entry, links: Links) -> Vec<String> {
    let mut found = Vec::new();
    let attributes = a.attributes.differences(&b.attributes);
    if !attributes.is_empty() {
        found.push(attributes);
    }
    let counted = match links {
        Links::Ignore => false,
        Links::Directories => a.is_dir(),
        Links::Files => !a.is_dir(),
    };
    if counted && a.nlink != b.nlink {
        found.push(format!("links: {}, {}", a.nlink, b.nlink));
    }
    if counted && a.first_name != b.first_name {
        let name = |name: &Option<Vec<u8>>| name.as_deref().map_or("none".into(), display);
        let (a, b) = (name(&a.first_name), name(&b.first_name));
        found.push(format!("first name of the inode: {a}, {b}"));
    }
    if a.target != b.target {
        let target = |target: &Option<Vec<u8>>| target.as_deref().map_or("none".into(), display);
        let (a, b) = (target(&a.target), target(&b.target));
        found.push(format!("symlink: {a}, {b}"));
    }
    found.extend(xattr_differences(&a.xattrs, &b.xattrs));
    if a.content != b.content {
        found.push("content differs".into());
    }
    found
}

fn xattr_differences(a: &Xattrs, b: &Xattrs) -> Vec<String> {
    let value = |value: Option<&Vec<u8>>| match value {
        Some(value) => format!("\"{}\"", value.escape_ascii()),
        None => "none".into(),
    };
    let names: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        let (a, b) = (a.get(name), b.get(name));
        if a != b {
            found.push(format!(
                "xattr {}: {}, {}",
                display(name),
                value(a),
                value(b)
            ));
        }
    }
    found
}

/// What [`audit`] found.
#[derive(Debug, Default)]
pub struct Audit {
    /// Observations that agreed with the reference.
    pub right: usize,
    /// Observations that failed with an error that means "damaged".
    pub refused: usize,
    /// Whatever else: what must never be.
    pub wrong: Vec<String>,
}

/// Observes all of `reference` in the tree below `root`, which may be damaged: every single
/// observation must either agree or fail as damaged things do (`EIO`, `EUCLEAN`, `EBADMSG`).
pub fn audit(reference: &Tree, root: &Path) -> Audit {
    let mut audit = Audit::default();
    for (path, entry) in reference {
        let full = match path.as_slice() {
            [] => root.to_owned(),
            path => root.join(OsStr::from_bytes(path)),
        };
        let name = display(path);
        let attributes = fs::symlink_metadata(&full).map(|metadata| Attributes::of(&metadata));
        audit.judge(&name, "attributes", attributes, &entry.attributes);
        let values = xattrs(&full).map_err(io::Error::from);
        audit.judge(&name, "xattrs", values, &entry.xattrs);
        if let Some(target) = &entry.target {
            let link = fs::read_link(&full).map(|link| link.into_os_string().into_vec());
            audit.judge(&name, "symlink", link, target);
        }
        if let Some(content) = &entry.content {
            audit.judge(&name, "content", content_hash(&full), content);
        }
        if entry.is_dir() {
            audit.judge_listing(&name, &full, &children(reference, path));
        }
    }
    audit
}

impl Audit {
    fn judge<T: PartialEq>(&mut self, path: &str, what: &str, seen: io::Result<T>, truth: &T) {
        match seen {
            Ok(seen) if seen == *truth => self.right += 1,
            Ok(_) => self.wrong.push(format!("{path}: {what} differ")),
            Err(error) if means_damaged(&error) => self.refused += 1,
            Err(error) => self.wrong.push(format!("{path}: {what}: {error}")),
        }
    }

    fn judge_listing(&mut self, path: &str, full: &Path, truth: &BTreeSet<Vec<u8>>) {
        let mut seen = BTreeSet::new();
        let mut complete = true;
        match fs::read_dir(full) {
            Ok(listing) => {
                for item in listing {
                    match item {
                        Ok(item) => drop(seen.insert(item.file_name().into_vec())),
                        Err(error) => {
                            complete = false;
                            self.judge(path, "listing", Err(error), &());
                        }
                    }
                }
            }
            Err(error) => {
                complete = false;
                self.judge(path, "listing", Err(error), &());
            }
        }
        if !seen.is_subset(truth) || (complete && seen != *truth) {
            let (seen, truth) = (seen.len(), truth.len());
            let end = if complete { "" } else { ", then an error" };
            self.wrong.push(format!(
                "{path}: lists {seen} names{end}; there are {truth}"
            ));
        } else if complete {
            self.right += 1;
        }
    }
}

/// The names in a directory of the reference.
fn children(reference: &Tree, directory: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut prefix = directory.to_vec();
    if !prefix.is_empty() {
        prefix.push(b'/');
    }
    let below = reference.range(prefix.clone()..);
    below
        .map_while(|(path, _)| path.strip_prefix(prefix.as_slice()))
        .filter(|name| !name.is_empty() && !name.contains(&b'/'))
        .map(<[u8]>::to_vec)
        .collect()
}

fn means_damaged(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::IO | Errno::UCLEAN | Errno::BADMSG))
}
