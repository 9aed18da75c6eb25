// SPDX-License-Identifier: GPL-2.0-only
//! The command `composefs-info`.

mod action;
pub mod dump;
pub mod ls;
mod objects;
mod sign;
pub mod signature;
pub mod signer;
mod verify;

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{anyhow, Context, Result};
use clap::Parser;

use crate::contents::{self, Filter, Opened};
use crate::fsverity::Algorithm;
use crate::measure;
use crate::quote;
use action::Action;
use objects::Needed;

/// What the manual has to say about signatures.
const SIGNATURES: &str = "\
Signatures: the kernel checks a detached PKCS#7 signature (DER) of the image's fs-verity digest at \
mount, given signature=FILE, against its keyring .composefs.

  composefs-info sign IMAGE --key KEY.pem --cert CERT.pem
  composefs-info verify IMAGE --signature IMAGE.sig --cert CERT.pem
  mount -t composefs IMAGE DIR -o basedir=STORE,signature=IMAGE.sig

Keys are RSA (512, 1024, 1536, 2048, 3072 or 4096 bits; PKCS#1 v1.5) or ECDSA (P-256, P-384, P-521), \
as PKCS#8 (also encrypted), PKCS#1 or SEC 1. The signature holds the certificate, so that it is enough \
for the keyring to have that of its issuer.

With a key elsewhere, a PKCS#11 token say:

  composefs-info sign IMAGE --print-formatted-digest |
      openssl cms -sign -binary -outform DER -noattr -signer CERT.pem -inkey KEY -out IMAGE.sig

where OpenSSL takes KEY as a file or, through a provider, as a pkcs11: URI. fsverity-utils sign the same:

  fsverity sign IMAGE IMAGE.sig --key=KEY.pem --cert=CERT.pem [--hash-alg=sha512]

without the certificate in the signature: the keyring has to have that of the key itself.

As the kernel, verify minds neither dates of certificates (except that of a signing time in the signature) \
nor what they are for; it says so where it matters. Unlike the kernel, it cannot see the keyring \
.blacklist, and knows neither ECDSA over P-192 nor SM3, Streebog, ECRDSA and ML-DSA.";

/// Look into composefs images.
#[derive(Debug, Parser)]
#[command(
    name = "composefs-info",
    args_override_self = true,
    infer_long_args = true,
    arg_required_else_help = true,
    after_long_help = SIGNATURES
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
    ///   verify           with --basedir, check that every object is in the store,
    ///                    is what the image says, and has fs-verity enabled; with
    ///                    --signature and --cert, check the signature of the image
    ///                    by the kernel's rules
    ///   sign             sign the images, for mount's option signature=
    #[arg(verbatim_doc_comment, value_enum, hide_possible_values = true)]
    command: Action,

    /// The images
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,

    #[command(flatten)]
    signing: sign::Options,
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
        use Action::{Dump, Ls, MeasureFile, MissingObjects, Objects, Sign, Verify};
        let filter = Filter::new(&self.filter)?;
        self.signing.check(self.command)?;
        let basedir = match &self.basedir {
            Some(path) if self.command != MeasureFile => Some(objects::open_basedir(path)?),
            _ => None,
        };
        if self.images.is_empty() {
            let what = match self.command {
                MeasureFile => "no files specified",
                _ => "no image path specified",
            };
            return Err(anyhow!(what));
        }
        match self.command {
            MeasureFile => self.measure_files(out),
            Ls => self.each_image(|image| ls::print(image, &filter, out)),
            Dump => self.each_image(|image| dump::print(image, &filter, out)),
            Objects => self.objects(&filter)?.print_missing(None, out),
            MissingObjects => self.objects(&filter)?.print_missing(basedir.as_ref(), out),
            Sign => self.signing.sign(&self.images),
            Verify => {
                if let Some(signature) = self.signing.signature() {
                    self.signing.verify(signature, &self.images, out)?;
                } else if basedir.is_none() {
                    return Err(anyhow!("verify needs --basedir, or --signature and --cert"));
                }
                match basedir {
                    Some(basedir) => verify::run(&self.objects(&filter)?, &basedir, out),
                    None => Ok(()),
                }
            }
        }
    }

    /// The objects that the images need.
    fn objects(&self, filter: &Filter) -> Result<Needed> {
        let mut objects = Needed::default();
        self.each_image(|image| objects.collect(image, filter))?;
        Ok(objects)
    }

    fn each_image(&self, mut with: impl FnMut(&Opened) -> Result<()>) -> Result<()> {
        for path in &self.images {
            let context = || quote::path(path).to_string();
            let image = contents::open(path).with_context(context)?;
            with(&image).with_context(context)?;
        }
        Ok(())
    }

    fn measure_files(&self, out: &mut dyn Write) -> Result<()> {
        for path in &self.images {
            let algorithm = self.signing.algorithm().unwrap_or(Algorithm::Sha256);
            let measured = File::open(path)
                .map_err(anyhow::Error::from)
                .and_then(|file| measure::file(&file, algorithm))
                .with_context(|| format!("cannot measure {}", quote::path(path)))?;
            writeln!(out, "{}", measured.digest).context("cannot write")?;
        }
        Ok(())
    }
}
