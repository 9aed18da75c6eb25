// SPDX-License-Identifier: GPL-2.0-only
//! Signatures, and whom they are taken from.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use composefs_format::{FormattedDigest, MAX_SIGNATURE_SIZE};
use composefs_sign::{Certificate, Fault, Message, Verified};

use crate::fsverity::Digest;
use crate::quote;

/// What a signature can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    /// That a file has a digest.
    OfFile,
    /// That an image has it.
    OfImage,
}

impl Statement {
    /// The bytes that are signed.
    pub fn of(self, digest: &Digest) -> FormattedDigest {
        match self {
            Self::OfFile => FormattedDigest::new(digest),
            Self::OfImage => FormattedDigest::of_image(digest),
        }
    }
}

/// Reads the certificates in all of these files.
///
/// # Errors
/// If they cannot be.
pub fn trusted(certs: &[PathBuf]) -> Result<Vec<Certificate>> {
    let mut trusted = Vec::new();
    for path in certs {
        trusted.extend(certificates(path)?);
    }
    Ok(trusted)
}

/// Reads the certificates in a file.
///
/// # Errors
/// If they cannot be.
pub fn certificates(path: &Path) -> Result<Vec<Certificate>> {
    Certificate::load(path)
        .with_context(|| format!("cannot use the certificate {}", quote::path(path)))
}

/// Reads a signature; no more of a file than it takes to see that it is too large.
///
/// # Errors
/// If it cannot be.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut read = || {
        let file = File::open(path)?;
        file.take(MAX_SIGNATURE_SIZE as u64 + 1)
            .read_to_end(&mut content)
    };
    read().with_context(|| format!("cannot read the signature {}", quote::path(path)))?;
    Ok(content)
}

/// Looks whether a signature holds for a digest, by somebody whom one of the certificates vouches for.
///
/// # Errors
/// If it does not.
pub fn check(signature: &[u8], digest: &Digest, trusted: &[Certificate]) -> Result<()> {
    let message = Message::parse(signature)?;
    first_that_holds(&message, &[*digest], trusted)?;
    Ok(())
}

/// The digest that a signature holds for, what it says of it, and who says it.
///
/// # Errors
/// If it holds for none.
pub fn first_that_holds<'a>(
    message: &'a Message,
    digests: &'a [Digest],
    trusted: &'a [Certificate],
) -> Result<(&'a Digest, Statement, Verified<'a>), Fault> {
    let mut first = None;
    for digest in digests {
        for statement in [Statement::OfFile, Statement::OfImage] {
            match message.verify(statement.of(digest).as_bytes(), trusted) {
                Ok(verified) => return Ok((digest, statement, verified)),
                Err(fault) => first = first.or(Some(fault)),
            }
        }
    }
    Err(first.unwrap_or_else(|| Fault::rejected("there is no digest")))
}

/// Says who has signed what is called `image`.
///
/// # Errors
/// Of writing.
pub fn report(
    image: &Path,
    digest: &Digest,
    statement: Statement,
    (signer, anchor): (&Certificate, &Certificate),
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let name = digest.algorithm().name();
    let image = quote::path(image);
    let as_what = match statement {
        Statement::OfFile => "",
        Statement::OfImage => " as an image",
    };
    write!(
        out,
        "{image}: {name}:{digest} is signed{as_what} by {signer}"
    )?;
    if signer.der != anchor.der {
        write!(out, ", trusted because of {anchor}")?;
    }
    writeln!(out)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    for (bad, what) in [
        (signer.not_after < now, "has expired"),
        (signer.not_before > now, "is not valid yet"),
        (signer.no_signatures, "is not for signatures"),
    ] {
        if bad {
            writeln!(
                out,
                "{image}: the signer's certificate {what}, which the kernel does not mind"
            )?;
        }
    }
    Ok(())
}
