// SPDX-License-Identifier: GPL-2.0-only

//! What `/proc/mounts` shows of a mount, which a remount may repeat.

use crate::{
    digest::Named,
    format::{basedirs, Digest, Verity},
    options::Options,
    vfs::{
        buffer::{bytes, c_string},
        context::{errorf, Log},
        superblock::show_option,
    },
};
use kernel::{prelude::*, seq_file::SeqFile, str::CString};

/// What `/proc/mounts` shows; a remount with these options changes nothing.
pub(crate) struct Shown {
    basedir: Option<CString>,
    digest: Option<Digest>,
    /// Whether that was asked for, or is only what the image has.
    asks_for_digest: bool,
    signature: Option<CString>,
}

impl Shown {
    /// What is shown of `options` if the image was found to have `digest`.
    pub(crate) fn new(options: &mut Options, digest: Option<&Digest>) -> Result<Self> {
        let paths = options.basedirs.iter().map(|basedir| bytes(basedir.name()));
        let basedir = (!options.basedirs.is_empty()).then(|| c_string(basedirs::join(paths)));

        Ok(Self {
            basedir: basedir.transpose()?,
            digest: digest.copied(),
            asks_for_digest: options.asks_for_digest || options.signature.is_some(),
            signature: options.signature.take().map(CString::from),
        })
    }

    /// Shows them, and the level in force.
    pub(crate) fn write(&self, verity: Verity, seq: &SeqFile) -> Result {
        if let Some(basedir) = &self.basedir {
            show_option(seq, c"basedir", basedir);
        }
        if let Some(digest) = &self.digest {
            let digest = CString::try_from_fmt(fmt!("{}", Named(digest)))?;
            let key = match self.asks_for_digest {
                true => c"digest",
                false => c"image_digest",
            };
            show_option(seq, key, &digest);
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
        let same_digest = new.digest.is_none()
            || new.digest == self.digest && new.asks_for_digest <= self.asks_for_digest;
        for (name, same) in [
            ("basedir", unchanged(&self.basedir, &new.basedir)),
            ("digest", same_digest),
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
