// SPDX-License-Identifier: GPL-2.0-only

//! What the image must prove, and what it has proven.

use crate::{
    digest::{self, Mismatch, Named},
    format::Digest,
    options::Options,
    policy,
    signature::TrustedKeys,
    vfs::{
        audit,
        context::{errorf, Log},
        error::EBADMSG,
        readable_file::ReadableFile,
    },
    Composefs,
};
use kernel::{prelude::*, str::CString};

/// What an image was found to be.
pub(crate) struct Provenance {
    /// Its fs-verity digest, if it has one.
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
/// All described in `log`: `EKEYREJECTED` if it has to be signed and is not; [`EBADMSG`] if it does
/// not have the digest; those of [`TrustedKeys::check()`].
pub(crate) fn check_image(
    file: &ReadableFile<Composefs>,
    source: &CStr,
    options: &mut Options,
    keys: &TrustedKeys,
    log: &Log<'_>,
) -> Result<Provenance> {
    let measured = digest::of(file.verity_digest());
    let mut found = Provenance {
        digest: measured.ok(),
        signer: None,
    };
    if options.digest.is_none() && options.signature.is_none() && !policy::requires_signatures() {
        return Ok(found);
    }
    let result = found.establish(measured, source, options, keys, log);

    if let Some(record) = audit::Record::begin(c"composefs_mount") {
        found.describe(source, &record);
        record.end(result);
    }
    result.map(|()| found)
}

impl Provenance {
    fn establish(
        &mut self,
        measured: Result<Digest, Mismatch>,
        source: &CStr,
        options: &mut Options,
        keys: &TrustedKeys,
        log: &Log<'_>,
    ) -> Result {
        if options.signature.is_none() {
            policy::check_may_mount_unsigned(source, log)?;
        }
        let checked = match &options.digest {
            Some(expected) => digest::check(measured, expected).map(|()| *expected),
            None => measured,
        };
        let checked = checked.map_err(|mismatch| {
            match &options.digest {
                Some(expected) => errorf!(
                    log,
                    "{source}: image {mismatch}, expected {}",
                    Named(expected)
                ),
                None => errorf!(
                    log,
                    "{source}: image {mismatch}, expected one that is signed"
                ),
            }
            EBADMSG
        })?;
        if let Some(signature) = &mut options.signature {
            self.signer = Some(keys.check(signature, &checked, log)?);
        }
        Ok(())
    }

    /// Checks once more that the image may be mounted if it is not signed: what else there is to a
    /// mount may have taken long.
    ///
    /// # Errors
    ///
    /// Those of [`policy::check_may_mount_unsigned()`].
    pub(crate) fn check_policy(&self, source: &CStr, log: &Log<'_>) -> Result {
        match self.signer {
            Some(_) => Ok(()),
            None => policy::check_may_mount_unsigned(source, log),
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
