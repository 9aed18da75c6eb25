// SPDX-License-Identifier: GPL-2.0-only
//! `sign`, and the part of `verify` that is about signatures.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context, Result};
use clap::Args;
use composefs_sign::{Fault, Message, Verified};

use crate::cli;
use crate::contents;
use crate::fsverity::{Algorithm, Digest};
use crate::info::action::Action;
use crate::info::signature::{self, Statement};
use crate::info::signer::Signer;
use crate::measure;
use crate::output;
use crate::quote;

/// The options of both.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options for signatures")]
pub struct Options {
    /// sign: the private key, in PEM or DER. If it is encrypted, the
    /// passphrase is that in the environment variable
    /// COMPOSEFS_KEY_PASSPHRASE, or is asked for on the terminal
    #[arg(long, value_name = "KEY", verbatim_doc_comment)]
    key: Option<PathBuf>,

    /// sign: the certificate of the key; verify: certificates to trust, as
    /// the keyring has them (may be repeated). PEM or DER
    #[arg(long, value_name = "CERT", verbatim_doc_comment)]
    cert: Vec<PathBuf>,

    /// sign: certificates to put into the signature, which lead to one that
    /// will be in the keyring (may be repeated)
    #[arg(long, value_name = "CERTS", verbatim_doc_comment)]
    chain: Vec<PathBuf>,

    /// sign: write the signature there, rather than to IMAGE.sig
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// verify: the signature of the image
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,

    /// sign, verify, measure-file: which fs-verity digest, sha256 or sha512
    /// (default: what fs-verity on the file uses; if it is not enabled,
    /// sha256, and for verify either)
    #[arg(long, value_name = "NAME", value_parser = cli::algorithm, verbatim_doc_comment)]
    digest_algorithm: Option<Algorithm>,

    /// sign: make no signature, but write what is to be signed to standard
    /// output, for another signer
    #[arg(long, verbatim_doc_comment)]
    print_formatted_digest: bool,

    /// sign: say that this is an image, which no signature of a file says;
    /// verify: take no other signature. The kernel takes no other with the
    /// module parameter image_signatures_only
    #[arg(long, verbatim_doc_comment)]
    image_only: bool,
}

impl Options {
    /// Which digest is wanted.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.digest_algorithm
    }

    /// The signature to check.
    pub fn signature(&self) -> Option<&Path> {
        self.signature.as_deref()
    }

    /// Refuses options that `command` has no use for: to ignore one that is about trust would be
    /// to lie.
    ///
    /// # Errors
    /// If there is one.
    pub fn check(&self, command: Action) -> Result<()> {
        use Action::{MeasureFile, Sign, Verify};
        let given = [
            ("--key", self.key.is_some(), &[Sign][..]),
            ("--cert", !self.cert.is_empty(), &[Sign, Verify]),
            ("--chain", !self.chain.is_empty(), &[Sign]),
            ("--output", self.output.is_some(), &[Sign]),
            ("--signature", self.signature.is_some(), &[Verify]),
            (
                "--digest-algorithm",
                self.digest_algorithm.is_some(),
                &[Sign, Verify, MeasureFile],
            ),
            (
                "--print-formatted-digest",
                self.print_formatted_digest,
                &[Sign],
            ),
            ("--image-only", self.image_only, &[Sign, Verify]),
        ];
        for (option, is_given, commands) in given {
            if is_given && !commands.contains(&command) {
                return Err(anyhow!("{option} is not for {command}"));
            }
        }
        if self.signature.is_none() && command == Verify {
            if !self.cert.is_empty() {
                return Err(anyhow!("--cert needs --signature"));
            }
            if self.digest_algorithm.is_some() {
                return Err(anyhow!("--digest-algorithm needs --signature"));
            }
            if self.image_only {
                return Err(anyhow!("--image-only needs --signature"));
            }
        }
        Ok(())
    }

    /// Signs images, or writes what there is to sign.
    ///
    /// # Errors
    /// If that is impossible. No half of a signature is left behind.
    pub fn sign(&self, images: &[PathBuf]) -> Result<()> {
        if self.output.is_some() && images.len() > 1 {
            return Err(anyhow!("--output is for one image"));
        }
        if self.print_formatted_digest {
            return self.print_formatted_digest(images);
        }
        let (Some(key), [cert]) = (&self.key, &self.cert[..]) else {
            return Err(anyhow!("sign needs one --key and one --cert"));
        };
        let signer = Signer::load(key, cert, &self.chain)?;
        for image in images {
            let digest = self.image_digest(image)?;
            let signature = signer
                .sign(self.statement(), &digest)
                .with_context(|| format!("cannot sign {}", quote::path(image)))?;
            let output = match &self.output {
                Some(path) => path.clone(),
                None => signature_path(image),
            };
            write(&output, &signature)?;
        }
        Ok(())
    }

    fn print_formatted_digest(&self, images: &[PathBuf]) -> Result<()> {
        if self.key.is_some() || !self.cert.is_empty() || !self.chain.is_empty() {
            return Err(anyhow!(
                "--print-formatted-digest goes without --key, --cert and --chain"
            ));
        }
        let [image] = images else {
            return Err(anyhow!("--print-formatted-digest is for one image"));
        };
        let digest = self.image_digest(image)?;
        let output = self.output.as_deref().unwrap_or(Path::new("-"));
        write(output, self.statement().of(&digest).as_bytes())
    }

    /// What is signed.
    fn statement(&self) -> Statement {
        if self.image_only {
            Statement::OfImage
        } else {
            Statement::OfFile
        }
    }

    /// The digest to sign. What is not an image is not signed: it would be a mistake.
    fn image_digest(&self, image: &Path) -> Result<Digest> {
        let context = || quote::path(image).to_string();
        contents::open(image).with_context(context)?;
        let digests = measure::candidates(image, self.digest_algorithm).with_context(context)?;
        digests.first().copied().ok_or_else(|| anyhow!("no digest"))
    }

    /// Checks the signature of an image, and says who has signed it.
    ///
    /// # Errors
    /// If it does not hold.
    pub fn verify(&self, signature: &Path, images: &[PathBuf], out: &mut dyn Write) -> Result<()> {
        let [image] = images else {
            return Err(anyhow!("--signature is for one image"));
        };
        if self.cert.is_empty() {
            return Err(anyhow!("--signature needs --cert"));
        }
        let trusted = signature::trusted(&self.cert)?;
        let digests = measure::candidates(image, self.digest_algorithm)
            .with_context(|| quote::path(image).to_string())?;
        let context = || {
            let (image, signature) = (quote::path(image), quote::path(signature));
            format!("{signature} does not vouch for {image}")
        };
        let message = signature::read(signature)?;
        let message = Message::parse(&message).with_context(context)?;
        let (digest, statement, verified) =
            signature::first_that_holds(&message, &digests, &trusted).with_context(context)?;
        if self.image_only && statement == Statement::OfFile {
            return Err(Fault::rejected("it is one of a file, not one of an image"))
                .with_context(context);
        }
        let Verified { signer, anchor } = verified;
        signature::report(image, digest, statement, (signer, anchor), out).context("cannot write")
    }
}

fn signature_path(image: &Path) -> PathBuf {
    let mut name = OsString::from(image);
    name.push(".sig");
    name.into()
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    output::write(path, None, |out| {
        out.write_all(content)
            .with_context(|| format!("cannot write {}", quote::path(path)))
    })
}
