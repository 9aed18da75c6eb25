// SPDX-License-Identifier: GPL-2.0-only
//! A whole tree as a value: what is in it, down to the bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};

use crate::attributes::{content_hash, xattrs, Attributes, Xattrs};

/// Everything about one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub attributes: Attributes,
    /// Number of names of the inode.
    pub nlink: u64,
    /// Of a file with several names: the first of them, in byte order. It stands for the inode.
    pub first_name: Option<Vec<u8>>,
    /// Of a symlink: where it points.
    pub target: Option<Vec<u8>>,
    pub xattrs: Xattrs,
    /// Of a regular file: the hash of its content.
    pub content: Option<u128>,
}

impl Entry {
    pub fn is_dir(&self) -> bool {
        self.attributes.mode & 0o170_000 == 0o040_000
    }
}

/// Paths relative to the root, which itself is the empty path.
pub type Tree = BTreeMap<Vec<u8>, Entry>;

/// Reads the whole tree below `root`, mounts on top of it included.
///
/// Fails at the first thing that cannot be read, and where the file type in a directory is not the
/// type of the file.
pub fn read(root: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut names: HashMap<(u64, u64), Vec<Vec<u8>>> = HashMap::new();
    let mut directories = vec![PathBuf::new()];

    let metadata = fs::symlink_metadata(root).with_context(|| root.display().to_string())?;
    tree.insert(Vec::new(), read_entry(root, &metadata)?);

    while let Some(directory) = directories.pop() {
        let full = root.join(&directory);
        let context = || full.display().to_string();
        for item in fs::read_dir(&full).with_context(context)? {
            let item = item.with_context(context)?;
            let path = directory.join(item.file_name());
            let full = item.path();
            let metadata =
                fs::symlink_metadata(&full).with_context(|| full.display().to_string())?;
            let file_type = item.file_type().with_context(context)?;
            if file_type != metadata.file_type() {
                bail!(
                    "{}: readdir says {file_type:?}, stat says {:?}",
                    full.display(),
                    metadata.file_type()
                );
            }
            let entry = read_entry(&full, &metadata)?;
            let key = path.clone().into_os_string().into_vec();
            if entry.is_dir() {
                directories.push(path);
            } else if entry.nlink > 1 {
                let inode = (metadata.dev(), metadata.ino());
                names.entry(inode).or_default().push(key.clone());
            }
            if tree.insert(key, entry).is_some() {
                bail!("{}: listed twice", full.display());
            }
        }
    }
    for mut group in names.into_values() {
        group.sort();
        for name in &group {
            if let Some(entry) = tree.get_mut(name) {
                entry.first_name = group.first().cloned();
            }
        }
    }
    Ok(tree)
}

fn read_entry(path: &Path, metadata: &fs::Metadata) -> Result<Entry> {
    let context = || path.display().to_string();
    let file_type = metadata.file_type();
    Ok(Entry {
        attributes: Attributes::of(metadata),
        nlink: metadata.nlink(),
        first_name: None,
        target: if file_type.is_symlink() {
            let target = fs::read_link(path).with_context(context)?;
            Some(target.as_os_str().as_bytes().to_vec())
        } else {
            None
        },
        xattrs: xattrs(path).with_context(|| format!("xattrs of {}", path.display()))?,
        content: if file_type.is_file() {
            let hash = content_hash(path);
            Some(hash.with_context(|| format!("reading {}", path.display()))?)
        } else {
            None
        },
    })
}

/// Looks at everything, but not at more than `budget` files. Errors are fine, as long as it ends.
pub fn visit(path: &Path, depth: usize, budget: &mut usize) -> Result<()> {
    if *budget == 0 {
        return Ok(());
    }
    *budget -= 1;
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let _ = crate::attributes::xattrs(path);
    let _ = fs::read_link(path);
    if metadata.is_file() && metadata.len() < 1 << 23 {
        let _ = fs::read(path);
    }
    if !metadata.is_dir() || depth == 6 {
        return Ok(());
    }
    let Ok(listing) = fs::read_dir(path) else {
        return Ok(());
    };
    // Each entry takes 12 bytes of the image at least, and a damaged size cannot exceed it.
    let names: Vec<_> = listing.take(10_000).collect();
    ensure!(names.len() < 10_000, "a listing does not end");
    for item in names.into_iter().flatten() {
        visit(&item.path(), depth + 1, budget)?;
    }
    Ok(())
}

/// A path for people: bytes that are not printable ASCII are escaped, the root is ".".
pub fn display(path: &[u8]) -> String {
    match path {
        [] => ".".to_owned(),
        _ => path.escape_ascii().to_string(),
    }
}
