// SPDX-License-Identifier: GPL-2.0-only
//! What a repository has, for any web server to hand out.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use composefs_repository::Repository;
use composefs_tools::fsverity::{Algorithm, Digest};
use composefs_tools::{output, quote};
use rustix::fs::FlockOperation;

use crate::missing;
use crate::pack::list::{self, List};
use crate::pack::writer::Writer;
use crate::pack::{self, index};

/// The directory of images in an export.
pub(crate) const IMAGES: &str = "images";

/// What is to be exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its digest.
    pub digest: Digest,
    /// Signatures of it, PKCS#7 in DER.
    pub signatures: Vec<Vec<u8>>,
}

/// What is new in an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Objects.
    pub objects: u64,
    /// Their bytes, before they were compressed.
    pub bytes: u64,
}

/// Adds images and their objects to the export that is, or will be, at `path`. What is there stays
/// as it is but for the list of packs: so a copy elsewhere gets what is new, and the list last.
///
/// # Errors
/// If something cannot be read or written, or is another export's.
pub fn export<'a>(
    repository: &Repository,
    path: &Path,
    images: impl Iterator<Item = &'a Image> + Clone,
) -> Result<Exported> {
    let packs = path.join(pack::DIR);
    for dir in [&packs, &path.join(IMAGES)] {
        fs::create_dir_all(dir).with_context(|| quote::path(dir).to_string())?;
    }
    let dir = File::open(&packs).with_context(|| quote::path(&packs).to_string())?;
    // One at a time; whoever comes then goes on from there.
    rustix::fs::flock(&dir, FlockOperation::LockExclusive)
        .with_context(|| quote::path(&packs).to_string())?;
    let export = Export {
        algorithm: repository.algorithm(),
        packs,
    };
    let mut list = export.list()?;
    export.remove_unlisted(&list)?;
    let mut known = export.objects(&list)?;
    let mut writer = Writer::new(&export.packs, export.algorithm)?;
    let mut new = Exported::default();
    for image in images.clone() {
        let file = repository.object(&image.digest)?;
        missing::visit(export.algorithm, file, &mut |object| {
            if known.insert(object.digest) {
                let content = repository.object(&object.digest)?;
                writer.put(object, content)?;
                new.objects += 1;
                new.bytes = new.bytes.saturating_add(object.size);
            }
            Ok(())
        })?;
    }
    let written = writer.finish()?;
    for image in images {
        put_image(repository, &path.join(IMAGES), image)?;
    }
    let is_new = !written.is_empty() || !export.packs.join(list::NAME).exists();
    list.packs.splice(0..0, written.into_iter().rev());
    if is_new {
        let text = list.text();
        output::write(&export.packs.join(list::NAME), None, |out| {
            Ok(out.write_all(text.as_bytes())?)
        })?;
    }
    Ok(new)
}

/// Puts an image, its signatures and its profile into the directory of those.
fn put_image(repository: &Repository, dir: &Path, image: &Image) -> Result<()> {
    let digest = &image.digest;
    let to = dir.join(format!("{digest}.cfs"));
    if !to.exists() {
        let mut image = repository.object(digest)?;
        output::write(&to, None, |out| Ok(io::copy(&mut image, out).map(drop)?))?;
    }
    for (at, signature) in image.signatures.iter().enumerate() {
        let to = dir.join(match at {
            0 => format!("{digest}.sig"),
            at => format!("{digest}.{}.sig", at + 1),
        });
        put(&to, signature)?;
    }
    if let Some(profile) = repository.profile(digest)? {
        let to = dir.join(format!("{digest}.profile"));
        put(&to, profile.text().as_bytes())?;
    }
    Ok(())
}

/// Writes a file, unless it is there and has that content.
fn put(to: &Path, content: &[u8]) -> Result<()> {
    if fs::read(to).is_ok_and(|known| known == content) {
        return Ok(());
    }
    output::write(to, None, |out| Ok(out.write_all(content)?))
}

struct Export {
    algorithm: Algorithm,
    packs: PathBuf,
}

impl Export {
    fn list(&self) -> Result<List> {
        let path = self.packs.join(list::NAME);
        let context = || quote::path(&path).to_string();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(List {
                    algorithm: self.algorithm,
                    packs: Vec::new(),
                })
            }
            Err(error) => return Err(error).with_context(context),
        };
        let list = List::parse(&text).with_context(context)?;
        if list.algorithm != self.algorithm {
            let (its, ours) = (list.algorithm.name(), self.algorithm.name());
            bail!(
                "{}: its digests are of {its}, those of the repository of {ours}",
                context()
            );
        }
        Ok(list)
    }

    /// All objects that are there.
    fn objects(&self, list: &List) -> Result<HashSet<Digest>> {
        let mut known = HashSet::new();
        for pack in &list.packs {
            let path = self.packs.join(pack::index_name(pack));
            let mut end = 0;
            let mut read = || -> Result<()> {
                let mut index = BufReader::new(File::open(&path)?);
                index::read(&mut index, self.algorithm, &mut |start, frame| {
                    end = start.saturating_add(frame.len);
                    known.extend(frame.objects.iter().map(|object| object.digest));
                    Ok(())
                })
            };
            read().with_context(|| quote::path(&path).to_string())?;
            let path = self.packs.join(pack::pack_name(pack));
            let found = fs::metadata(&path).with_context(|| quote::path(&path).to_string())?;
            if found.len() != end {
                bail!(
                    "{}: is of {} bytes, and should be of {end}",
                    quote::path(&path),
                    found.len()
                );
            }
        }
        Ok(known)
    }

    /// What is left of an export that was interrupted.
    fn remove_unlisted(&self, list: &List) -> Result<()> {
        let listed: HashSet<_> = list.packs.iter().collect();
        for entry in fs::read_dir(&self.packs)? {
            let name = entry?.file_name();
            let path = Path::new(&name);
            let is_ours = path
                .extension()
                .is_some_and(|it| it == "pack" || it == "idx");
            let pack = path.file_stem().and_then(|stem| stem.to_str());
            let pack = pack.and_then(|stem| Digest::parse_hex(stem.as_bytes()).ok());
            if is_ours && pack.is_some_and(|pack| !listed.contains(&pack)) {
                fs::remove_file(self.packs.join(path))?;
            }
        }
        Ok(())
    }
}
