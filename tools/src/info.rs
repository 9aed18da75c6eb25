// SPDX-License-Identifier: GPL-2.0-only
//! The command `composefs-info`.

mod dump;
mod ls;
mod objects;
mod record;
mod source;
mod verify;
mod visit;

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context, Result};
use clap::Parser;

use crate::fsverity::{Algorithm, Digest, Hasher};
use crate::quote;
use crate::read;
use crate::verity;
use visit::{Filter, Opened};

/// Look into composefs images.
#[derive(Debug, Parser)]
#[command(
    name = "composefs-info",
    args_override_self = true,
    infer_long_args = true,
    arg_required_else_help = true
)]
pub struct Command {
    /// The object store, for missing-objects and verify
    #[arg(long, value_name = "DIR", allow_hyphen_values = true)]
    basedir: Option<PathBuf>,

    /// Look only at entries of the root directory with this name (may be repeated)
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    filter: Vec<OsString>,

    /// What to do:
    ///   ls               list files, with their objects and link targets
    ///   objects          list the objects that the images need
    ///   missing-objects  list those that are not in the store
    ///   dump             print the images as composefs-dump(5)
    ///   measure-file     print the fs-verity digests of any files
    ///   verify           check that every object is in the store, is what the
    ///                    image says, and has fs-verity enabled
    #[arg(verbatim_doc_comment)]
    command: String,

    /// The images
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,
}

impl Command {
    /// Does what the command line says.
    ///
    /// # Errors
    /// The message says what could not be done, and why; it is one line.
    pub fn run(self) -> Result<()> {
        let stdout = std::io::stdout().lock();
        let mut out = BufWriter::with_capacity(1 << 16, stdout);
        let result = self.run_to(&mut out);
        let flushed = out.flush();
        result?;
        flushed.context("cannot write")
    }

    fn run_to(&self, out: &mut dyn Write) -> Result<()> {
        let filter = Filter::new(&self.filter)?;
        match self.command.as_str() {
            "measure-file" => return self.measure_files(out),
            "ls" | "dump" | "objects" | "missing-objects" | "verify" => {}
            command => {
                return Err(anyhow!(
                    "unknown command {}",
                    quote::bytes(command.as_bytes())
                ))
            }
        }
        let basedir = self.basedir.as_deref().map(objects::open_basedir);
        let basedir = basedir.transpose()?;
        if self.images.is_empty() {
            return Err(anyhow!("no image path specified"));
        }
        match self.command.as_str() {
            "ls" => self.each_image(|image| ls::print(image, &filter, out)),
            "dump" => self.each_image(|image| dump::print(image, &filter, out)),
            "verify" => {
                let basedir = basedir.ok_or_else(|| anyhow!("verify needs --basedir"))?;
                let mut objects = objects::Needed::default();
                self.each_image(|image| objects.collect(image, &filter))?;
                verify::run(&objects, &basedir, out)
            }
            _ => {
                let present_in = basedir.filter(|_| self.command == "missing-objects");
                let mut objects = objects::Needed::default();
                self.each_image(|image| objects.collect(image, &filter))?;
                objects.print_missing(present_in.as_ref(), out)
            }
        }
    }

    fn each_image(&self, mut with: impl FnMut(&Opened) -> Result<()>) -> Result<()> {
        for path in &self.images {
            let context = || quote::path(path).to_string();
            let image = source::open(path).with_context(context)?;
            with(&image).with_context(context)?;
        }
        Ok(())
    }

    fn measure_files(&self, out: &mut dyn Write) -> Result<()> {
        if self.images.is_empty() {
            return Err(anyhow!("no files specified"));
        }
        for path in &self.images {
            let digest =
                measure(path).with_context(|| format!("cannot measure {}", quote::path(path)))?;
            writeln!(out, "{digest}").context("cannot write")?;
        }
        Ok(())
    }
}

/// The digest of a file: the kernel's, if it has one.
fn measure(path: &Path) -> Result<Digest> {
    let file = File::open(path)?;
    if let Some(digest) = verity::measure(&file, Algorithm::Sha256)? {
        return Ok(digest);
    }
    let mut hasher = Hasher::new(Algorithm::Sha256);
    read::hash(&file, &mut hasher)
}

/// The bytes of an argument.
fn bytes_of(argument: &OsString) -> &[u8] {
    argument.as_bytes()
}
