// SPDX-License-Identifier: GPL-2.0-only

//! Mount options: their syntax.

use crate::{
    format::{basedirs, Digest, Verity},
    vfs::{
        buffer::{bytes, c_string, push},
        context::{errorf, Log, Param, Parsed, Value},
        path::{self, Directory},
    },
};
use kernel::{prelude::*, str::CString};

/// The most basedirs that a mount may have, as in overlayfs.
const MAX_BASEDIRS: usize = 500;

/// What the mount options of one mount or remount say.
pub(crate) struct Options {
    /// Where objects are, in the order in which they are tried.
    pub(crate) basedirs: KVVec<Basedir>,
    /// What the image must have.
    pub(crate) digest: Option<Digest>,
    /// The file with the image's signature.
    pub(crate) signature: Option<CString>,
    /// What objects must prove, if it is said.
    pub(crate) verity: Option<Verity>,
}

/// A directory of objects.
pub(crate) struct Basedir {
    /// How it is shown.
    pub(crate) name: CString,
    /// The directory, if it was given as an open file.
    pub(crate) directory: Option<Directory>,
}

impl Options {
    pub(crate) fn new() -> Self {
        Self {
            basedirs: KVVec::new(),
            digest: None,
            signature: None,
            verity: None,
        }
    }

    /// Takes one mount option.
    pub(crate) fn parse(&mut self, param: &Param<'_>, log: &Log<'_>) -> Result<Parsed> {
        match (bytes(param.key), &param.value) {
            (b"basedir", Value::String(paths)) => self.add_basedirs(paths, log)?,
            (b"basedir", Value::File(file)) => {
                let name = path::shown(file).inspect_err(|error| {
                    errorf!(log, "basedir: has no path that can be shown: {error:?}");
                })?;
                let directory = Directory::from_file(file).inspect_err(|error| {
                    errorf!(log, "basedir {}: cannot be used: {error:?}", &*name);
                })?;
                self.add_basedir(name, Some(directory), log)?;
            }
            (b"digest", Value::String(text)) => self.set_digest(text, log)?,
            (b"signature", Value::String(path)) => self.set_signature(path, log)?,
            (b"verity", Value::String(level)) => {
                self.verity = Some(Verity::parse(bytes(level)).ok_or_else(|| {
                    errorf!(log, "verity={level}: is neither off, on nor require");
                    EINVAL
                })?);
            }
            (b"verity", Value::Flag) => self.verity = Some(Verity::Require),
            (b"noverity", Value::Flag) => self.verity = Some(Verity::Off),
            (b"tryverity", Value::Flag) => self.verity = None,
            (b"verity_check", Value::String(level)) => {
                self.verity = Some(Verity::parse_number(bytes(level)).ok_or_else(|| {
                    errorf!(log, "verity_check={level}: is neither 0, 1 nor 2");
                    EINVAL
                })?);
            }
            (
                b"basedir" | b"digest" | b"signature" | b"verity" | b"noverity" | b"tryverity"
                | b"verity_check",
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
        let asks_for_proof = match (&self.digest, &self.signature) {
            (Some(_), _) => Some("digest"),
            (_, Some(_)) => Some("signature"),
            (None, None) => None,
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

    fn set_digest(&mut self, text: &CStr, log: &Log<'_>) -> Result {
        let digest = Digest::parse_hex(bytes(text)).map_err(|error| {
            errorf!(log, "digest={text}: {}", error.reason());
            EINVAL
        })?;
        if self.digest.replace(digest).is_some_and(|old| old != digest) {
            errorf!(log, "digest={text}: another digest was given before");
            return Err(EINVAL);
        }
        Ok(())
    }

    fn set_signature(&mut self, path: &CStr, log: &Log<'_>) -> Result {
        if path.is_empty() {
            errorf!(log, "signature: the path is empty");
            return Err(EINVAL);
        }
        let old = self.signature.replace(CString::try_from(path)?);
        if old.is_some_and(|old| bytes(&old) != bytes(path)) {
            errorf!(log, "signature={path}: another signature was given before");
            return Err(EINVAL);
        }
        Ok(())
    }

    fn add_basedirs(&mut self, paths: &CStr, log: &Log<'_>) -> Result {
        basedirs::split(bytes(paths))
            .try_for_each(|path| self.add_basedir(c_string(path.bytes())?, None, log))
    }

    fn add_basedir(
        &mut self,
        name: CString,
        directory: Option<Directory>,
        log: &Log<'_>,
    ) -> Result {
        if name.is_empty() {
            errorf!(log, "basedir: a path is empty");
            return Err(EINVAL);
        }
        if self.basedirs.len() == MAX_BASEDIRS {
            errorf!(log, "basedir: more than {MAX_BASEDIRS} directories");
            return Err(EINVAL);
        }
        push(&mut self.basedirs, Basedir { name, directory })
    }
}
