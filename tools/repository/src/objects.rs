// SPDX-License-Identifier: GPL-2.0-only
//! Objects, to be read.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::OwnedFd;

use anyhow::{anyhow, Context, Result};
use composefs_tools::contents::{self, Filter};
use composefs_tools::fsverity::{object_path, Algorithm, Digest};
use composefs_tools::{measure, quote};
use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::links::Category;
use crate::repository::{Repository, OBJECTS};
use crate::stream::Reader;

impl Repository {
    /// Opens an object, and looks that it is what its name says: the kernel's word counts, or else
    /// all of it is read.
    ///
    /// # Errors
    /// If it is not there, damaged, or not protected though it has to be.
    pub fn object(&self, digest: &Digest) -> Result<File> {
        let file = self.checked_object(digest);
        file.with_context(|| self.name_object(digest))
    }

    /// Whether there is an object of this size. What is in it is for whoever opens it to check.
    ///
    /// # Errors
    /// If that cannot be found out.
    pub fn has_object_of(&self, digest: &Digest, size: u64) -> Result<bool> {
        let file = match self.open_object(digest) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error).with_context(|| self.name_object(digest)),
        };
        let found = file.metadata().with_context(|| self.name_object(digest))?;
        Ok(found.len() == size)
    }

    /// As [`Repository::object`]; the error does not name the object.
    pub(crate) fn checked_object(&self, digest: &Digest) -> Result<File> {
        let file = self.open_object(digest)?;
        let found = measure::file(&file, self.algorithm())?;
        if found.digest != *digest {
            return Err(anyhow!("is damaged: its digest is {}", found.digest));
        }
        if self.is_secure() && !found.has_verity {
            return Err(anyhow!("is not protected by fs-verity"));
        }
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
        Ok(file)
    }

    /// Calls `visit` with the path of everything that is where objects are, and the digest that it
    /// is named by, if it is named by one.
    pub(crate) fn visit_objects(
        &self,
        visit: &mut dyn FnMut(String, Option<Digest>) -> Result<()>,
    ) -> Result<()> {
        for dir in self.entries(OBJECTS)? {
            if !(dir.len() == 2 && dir.bytes().all(|byte| byte.is_ascii_hexdigit())) {
                continue;
            }
            let dir_path = format!("{OBJECTS}/{dir}");
            for name in self.entries(&dir_path)? {
                let digest = parse_digest(&[&*dir, &name].concat(), self.algorithm());
                visit(format!("{dir_path}/{name}"), digest)?;
            }
        }
        Ok(())
    }

    /// The names in a directory, those that are text.
    pub(crate) fn entries(&self, dir: &str) -> Result<Vec<String>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let context = || self.quote(dir);
        let fd = match rustix::fs::openat(self.dir(), dir, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(context),
        };
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd).with_context(context)? {
            let entry = entry.with_context(context)?;
            if entry.file_type() == FileType::Directory
                && entry.file_name().to_bytes().starts_with(b".")
            {
                continue;
            }
            if let Ok(name) = entry.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// The directory of the objects, if there is one.
    pub(crate) fn open_objects(&self) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(self.dir(), OBJECTS, flags, Mode::empty()).ok()
    }

    /// Opens an object, whatever is in it.
    ///
    /// # Errors
    /// If there is none.
    pub fn open_object(&self, digest: &Digest) -> rustix::io::Result<File> {
        let path = format!("{OBJECTS}/{}", object_path(digest));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self.dir(), path, flags, Mode::empty())?.into())
    }

    /// Whether an object is there, whatever is in it.
    pub fn has_object(&self, digest: &Digest) -> bool {
        self.open_object(digest).is_ok()
    }

    /// What an object is called in messages.
    pub fn name_object(&self, digest: &Digest) -> String {
        let path = self.objects_path().join(object_path(digest));
        format!("object {}", quote::path(&path))
    }
}

/// What a stream or an image needs, all of which is read.
///
/// # Errors
/// If it is damaged.
pub(crate) fn needs(
    repository: &Repository,
    category: Category,
    digest: &Digest,
) -> Result<HashSet<Digest>> {
    match category {
        Category::Images => image_objects(repository, digest),
        Category::Streams => {
            let file = repository.object(digest)?;
            let mut stream = Reader::open(file, repository.algorithm())?;
            while stream.next_chunk()?.is_some() {}
            let names = stream.names().values().copied();
            Ok(stream.objects().iter().copied().chain(names).collect())
        }
    }
}

/// The objects that an image needs.
///
/// # Errors
/// If it is damaged.
pub(crate) fn image_objects(repository: &Repository, image: &Digest) -> Result<HashSet<Digest>> {
    let algorithm = repository.algorithm();
    let collect = || {
        let image = contents::open_file(repository.object(image)?)?;
        let mut found = HashSet::new();
        contents::visit(&image, &Filter::new(&[])?, false, &mut |entry| {
            let record = entry.record;
            found.extend(
                record
                    .digest
                    .filter(|digest| digest.algorithm() == algorithm),
            );
            let path = record
                .object()
                .and_then(|path| std::str::from_utf8(path).ok());
            found.extend(path.and_then(|path| digest_of_path(path, algorithm)));
            Ok(())
        })?;
        anyhow::Ok(found)
    };
    collect().with_context(|| repository.name_object(image))
}

/// The digest whose object a path leads to: what its last two parts say.
pub(crate) fn digest_of_path(path: &str, algorithm: Algorithm) -> Option<Digest> {
    let mut parts = path.rsplit('/');
    let (tail, head) = (parts.next()?, parts.next()?);
    if head.len() != 2 {
        return None;
    }
    parse_digest(&[head, tail].concat(), algorithm)
}

/// A digest of `algorithm` in hexadecimal, in lower case as it is written.
pub(crate) fn parse_digest(hex: &str, algorithm: Algorithm) -> Option<Digest> {
    let digest = Digest::parse_hex(hex.as_bytes()).ok()?;
    let is_it = digest.algorithm() == algorithm && digest.to_string() == hex;
    is_it.then_some(digest)
}
