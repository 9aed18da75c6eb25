// SPDX-License-Identifier: GPL-2.0-only

//! Mount options: their syntax.

use crate::{
    format::Digest,
    proof::Verity,
    vfs::{
        buffer::{bytes, Buffer},
        context::{errorf, Log, Param, Parsed, Value},
        path::{self, Directory},
    },
};
use kernel::{prelude::*, str::CString};

/// The most basedirs that a mount may have, as in overlayfs.
const MAX_BASEDIRS: usize = 500;

/// For how many of them there is room at first: the kernel zeroes what it gives, and that for the
/// most would be half the cost of a mount.
const FEW_BASEDIRS: usize = 8;

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
                self.set_verity(Verity::parse(bytes(level)).ok_or_else(|| {
                    errorf!(log, "verity={level}: is neither off, on nor require");
                    EINVAL
                })?);
            }
            (b"verity", Value::Flag) => self.set_verity(Verity::Require),
            (b"noverity", Value::Flag) => self.set_verity(Verity::Off),
            (b"tryverity", Value::Flag) => self.verity = None,
            (b"verity_check", Value::String(level)) => {
                self.set_verity(Verity::parse_number(bytes(level)).ok_or_else(|| {
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
        let asks_for_proof = match self {
            Self {
                digest: Some(_), ..
            } => Some("digest"),
            Self {
                signature: Some(_), ..
            } => Some("signature"),
            _ => None,
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

    fn set_verity(&mut self, level: Verity) {
        self.verity = Some(level);
    }

    /// Adds the directories in `paths`, with colons between them. A backslash takes away the
    /// meaning of a colon or backslash that follows.
    fn add_basedirs(&mut self, paths: &CStr, log: &Log<'_>) -> Result {
        let mut rest = Some(bytes(paths));
        while let Some(paths) = rest {
            let name;
            (name, rest) = unescape(paths)?;
            self.add_basedir(name, None, log)?;
        }
        Ok(())
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
        match self.basedirs.len() {
            0 => self.basedirs = KVVec::with_capacity(FEW_BASEDIRS, GFP_KERNEL)?,
            FEW_BASEDIRS => {
                let many = KVVec::with_capacity(MAX_BASEDIRS, GFP_KERNEL)?;
                for few in core::mem::replace(&mut self.basedirs, many) {
                    self.basedirs
                        .push_within_capacity(few)
                        .map_err(|_| ENOMEM)?;
                }
            }
            _ => {}
        }
        self.basedirs
            .push_within_capacity(Basedir { name, directory })
            .map_err(|_| {
                errorf!(log, "basedir: more than {MAX_BASEDIRS} directories");
                EINVAL
            })
    }
}

/// Takes the first path off `paths`, with its escapes undone; also gives the rest behind the colon,
/// if there is one.
fn unescape(paths: &[u8]) -> Result<(CString, Option<&[u8]>)> {
    let mut name = Buffer::zeroed(paths.len().saturating_add(1))?;
    let mut out = name.iter_mut();
    let mut rest = paths;

    let rest = loop {
        let (byte, behind) = match rest {
            [b'\\', byte @ (b':' | b'\\'), behind @ ..] => (*byte, behind),
            [b':', behind @ ..] => break Some(behind),
            [byte, behind @ ..] => (*byte, behind),
            [] => break None,
        };
        if let Some(out) = out.next() {
            *out = byte;
        }
        rest = behind;
    };
    let name = CString::try_from(name.as_c_str().ok_or(EINVAL)?)?;
    Ok((name, rest))
}
