// SPDX-License-Identifier: GPL-2.0-only
//! A repository for each input, and what has to hold of it.

use std::path::Path;

use composefs_oci::digest::BlobDigest;
use composefs_oci::filesystem;
use composefs_repository::{ErofsFormats, Metadata, Repository};
use composefs_tools::fsverity::{Algorithm, Digest};
use composefs_tools::image;
use tempfile::TempDir;

/// Makes one, in memory if there is such a file system: to sync a disk takes longer than all the rest.
pub(crate) fn new() -> (TempDir, Repository) {
    let memory = tempfile::tempdir_in("/dev/shm");
    let dir = memory.or_else(|_| tempfile::tempdir()).expect("directory");
    let path = dir.path().join("repository");
    let metadata = Metadata::new(Algorithm::Sha256, ErofsFormats::only(1));
    Repository::init(&path, &metadata, false).expect("repository");
    let repository = Repository::open(&path).expect("repository");
    (dir, repository)
}

/// Makes the image of a layer's stream, if it can be; then it is no larger than what that may lead to:
/// `size` is that of the archive.
pub(crate) fn compose(repository: &Repository, stream: Digest, size: u64) {
    let layers = [(BlobDigest::of(b""), stream)];
    let options = image::Options {
        min_version: 1,
        max_version: 1,
        digest: None,
    };
    let mut bytes = Vec::new();
    let made = filesystem::build(repository, &layers)
        .and_then(|tree| image::write(tree, &options, Some(&mut bytes)));
    match made {
        // A path makes at most a directory of each of its bytes but the slashes.
        Ok(_) => assert!(bytes.len() as u64 <= (1 << 16) + 128 * size, "{size}"),
        Err(error) => one_line(&error),
    }
}

/// It is printed as one line, and is not that of a thread that panicked.
pub(crate) fn one_line(error: &anyhow::Error) {
    let text = format!("{error:#}");
    assert!(!text.contains('\n'), "{text}");
    assert!(!text.ends_with("cannot be read"), "{text}");
}

/// All that is in a directory but other directories.
pub(crate) fn files(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).expect("directory");
    let count = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("entry");
        match entry.file_type().expect("type").is_dir() {
            true => files(&entry.path()),
            false => 1,
        }
    };
    entries.map(count).sum()
}
