// SPDX-License-Identifier: GPL-2.0-only

//! What the image must prove, and what it has proven.

use crate::{
    digest::{Named, UnknownAlgorithm},
    format::Digest,
    options::Options,
    signature::TrustedKeys,
    vfs::{
        audit,
        context::{errorf, Log},
        error::{EBADMSG, EKEYREJECTED},
        frozen_file::FrozenFile,
        log::pr_err_ratelimited,
        parameters,
    },
    Composefs,
};
use kernel::{fmt, prelude::*, str::CString};

/// What an image was found to be.
pub(crate) struct Provenance {
    /// Its fs-verity digest, if it was checked or is signed.
    pub(crate) digest: Option<Digest>,
    /// Who has signed that, in words.
    pub(crate) signer: Option<CString>,
}

/// Checks that the image `file` is what the options say, and what the policy of the system asks
/// for.
///
/// Once it is found to have a digest, its file system checks all that is ever read from it. The
/// file stays open: it cannot become another one.
///
/// # Errors
///
/// All described in `log`: [`EKEYREJECTED`] if it has to be signed and is not; [`EBADMSG`] if it
/// does not have the digest; those of [`TrustedKeys::check()`].
pub(crate) fn check_image(
    file: &FrozenFile<Composefs>,
    source: &CStr,
    options: &Options,
    keys: &TrustedKeys,
    log: &Log<'_>,
) -> Result<Provenance> {
    let mut found = Provenance {
        digest: None,
        signer: None,
    };
    if options.digest.is_none() && options.signature.is_none() && !parameters::require_signatures()
    {
        return Ok(found);
    }
    let result = found.establish(file, source, options, keys, log);

    if let Some(record) = audit::Record::begin(c"composefs_mount") {
        found.describe(source, &record);
        record.end(result);
    }
    result.map(|()| found)
}

impl Provenance {
    fn establish(
        &mut self,
        file: &FrozenFile<Composefs>,
        source: &CStr,
        options: &Options,
        keys: &TrustedKeys,
        log: &Log<'_>,
    ) -> Result {
        if options.signature.is_none() {
            check_may_be_unsigned(source, log)?;
        }
        let measured = self.digest.insert(measure(file, source, options, log)?);

        if let Some(expected) = options.digest.as_ref().filter(|&digest| digest != measured) {
            errorf!(
                log,
                "{source}: image has the wrong digest: {}, expected {}",
                Named(measured),
                Named(expected),
            );
            return Err(EBADMSG);
        }
        if let Some(signature) = &options.signature {
            self.signer = Some(keys.check(signature, measured, log)?);
        }
        Ok(())
    }

    /// Checks once more that the image may be mounted if it is not signed: what else there is to a
    /// mount may have taken long.
    ///
    /// # Errors
    ///
    /// [`EKEYREJECTED`], described in `log`.
    pub(crate) fn check_policy(&self, source: &CStr, log: &Log<'_>) -> Result {
        match self.signer {
            Some(_) => Ok(()),
            None => check_may_be_unsigned(source, log),
        }
    }

    /// Says in the kernel log who has signed the image.
    pub(crate) fn announce(&self, source: &CStr) {
        if let (Some(digest), Some(signer)) = (&self.digest, &self.signer) {
            pr_info!(
                "{source}: image {} is signed with {}\n",
                Named(digest),
                &**signer
            );
        }
    }

    /// Adds what is known to an audit record, as far as there is memory.
    fn describe(&self, source: &CStr, record: &audit::Record) {
        record.field(c"name", source);
        if let Some(digest) = &self.digest {
            if let Ok(digest) = CString::try_from_fmt(fmt!("{}", Named(digest))) {
                record.field(c"digest", &digest);
            }
        }
        if let Some(signer) = &self.signer {
            record.field(c"signer", signer);
        }
    }
}

fn check_may_be_unsigned(source: &CStr, log: &Log<'_>) -> Result {
    if !parameters::require_signatures() {
        return Ok(());
    }
    errorf!(
        log,
        "{source}: image has no signature=, and require_signatures is set"
    );
    Err(EKEYREJECTED)
}

/// The digest of an image that must have one.
///
/// # Errors
///
/// [`EBADMSG`], described in `log`.
fn measure(
    file: &FrozenFile<Composefs>,
    source: &CStr,
    options: &Options,
    log: &Log<'_>,
) -> Result<Digest> {
    let expected = Expected(options.digest.as_ref());

    match file.verity_digest().map(|digest| Digest::try_from(&digest)) {
        Some(Ok(measured)) => return Ok(measured),
        Some(Err(UnknownAlgorithm(id))) => {
            errorf!(
                log,
                "{source}: image has a digest by unknown algorithm {id}, expected {expected}"
            );
        }
        None => {
            errorf!(
                log,
                "{source}: image has no fs-verity, so no digest, expected {expected}"
            );
        }
    }
    Err(EBADMSG)
}

/// What an image without a digest should have had.
struct Expected<'a>(Option<&'a Digest>);

impl fmt::Display for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(digest) => fmt::Display::fmt(&Named(digest), f),
            None => f.write_str("one that is signed"),
        }
    }
}

/// Whether a mounted image may still be used where only signed ones may: that may be so since it
/// was mounted only.
///
/// # Errors
///
/// [`EKEYREJECTED`], described in the kernel log.
#[inline(never)] // Hardly ever called.
pub(crate) fn check_signed(is_signed: bool, source: &CStr) -> Result {
    if is_signed {
        return Ok(());
    }
    pr_err_ratelimited!("{source}: image is not signed, and require_signatures is set now\n");
    Err(EKEYREJECTED)
}
