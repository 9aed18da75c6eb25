// SPDX-License-Identifier: GPL-2.0-only
//! Images and their stores, made by the tool under test and by its peers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, ensure, Context, Result};

use crate::command::{output, run};
use crate::mount::Request;
use crate::setup;
use crate::verity::{hex_digest, Algorithm};

/// An image with fs-verity enabled, and the store that holds its objects.
#[derive(Clone, Debug)]
pub struct Image {
    pub file: PathBuf,
    pub store: PathBuf,
    /// The fs-verity digest of `file`, in hexadecimal.
    pub digest: String,
}

impl Image {
    /// The mount of it that trusts nothing but the digest.
    pub fn request(&self) -> Request {
        Request::new(&self.file)
            .basedir(&self.store)
            .digest(&self.digest)
    }

    /// Where the store keeps the content of a file.
    pub fn object(&self, content: &[u8]) -> PathBuf {
        let digest = hex_digest(Algorithm::Sha256, content);
        self.store.join(crate::verity::object_path(&digest))
    }
}

/// Makes `directory/image` and `directory/store` from `source` with a `mkcomposefs`, ours or the
/// C one. The digest that the tool prints must be the one that the documentation defines.
pub fn build(tool: &Path, source: &Path, directory: &Path, options: &[&str]) -> Result<Image> {
    setup::create_dir(directory)?;
    build_into(tool, source, directory, &directory.join("store"), options)
}

/// As [`build`], with a store that may be there already.
pub fn build_into(
    tool: &Path,
    source: &Path,
    directory: &Path,
    store: &Path,
    options: &[&str],
) -> Result<Image> {
    setup::create_dir(directory)?;
    let file = directory.join("image");
    let printed = output(
        Command::new(tool)
            .arg("--print-digest")
            .arg(format!("--digest-store={}", store.display()))
            .args(options)
            .arg(source)
            .arg(&file),
    )?;
    let digest = enable_verity(&file)?;
    ensure!(
        printed == digest,
        "{} printed the digest {printed:?}, the image's is {digest}",
        tool.display()
    );
    Ok(Image {
        file,
        store: store.to_owned(),
        digest,
    })
}

/// Has the C tool make an image of one directory with these lines of a dump.
pub fn from_dump(image: &Path, lines: &str) -> Result<()> {
    let dump = image.with_extension("dump");
    fs::write(&dump, format!("/ 0 40755 2 0 0 0 0.0 - - -\n{lines}"))
        .with_context(|| dump.display().to_string())?;
    run(
        setup::C_MKCOMPOSEFS,
        [Path::new("--from-file"), &dump, image],
    )
    .map(drop)
}

/// Makes an image and a store with composefs-rs: `version` is its `--erofs-version`.
pub fn build_composefs_rs(
    algorithm: Algorithm,
    version: &str,
    source: &Path,
    directory: &Path,
) -> Result<Image> {
    let cfsctl = setup::cfsctl()?;
    setup::create_dir(directory)?;
    let repository = directory.join("repository");
    let algorithm_name = format!("fsverity-{}-12", algorithm.name());
    output(
        Command::new(&cfsctl)
            .args(["init", "--algorithm", &algorithm_name])
            .args(["--erofs-version", version])
            .arg(&repository),
    )?;
    output(
        Command::new(&cfsctl)
            .arg("--repo")
            .arg(&repository)
            .args(["--erofs-version", version])
            .args(["create-image", "--no-propagate-usr-to-root"])
            .arg(source),
    )?;
    let images = repository.join("images");
    let mut listing = fs::read_dir(&images).with_context(|| images.display().to_string())?;
    let Some(link) = listing.find_map(|item| item.ok().filter(is_symlink)) else {
        bail!("cfsctl left no image in {}", images.display());
    };
    let file = fs::canonicalize(link.path())?;
    let content = fs::read(&file).with_context(|| file.display().to_string())?;
    Ok(Image {
        digest: hex_digest(algorithm, &content),
        store: repository.join("objects"),
        file,
    })
}

fn is_symlink(item: &fs::DirEntry) -> bool {
    item.file_type().is_ok_and(|kind| kind.is_symlink())
}

/// Enables fs-verity with SHA-256; returns the digest.
pub fn enable_verity(file: &Path) -> Result<String> {
    run("fsverity", [Path::new("enable"), file])?;
    let content = fs::read(file).with_context(|| file.display().to_string())?;
    Ok(hex_digest(Algorithm::Sha256, &content))
}

/// Replaces a file by one with this content and without fs-verity.
pub fn replace(file: &Path, content: &[u8]) -> Result<()> {
    let context = || format!("replacing {}", file.display());
    fs::remove_file(file).with_context(context)?;
    fs::write(file, content).with_context(context)
}
