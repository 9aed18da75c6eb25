// SPDX-License-Identifier: GPL-2.0-only
//! `composefs sign` and `composefs verify`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, ensure, Context, Result};
use clap::Args;
use composefs_oci::image::{title, Image};
use composefs_oci::signed::{kept, make, Held, Role, Seal, Subject};
use composefs_repository::Repository;
use composefs_tools::fsverity::Digest;
use composefs_tools::info::signature::{self, Statement};
use composefs_tools::info::signer::Signer;
use composefs_tools::quote;

use crate::fetched;
use crate::place::Place;
use crate::trust::Trust;

/// Sign an image: its manifest, its configuration and its composefs image
///
/// The signatures are kept in an artifact that is about the image, which push puts beside it; its
/// digest is printed. The image stays as it is.
#[derive(Args, Debug)]
pub struct Options {
    /// The image
    image: String,

    /// The private key, in PEM or DER. If it is encrypted, the passphrase is that in the environment
    /// variable COMPOSEFS_KEY_PASSPHRASE, or is asked for on the terminal
    #[arg(long, value_name = "KEY", requires = "cert")]
    key: Option<PathBuf>,

    /// The certificate of the key
    #[arg(long, value_name = "CERT")]
    cert: Option<PathBuf>,

    /// Certificates to put into the signatures, which lead to one that will be in the keyring (may
    /// be repeated)
    #[arg(long, value_name = "CERTS", requires = "key")]
    chain: Vec<PathBuf>,

    /// Say of the composefs image that it is one, which no signature of a file says: see
    /// image_signatures_only in composefs(5)
    #[arg(long, requires = "key")]
    image_only: bool,

    /// Put the signatures into the annotations of the manifest, which makes another image of it, that
    /// gets the name; then every tool that copies the image copies them. There is none of the
    /// manifest then
    #[arg(long)]
    inline: bool,

    /// Sign nothing, but write what another signer has to sign into this directory: manifest, config
    /// and merged
    #[arg(long, value_name = "DIR", conflicts_with_all = ["key", "cert", "inline"])]
    to_sign: Option<PathBuf>,

    /// Take the signatures that another signer made, in this directory: manifest.sig, config.sig and
    /// merged.sig. They have to be by the certificate
    #[arg(long, value_name = "DIR", requires = "cert", conflicts_with = "key")]
    signed: Option<PathBuf>,
}

/// Check the signatures of an image that are kept here, and say whose they are
#[derive(Args, Debug)]
pub struct Verify {
    /// The image
    image: String,

    #[command(flatten)]
    trust: Trust,
}

impl Options {
    pub fn run(self, place: &Place, out: &mut dyn Write) -> Result<()> {
        let repository = place.open()?;
        let image = open(&repository, &self.image)?;
        let context = || format!("cannot sign {}", title(&self.image));
        let digests = make::digests(&repository, &image).with_context(context)?;
        if let Some(dir) = &self.to_sign {
            return write(dir, &digests);
        }
        repository.expect_writable()?;
        let seals = self.seals(&digests).with_context(context)?;
        let digest = match self.inline {
            true => make::include(&repository, &self.image, image, &seals),
            false => make::attach(&repository, &image, &seals),
        };
        writeln!(out, "{}", digest.with_context(context)?)?;
        Ok(())
    }

    fn seals(&self, digests: &[(Role, Digest)]) -> Result<Vec<Seal>> {
        let seal = |sign: &dyn Fn(Role, &Digest) -> Result<Vec<u8>>| {
            let seals = digests
                .iter()
                .filter(|(role, _)| !self.inline || *role != Role::Manifest);
            let seal = |&(role, digest): &(Role, Digest)| {
                let signature = sign(role, &digest)?;
                Ok(Seal {
                    role,
                    digest,
                    signature,
                })
            };
            seals.map(seal).collect()
        };
        match (&self.key, &self.cert, &self.signed) {
            (Some(key), Some(cert), _) => {
                let signer = Signer::load(key, cert, &self.chain)?;
                seal(&|role, digest| signer.sign(self.statement(role), digest))
            }
            (None, Some(cert), Some(dir)) => {
                let trusted = signature::certificates(cert)?;
                seal(&|role, digest| {
                    let path = dir.join(format!("{}.sig", role.name()));
                    let signature = signature::read(&path)?;
                    signature::check(&signature, digest, &trusted)
                        .with_context(|| quote::path(&path).to_string())?;
                    Ok(signature)
                })
            }
            _ => Err(anyhow!(
                "say who signs: --key and --cert, or --signed and --cert"
            )),
        }
    }

    fn statement(&self, role: Role) -> Statement {
        match role {
            Role::Merged(_) if self.image_only => Statement::OfImage,
            _ => Statement::OfFile,
        }
    }
}

fn open(repository: &Repository, name: &str) -> Result<Image> {
    let image = Image::open(repository, name)?;
    image.expect_file_system().with_context(|| title(name))?;
    Ok(image)
}

/// Writes what is to be signed.
fn write(dir: &Path, digests: &[(Role, Digest)]) -> Result<()> {
    for (role, digest) in digests {
        let path = dir.join(role.name());
        let bytes = Statement::OfFile.of(digest);
        let write = || {
            fs::create_dir_all(dir)?;
            fs::write(&path, bytes.as_bytes())
        };
        write().with_context(|| format!("cannot write {}", quote::path(&path)))?;
    }
    Ok(())
}

const NOT_SIGNED: &str = "it is not signed, or its signatures are not here";

impl Verify {
    pub fn run(self, place: &Place, out: &mut dyn Write) -> Result<()> {
        let repository = place.open()?;
        let trusted = self.trust.certificates()?;
        let (with_manifest, composefs) = fetched::open(&repository, &self.image)?;
        let verify = || {
            repository.object(&composefs)?;
            let Some(image) = &with_manifest else {
                let signature = repository.signature(&composefs).context(NOT_SIGNED)?;
                return Held::of(composefs, &signature, &trusted);
            };
            let subject = Subject::of(&repository, image);
            let mut last = None;
            for signatures in kept::all(&repository, image)? {
                match signatures.check(&subject, &trusted) {
                    Ok(held) => {
                        ensure!(
                            held.digest == composefs,
                            "the composefs image is another one than {}, which is signed",
                            held.digest
                        );
                        return Ok(held);
                    }
                    Err(error) => last = Some(error),
                }
            }
            match last {
                Some(error) => Err(error),
                None => bail!(NOT_SIGNED),
            }
        };
        let held: Held = verify().with_context(|| title(&self.image))?;
        let name = Path::new(&self.image);
        let whose = (&held.signer, &held.anchor);
        signature::report(name, &held.digest, held.statement, whose, out)?;
        Ok(())
    }
}
