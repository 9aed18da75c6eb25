// SPDX-License-Identifier: GPL-2.0-only
//! Who signs: a private key, its certificate, and those that lead to one that is trusted.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context, Result};
use composefs_sign::{Certificate, PrivateKey};

use crate::fsverity::Digest;
use crate::info::signature::{certificates, Statement};
use crate::quote;

/// Who signs.
pub struct Signer {
    key: PrivateKey,
    certificate: Certificate,
    chain: Vec<Certificate>,
}

impl Signer {
    /// Reads the key, and asks for its passphrase if need be; the certificates are that of the key,
    /// which is the first in the file `cert`, and others.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn load(key: &Path, cert: &Path, chain: &[PathBuf]) -> Result<Self> {
        let mut given = certificates(cert)?.into_iter();
        let certificate = given
            .next()
            .ok_or_else(|| anyhow!("there is no certificate"))?;
        let mut more: Vec<_> = given.collect();
        for path in chain {
            more.extend(certificates(path)?);
        }
        let question = format!("Passphrase of {}: ", quote::path(key));
        let loaded = PrivateKey::load(key, || composefs_sign::passphrase(&question));
        Ok(Self {
            key: loaded.with_context(|| format!("cannot use the key {}", quote::path(key)))?,
            certificate,
            chain: more,
        })
    }

    /// Signs what is said of something with this digest.
    ///
    /// # Errors
    /// If the key is not that of the certificate, or the kernel would not take the signature.
    pub fn sign(&self, statement: Statement, digest: &Digest) -> Result<Vec<u8>> {
        composefs_sign::compose(
            statement.of(digest).as_bytes(),
            digest.algorithm(),
            &self.key,
            &self.certificate,
            &self.chain,
        )
    }
}
