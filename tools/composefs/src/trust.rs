// SPDX-License-Identifier: GPL-2.0-only
//! Whose signatures are taken.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use clap::Args;
use composefs_sign::Certificate;
use composefs_tools::{info, quote};

/// Where the certificates are that the initramfs has for the kernel, too.
const KEYRING: &str = "/etc/composefs/keys";
/// What the names of certificates end in, in a directory of them.
const EXTENSIONS: [&str; 3] = ["der", "pem", "crt"];

/// The options that say whose.
#[derive(Args, Debug)]
pub struct Trust {
    /// Certificates of those whose signatures are taken, in PEM or DER (may be repeated)
    #[arg(long, value_name = "CERT")]
    cert: Vec<PathBuf>,

    /// A directory of certificates, *.der, *.pem and *.crt, of those whose signatures are taken
    /// (default, if there is no --cert: /etc/composefs/keys)
    #[arg(long, value_name = "DIR")]
    keyring: Option<PathBuf>,
}

impl Trust {
    /// Whether any are said.
    pub fn is_said(&self) -> bool {
        !self.cert.is_empty() || self.keyring.is_some()
    }

    /// The certificates.
    pub fn certificates(&self) -> Result<Vec<Certificate>> {
        let keyring = match (&self.keyring, self.cert.is_empty()) {
            (Some(dir), _) => Some(dir.as_path()),
            (None, true) => Some(Path::new(KEYRING)),
            (None, false) => None,
        };
        let mut files = self.cert.clone();
        if let Some(dir) = keyring {
            files.extend(listed(dir)?);
        }
        info::signature::trusted(&files)
    }
}

fn listed(dir: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("keyring {}", quote::path(dir));
    let list = || {
        let entries = fs::read_dir(dir)?.map(|entry| Ok(entry?.path()));
        entries.collect::<io::Result<Vec<_>>>()
    };
    let mut files = list().with_context(context)?;
    let is_one = |extension: &std::ffi::OsStr| EXTENSIONS.iter().any(|one| extension == *one);
    files.retain(|path| path.extension().is_some_and(is_one));
    if files.is_empty() {
        let none = || bail!("has no certificates, so nobody is trusted");
        return none().with_context(context);
    }
    files.sort();
    Ok(files)
}
