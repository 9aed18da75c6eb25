// SPDX-License-Identifier: GPL-2.0-only

//! Mount options: their syntax.

use crate::{
    format::{basedirs, Digest, Verity},
    vfs::{
        buffer::{bytes, c_string, push},
        context::{errorf, Log, Param, Parsed, Value},
        named::{NamedDirectory, NamedFile},
    },
};
use kernel::prelude::*;

/// The most basedirs that a mount may have, as in overlayfs.
const MAX_BASEDIRS: usize = 500;

/// What the mount options of one mount or remount say.
pub(crate) struct Options {
    /// Where objects are, in the order in which they are tried.
    pub(crate) basedirs: KVVec<NamedDirectory>,
    /// What the image must have.
    pub(crate) digest: Option<Digest>,
    /// Whether objects must prove theirs for that.
    pub(crate) asks_for_digest: bool,
    /// The file with the image's signature.
    pub(crate) signature: Option<NamedFile>,
    /// What objects must prove, if it is said.
    pub(crate) verity: Option<Verity>,
}

impl Options {
    pub(crate) fn new() -> Self {
        Self {
            basedirs: KVVec::new(),
            digest: None,
            asks_for_digest: false,
            signature: None,
            verity: None,
        }
    }

    /// Takes one mount option.
    pub(crate) fn parse(&mut self, param: &Param<'_>, log: &Log<'_>) -> Result<Parsed> {
        match (bytes(param.key), &param.value) {
            (b"basedir", Value::String(paths)) => self.add_basedirs(paths, log)?,
            (b"basedir", Value::File(file)) => {
                let directory = NamedDirectory::from_open(file).inspect_err(|error| {
                    errorf!(log, "basedir: cannot be used: {error:?}");
                })?;
                self.add_basedir(directory, log)?;
            }
            (key @ (b"digest" | b"image_digest"), Value::String(text)) => {
                self.set_digest(param.key, text, log)?;
                self.asks_for_digest |= key == b"digest";
            }
            (b"signature", Value::String(path)) => self.set_signature(NamedFile::at(path)?, log)?,
            (b"signature", Value::File(file)) => {
                let file = NamedFile::from_open(file).inspect_err(|error| {
                    errorf!(
                        log,
                        "signature: not a file that is open for reading: {error:?}"
                    );
                })?;
                self.set_signature(file, log)?;
            }
            (b"verity", Value::String(level)) => {
                self.verity = Some(Verity::parse(bytes(level)).ok_or_else(|| {
                    errorf!(log, "verity={level}: is neither off, on nor require");
                    EINVAL
                })?);
            }
            (b"verity" | b"tryverity", Value::Flag) => self.verity = Some(Verity::Require),
            (b"noverity", Value::Flag) => self.verity = Some(Verity::Off),
            (b"verity_check", Value::String(level)) => {
                self.verity = Some(Verity::parse_number(bytes(level)).ok_or_else(|| {
                    errorf!(log, "verity_check={level}: is neither 0, 1 nor 2");
                    EINVAL
                })?);
            }
            (
                b"basedir" | b"digest" | b"image_digest" | b"signature" | b"verity" | b"noverity"
                | b"tryverity" | b"verity_check",
                _,
            ) => {
                errorf!(log, "{}: no value of this kind is taken", param.key);
                return Err(EINVAL);
            }
            _ => return Ok(Parsed::Unknown),
        }
        Ok(Parsed::Taken)
    }

    /// What objects must prove, all options considered; `None` if none of them says so.
    ///
    /// # Errors
    ///
    /// [`EINVAL`], described in `log`, if the options contradict one another.
    pub(crate) fn verity(&self, log: &Log<'_>) -> Result<Option<Verity>> {
        let asks_for_proof = match &self.signature {
            _ if self.asks_for_digest => Some("digest"),
            Some(_) => Some("signature"),
            None => None,
        };
        match (self.verity, asks_for_proof) {
            (Some(level @ (Verity::Off | Verity::On)), Some(option)) => {
                errorf!(
                    log,
                    "verity={} and {option}= contradict each other: a {option} implies verity=require",
                    level.name(),
                );
                Err(EINVAL)
            }
            (_, Some(_)) => Ok(Some(Verity::Require)),
            (level, None) => Ok(level),
        }
    }

    fn set_digest(&mut self, key: &CStr, text: &CStr, log: &Log<'_>) -> Result {
        let digest = Digest::parse_hex(bytes(text)).map_err(|error| {
            errorf!(log, "{key}={text}: {}", error.reason());
            EINVAL
        })?;
        if self.digest.replace(digest).is_some_and(|old| old != digest) {
            errorf!(log, "{key}={text}: another digest was given before");
            return Err(EINVAL);
        }
        Ok(())
    }

    fn set_signature(&mut self, file: NamedFile, log: &Log<'_>) -> Result {
        let name = file.name();
        if name.is_empty() {
            errorf!(log, "signature: the path is empty");
            return Err(EINVAL);
        }
        let is_other = |old: &NamedFile| bytes(old.name()) != bytes(name);
        if self.signature.as_ref().is_some_and(is_other) {
            errorf!(log, "signature={name}: another signature was given before");
            return Err(EINVAL);
        }
        self.signature = Some(file);
        Ok(())
    }

    fn add_basedirs(&mut self, paths: &CStr, log: &Log<'_>) -> Result {
        basedirs::split(bytes(paths))
            .try_for_each(|path| self.add_basedir(NamedDirectory::at(c_string(path.bytes())?), log))
    }

    fn add_basedir(&mut self, basedir: NamedDirectory, log: &Log<'_>) -> Result {
        if basedir.name().is_empty() {
            errorf!(log, "basedir: a path is empty");
            return Err(EINVAL);
        }
        if self.basedirs.len() == MAX_BASEDIRS {
            errorf!(log, "basedir: more than {MAX_BASEDIRS} directories");
            return Err(EINVAL);
        }
        push(&mut self.basedirs, basedir)
    }
}
