// SPDX-License-Identifier: GPL-2.0-only
//! Which paths of a tree the operations are done on.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use rustix::io::Errno;

/// Files of no more bytes than this are part of the image.
const INLINE_MAX: u64 = 64;
/// Sequential reads are of files of at least so many bytes.
const LARGE: u64 = 1 << 20;
/// An attribute that some files have.
pub const ATTRIBUTE: &str = "user.bench";

/// Paths in a mount, in an order that is the same on every run.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    pub directories: Vec<CString>,
    /// Regular files that are objects; one name of each.
    pub files: Vec<CString>,
    /// Regular files with an extended attribute of their own.
    pub marked: Vec<CString>,
    /// Large files, and the sum of their sizes.
    pub large: Vec<CString>,
    pub large_bytes: u64,
    /// The largest of all, and its size.
    pub largest: CString,
    pub largest_bytes: u64,
}

impl Paths {
    /// Those of `tree`, as they are named below `root`, which is empty if it is the current
    /// directory.
    pub fn collect(tree: &Path, root: &Path) -> Result<Self> {
        let mut paths = Self::default();
        paths.add(tree, root, &mut HashSet::new())?;
        ensure!(!paths.files.is_empty(), "no files in {}", tree.display());
        Ok(paths)
    }

    fn add(&mut self, directory: &Path, named: &Path, seen: &mut HashSet<u64>) -> Result<()> {
        self.directories.push(c_string(if named == Path::new("") {
            Path::new(".")
        } else {
            named
        })?);
        let context = || directory.display().to_string();
        let listing = fs::read_dir(directory).with_context(context)?;
        let mut items: Vec<_> = listing.collect::<Result<_, _>>().with_context(context)?;
        items.sort_by_key(fs::DirEntry::file_name);
        for item in items {
            let metadata = item.metadata().with_context(context)?;
            let named = named.join(item.file_name());
            if metadata.is_dir() {
                self.add(&item.path(), &named, seen)?;
                continue;
            }
            if !metadata.is_file() || !seen.insert(metadata.ino()) {
                continue;
            }
            let named = c_string(&named)?;
            if is_marked(&item.path())? {
                self.marked.push(named.clone());
            }
            let size = metadata.len();
            if size >= LARGE {
                self.large.push(named.clone());
                self.large_bytes += size;
            }
            if size > self.largest_bytes {
                self.largest = named.clone();
                self.largest_bytes = size;
            }
            if size > INLINE_MAX {
                self.files.push(named);
            }
        }
        Ok(())
    }
}

pub fn c_string(path: &Path) -> Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn is_marked(path: &Path) -> Result<bool> {
    match rustix::fs::lgetxattr_query(path, ATTRIBUTE) {
        Ok(_) => Ok(true),
        Err(Errno::NODATA) => Ok(false),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}
