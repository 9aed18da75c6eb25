// SPDX-License-Identifier: GPL-2.0-only

//! What `/proc/mounts` shows of a mount, which a remount may repeat.

use crate::{
    digest::Named,
    format::Digest,
    options::{Basedir, Options},
    proof::Verity,
    vfs::{
        buffer::{bytes, Buffer},
        context::{errorf, Log},
        superblock::show_option,
    },
};
use kernel::{prelude::*, seq_file::SeqFile, str::CString};

/// What `/proc/mounts` shows; a remount with these options changes nothing.
pub(crate) struct Shown {
    basedir: Option<CString>,
    digest: Option<Digest>,
    signature: Option<CString>,
}

impl Shown {
    /// What is shown of `options` if the image was found to have `digest`.
    pub(crate) fn new(options: &mut Options, digest: Option<&Digest>) -> Result<Self> {
        Ok(Self {
            basedir: join(&options.basedirs)?,
            digest: digest.copied(),
            signature: options.signature.take(),
        })
    }

    /// Shows them, and the level in force.
    pub(crate) fn write(&self, verity: Verity, seq: &SeqFile) -> Result {
        if let Some(basedir) = &self.basedir {
            show_option(seq, c"basedir", basedir);
        }
        if let Some(digest) = &self.digest {
            let digest = CString::try_from_fmt(fmt!("{}", Named(digest)))?;
            show_option(seq, c"digest", &digest);
        }
        if let Some(signature) = &self.signature {
            show_option(seq, c"signature", signature);
        }
        show_option(seq, c"verity", verity.name());
        Ok(())
    }

    /// Checks that a remount with `options` has the same image and store.
    pub(crate) fn check_unchanged(&self, options: &mut Options, log: &Log<'_>) -> Result {
        let digest = options.digest;
        let new = Self::new(options, digest.as_ref())?;
        let unchanged = |old: &Option<CString>, new: &Option<CString>| match (old, new) {
            (Some(old), Some(new)) => bytes(old) == bytes(new),
            (None, Some(_)) => false,
            (_, None) => true,
        };
        for (name, same) in [
            ("basedir", unchanged(&self.basedir, &new.basedir)),
            ("digest", new.digest.is_none() || new.digest == self.digest),
            ("signature", unchanged(&self.signature, &new.signature)),
        ] {
            if !same {
                errorf!(log, "{name}: cannot be changed while mounted");
                return Err(EINVAL);
            }
        }
        Ok(())
    }
}

/// The names of the basedirs as one value of the mount option.
fn join(basedirs: &[Basedir]) -> Result<Option<CString>> {
    if basedirs.is_empty() {
        return Ok(None);
    }
    let mut len = 0_usize;
    escaped(basedirs, |_| len = len.saturating_add(1));

    // One more for the NUL.
    let mut joined = Buffer::zeroed(len.saturating_add(1))?;
    let mut out = joined.iter_mut();
    escaped(basedirs, |byte| {
        if let Some(out) = out.next() {
            *out = byte;
        }
    });
    Ok(Some(CString::try_from(joined.as_c_str().ok_or(EINVAL)?)?))
}

/// Calls `emit` for each byte of the value of the mount option.
fn escaped(basedirs: &[Basedir], mut emit: impl FnMut(u8)) {
    let mut is_first = true;
    for basedir in basedirs {
        if !is_first {
            emit(b':');
        }
        is_first = false;
        for &byte in bytes(&basedir.name) {
            if matches!(byte, b':' | b'\\') {
                emit(b'\\');
            }
            emit(byte);
        }
    }
}
