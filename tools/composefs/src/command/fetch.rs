// SPDX-License-Identifier: GPL-2.0-only
//! `composefs fetch`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, bail, Context, Error, Result};
use clap::Args;
use composefs_fetch::fetch::Watch;
use composefs_fetch::missing::{self, Wanted};
use composefs_fetch::profile;
use composefs_fetch::source::{self, Source};
use composefs_oci::image;
use composefs_oci::reference::Reference;
use composefs_repository::profile::Profile;
use composefs_repository::sources::Sources;
use composefs_repository::Repository;
use composefs_sign::Certificate;
use composefs_tools::fsverity::{digest_of, Digest};
use composefs_tools::info::signature;
use composefs_tools::progress::{Lines, Progress};
use composefs_tools::store::Unnamed;
use composefs_tools::{measure, quote};

use crate::access::Access;
use crate::fetched;
use crate::place::Place;

/// How long a server may be slow.
const STALL: Duration = Duration::from_secs(10);

/// Fetch the objects that an image needs, from whoever has them
#[derive(Args, Debug)]
pub struct Options {
    /// The image: a file
    image: PathBuf,

    /// What it is to be called (default: the name of the file, without .cfs)
    name: Option<String>,

    /// Where its objects may be: an address of HTTP or HTTPS, or a directory, of a store, a repository
    /// or an export; or an OCI image, docker://… and the like, whose layers have them (may be repeated).
    /// Nobody has to trust it
    #[arg(long, value_name = "SOURCE", required = true)]
    from: Vec<String>,

    /// The image's fs-verity digest
    #[arg(long, value_name = "HEX", value_parser = digest)]
    digest: Option<Digest>,

    /// A signature of the image
    #[arg(
        long,
        value_name = "FILE",
        requires = "cert",
        conflicts_with = "digest"
    )]
    signature: Option<PathBuf>,

    /// Certificates of those whose signature is taken, in PEM or DER (may be repeated)
    #[arg(long, value_name = "CERT", requires = "signature")]
    cert: Vec<PathBuf>,

    /// Fetch no more than so many bytes in a second; k, M and G stand for powers of 1024
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    limit_rate: Option<u64>,

    /// Say what would be fetched, and fetch nothing
    #[arg(long)]
    dry_run: bool,

    /// Fetch no objects now, but note who has them: for mount --lazy
    #[arg(long, conflicts_with_all = ["dry_run", "limit_rate"])]
    lazy: bool,

    #[command(flatten)]
    access: Access,
}

impl Options {
    pub fn run(self, place: &Place, out: &mut dyn Write) -> Result<()> {
        let context = || format!("cannot fetch {}", quote::path(&self.image));
        let repository = place.open_or_make()?;
        self.fetch(&repository, out).with_context(context)
    }

    fn fetch(&self, repository: &Repository, out: &mut dyn Write) -> Result<()> {
        let name = self.name()?;
        image::expect_name(&name)?;
        let proof = self.proof()?;
        let access = self.access.http(STALL);
        let sources: Result<Vec<_>> = self
            .from
            .iter()
            .map(|name| source::open(name, &access))
            .collect();
        let sources = sources?;
        let mut file = File::open(&self.image)?;
        if self.dry_run {
            proof.expect(&measure::content(&file, repository.algorithm())?)?;
            let missing = missing::objects(repository, file)?;
            return tell(out, &missing);
        }
        repository.expect_writable()?;
        let size = file.metadata()?.len();
        let mut objects = Unnamed::new(repository.store());
        let digest = objects.put_stream_if(&mut file, size, |found| proof.expect(found))?;
        objects.publish()?;
        repository.expect_protected()?;
        let missing = missing::objects(repository, repository.object(&digest)?)?;
        if self.lazy {
            repository.set_sources(&digest, &self.sources()?)?;
        } else {
            let watch = Fetching::new(&missing);
            composefs_fetch::fetch(repository, &missing, &sources, self.limit_rate, &watch)?;
        }
        if let Proof::Signature { signature, .. } = &proof {
            repository.set_signature(&digest, signature)?;
        }
        // Where all is here, nobody is asked for anything.
        if !missing.is_empty() {
            take_profile(repository, &digest, &sources, &proof)?;
        }
        fetched::name(repository, &name, &digest)?;
        repository.sync()?;
        writeln!(out, "{digest}")?;
        Ok(())
    }

    /// Who has the objects, as it is to be known later and elsewhere.
    fn sources(&self) -> Result<Sources> {
        let named = |name: &String| {
            if name.contains("://") {
                return Ok(name.clone());
            }
            if let Ok(image) = name.parse::<Reference>() {
                let image = image.absolute();
                return image.ok_or_else(|| anyhow!("{name}: cannot be found again by that"));
            }
            let path = Path::new(name).canonicalize();
            let path = path.with_context(|| quote::path(Path::new(name)).to_string())?;
            let path = path.into_os_string().into_string();
            path.map_err(|_| anyhow!("{name}: its path is not text"))
        };
        Ok(Sources {
            names: self.from.iter().map(named).collect::<Result<_>>()?,
            tls_verify: self.access.tls_verify(),
        })
    }

