// SPDX-License-Identifier: GPL-2.0-only
//! The command `mkcomposefs`.

use std::fs::File;
use std::io::{BufReader, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context, Result};
use clap::Parser;

use crate::cli;
use crate::dump;
use crate::fsverity::{Algorithm, Digest};
use crate::image;
use crate::output;
use crate::quote;
use crate::store::Store;
use crate::tree::Tree;
use crate::verity::Obstacle;
use crate::walk;

/// How much of a dump is read at a time.
const DUMP_BUFFER: usize = 256 * 1024;

const AFTER_HELP: &str = "\
Example: an image and a store of a tree, mounted with every byte verified:

  digest=$(mkcomposefs --digest-store=/srv/objects --print-digest \\
               --enable-verity /srv/tree /srv/tree.cfs)
  mount -t composefs -o basedir=/srv/objects,digest=$digest /srv/tree.cfs /mnt

The same tree makes the same image, byte for byte, as with composefs 1.0.";

/// Make a composefs image from a directory.
///
/// The image holds the metadata of every file below SOURCE, and the content of small ones. The
/// content of larger files goes to an object store, if one is given: one file for each content,
/// named by its fs-verity digest.
#[derive(Debug, Parser)]
#[command(
    name = "mkcomposefs",
    args_override_self = true,
    infer_long_args = true,
    after_help = AFTER_HELP
)]
pub struct Command {
    /// Put the content of files into this directory (the basedir of a later mount)
    // With the C tool, which has no --digest-algorithm, all of these are short for it.
    #[arg(
        long,
        value_name = "DIR",
        allow_hyphen_values = true,
        aliases = ["d", "di", "dig", "dige", "diges", "digest", "digest-"]
    )]
    digest_store: Option<PathBuf>,

    /// Print the fs-verity digest of the image
    #[arg(long)]
    print_digest: bool,

    /// Print the fs-verity digest of the image, and write no image
    #[arg(long)]
    print_digest_only: bool,

    /// Enable fs-verity on the image, as a mount with digest= needs it
    #[arg(long)]
    enable_verity: bool,

    /// Hash algorithm of the objects, and of the digest that is printed
    #[arg(long, value_name = "NAME", default_value = "sha256", value_parser = cli::algorithm)]
    digest_algorithm: Algorithm,

    /// Take 1970-01-01 for the modification time of every file
    #[arg(long)]
    use_epoch: bool,

    /// Leave out devices
    #[arg(long)]
    skip_devices: bool,

    /// Leave out all extended attributes
    #[arg(long)]
    skip_xattrs: bool,

    /// Leave out extended attributes other than user.*
    #[arg(long)]
    user_xattrs: bool,

    /// Keep hard links: without, every name of a file becomes a file of its own, as with the C tool
    #[arg(long)]
    hardlinks: bool,

    /// Use at least this format version, 2 being that of composefs-rs before it had others;
    /// --version is the same [default: 0]
    #[arg(
        long,
        value_name = "N",
        visible_alias = "version",
        allow_hyphen_values = true
    )]
    min_version: Option<u32>,

    /// Use at most this format version, where the image is better off with it [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    max_version: Option<u32>,

    /// Hash and copy with this many threads [default: the number of processors]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    threads: Option<NonZeroUsize>,

    /// SOURCE is a file in the composefs-dump(5) format; - is standard input
    #[arg(long)]
    from_file: bool,

    /// The directory to make an image of
    source: PathBuf,

    /// The image to make; - is standard output
    image: Option<PathBuf>,
}

impl Command {
    /// Does what the command line says.
    ///
    /// # Errors
    /// The message says what could not be done, and why; it is one line.
    pub fn run(self) -> Result<()> {
        let image = match (&self.image, self.print_digest_only) {
            (None, false) => return Err(anyhow!("no destination path specified")),
            (Some(_), true) => {
                return Err(anyhow!(
                    "a destination path cannot be specified with --print-digest-only"
                ))
            }
            (image, _) => image.clone(),
        };
        if self.source.as_os_str().is_empty() {
            return Err(anyhow!("empty source path specified"));
        }
        // What is about walking does not matter to a dump.
        if self.skip_xattrs && self.user_xattrs && !self.from_file {
            return Err(anyhow!(
                "--skip-xattrs and --user-xattrs exclude each other"
            ));
        }
        let (min_version, max_version) = match (self.min_version, self.max_version) {
            (None, None) => (0, 1),
            (min, max) => (min.unwrap_or(0), max.unwrap_or(0)),
        };
        let print_digest = self.print_digest || self.print_digest_only;
        let algorithm = self.digest_algorithm;
        let options = image::Options {
            min_version,
            max_version,
            digest: print_digest.then_some(algorithm),
        };
        let tree = self.tree(algorithm)?;
        let mut digest: Option<Digest> = None;
        match image {
            None => digest = image::write(tree, &options, None)?,
            Some(path) => {
                let verity = self.enable_verity.then_some(algorithm);
                output::write(&path, verity, |out| {
                    digest = image::write(tree, &options, Some(out))?;
                    Ok(())
                })?;
            }
        }
        if let Some(digest) = digest {
            writeln!(std::io::stdout(), "{digest}")?;
        }
        Ok(())
    }

    fn tree(&self, algorithm: Algorithm) -> Result<Tree> {
        if self.from_file {
            return self.tree_from_dump(algorithm);
        }
        let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let content = walk::ContentOptions {
            algorithm,
            threads: self.threads.unwrap_or(processors).get(),
        };
        let options = walk::Options {
            use_epoch: self.use_epoch,
            skip_devices: self.skip_devices,
            skip_xattrs: self.skip_xattrs,
            user_xattrs: self.user_xattrs,
            hard_links: self.hardlinks,
        };
        let store = self
            .digest_store
            .as_deref()
            .map(|path| Store::open(path, algorithm))
            .transpose()?;
        let tree = walk::walk(&self.source, &options, &content, store.as_ref())?;
        if let (Some(store), Some(path)) = (&store, &self.digest_store) {
            if let Some(obstacle) = store.without_verity() {
                note_unverified(path, &obstacle);
            }
        }
        Ok(tree)
    }

    fn tree_from_dump(&self, algorithm: Algorithm) -> Result<Tree> {
        let options = dump::Options {
            algorithm,
            strict: std::env::var_os("CFS_PARSE_STRICT").is_some(),
        };
        let context = || format!("cannot read {}", quote::path(&self.source));
        if self.source.as_os_str() == "-" {
            let input = BufReader::with_capacity(DUMP_BUFFER, std::io::stdin());
            return dump::read(input, &options).context("standard input");
        }
        let file = File::open(&self.source).with_context(context)?;
        let input = BufReader::with_capacity(DUMP_BUFFER, file);
        dump::read(input, &options).with_context(|| quote::path(&self.source).to_string())
    }
}

/// Says what a store is good for whose objects cannot prove what they are: each open would fail,
/// long after anyone could tell why.
fn note_unverified(store: &Path, obstacle: &Obstacle) {
    let remedy = match obstacle {
        Obstacle::Filesystem => "use a store on ext4 (with tune2fs -O verity), btrfs or f2fs",
        Obstacle::Other(_) => {
            "see to that, and run mkcomposefs again: it enables fs-verity on what is there"
        }
    };
    eprintln!(
        "mkcomposefs: note: objects in {} are without fs-verity: {obstacle}; mount with \
         verity=off, and so without digest= and signature=, or {remedy}",
        quote::path(store)
    );
}