    /// What says what the image should be.
    fn proof(&self) -> Result<Proof> {
        match (&self.signature, self.digest) {
            (Some(path), _) => Ok(Proof::Signature {
                path: path.clone(),
                signature: signature::read(path)?,
                trusted: signature::trusted(&self.cert)?,
            }),
            (None, Some(digest)) => Ok(Proof::Digest(digest)),
            (None, None) => Err(anyhow!(
                "nothing says what the image should be: give --digest, or --signature and --cert"
            )),
        }
    }

    fn name(&self) -> Result<String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let stem = match self.image.extension() {
            Some(extension) if extension == "cfs" => self.image.file_stem(),
            _ => self.image.file_name(),
        };
        let stem = stem.and_then(|stem| stem.to_str());
        Ok(stem.ok_or_else(|| anyhow!("has no name"))?.to_owned())
    }
}

/// What says what an image should be.
enum Proof {
    Digest(Digest),
    /// By somebody whom one of the certificates vouches for.
    Signature {
        path: PathBuf,
        signature: Vec<u8>,
        trusted: Vec<Certificate>,
    },
}

impl Proof {
    /// Compares the image with what is said of it.
    fn expect(&self, found: &Digest) -> Result<()> {
        match self {
            Self::Signature {
                path,
                signature,
                trusted,
            } => signature::check(signature, found, trusted).with_context(|| {
                let path = quote::path(path);
                format!("{path} does not vouch for digest {found}")
            }),
            Self::Digest(wanted) if wanted == found => Ok(()),
            Self::Digest(wanted) if wanted.algorithm() != found.algorithm() => bail!(
                "the digest is one of {}, those of the repository are of {}",
                wanted.algorithm().name(),
                found.algorithm().name()
            ),
            Self::Digest(_) => bail!("is not what it should be: its digest is {found}"),
        }
    }

    /// Whoever has to vouch for the image has to for its profile.
    fn expect_profile(&self, found: &Digest, signed: &dyn Fn() -> Result<Vec<u8>>) -> Result<()> {
        match self {
            Self::Signature { trusted, .. } => signature::check(&signed()?, found, trusted),
            Self::Digest(_) => Ok(()),
        }
    }
}

/// Takes the profile of an image from the first source that has one. Nothing depends on it.
fn take_profile(
    repository: &Repository,
    image: &Digest,
    sources: &[Box<dyn Source>],
    proof: &Proof,
) -> Result<()> {
    for source in sources {
        let found = profile::of(&**source, image, &|text, signature| {
            proof.expect_profile(&digest_of(image.algorithm(), text), signature)
        });
        match found {
            Ok(None) => {}
            Ok(Some(found)) => {
                // One that is damaged is none.
                let known = repository.profile(image).ok().flatten();
                return repository.set_profile(&Profile::joined(known, found));
            }
            Err(why) => {
                let source = quote::path(Path::new(source.name()));
                eprintln!("composefs: {source}: its profile is not taken: {why:#}");
            }
        }
    }
    Ok(())
}

fn tell(out: &mut dyn Write, missing: &[Wanted]) -> Result<()> {
    let bytes: u64 = missing.iter().map(|wanted| wanted.size).sum();
    writeln!(out, "{} objects, {bytes} bytes", missing.len())?;
    Ok(())
}

/// Shows how far it is, and says who is left.
struct Fetching(Progress);

impl Fetching {
    fn new(missing: &[Wanted]) -> Self {
        let bytes = missing.iter().map(|wanted| wanted.size).sum();
        Self(Lines::default().sum(format!("{} objects", missing.len()), bytes))
    }
}

impl Watch for Fetching {
    fn advance(&self, bytes: u64) {
        self.0.advance(bytes);
    }

    fn leave(&self, source: &str, why: &Error) {
        let source = quote::path(Path::new(source));
        eprintln!("composefs: {source}: is not asked again: {why:#}");
    }
}

fn digest(text: &str) -> Result<Digest> {
    Digest::parse_hex(text.as_bytes()).map_err(|_| anyhow!("is not a digest"))
}

fn rate(text: &str) -> Result<u64> {
    let (digits, factor) = match text.chars().last() {
        Some('k') => (text.strip_suffix('k'), 1 << 10),
        Some('M') => (text.strip_suffix('M'), 1 << 20),
        Some('G') => (text.strip_suffix('G'), 1 << 30),
        _ => (Some(text), 1),
    };
    let number: u64 = digits.unwrap_or_default().parse()?;
    let rate = number.checked_mul(factor).filter(|&rate| rate > 0);
    rate.ok_or_else(|| anyhow!("is not a rate"))
}
