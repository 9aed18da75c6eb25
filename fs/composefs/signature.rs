// SPDX-License-Identifier: GPL-2.0-only

//! Signatures of images: whose are trusted, and whether an image has one.

use crate::{
    digest::Named,
    format::{Digest, FormattedDigest, Signer, MAX_SIGNATURE_SIZE},
    parameters,
    vfs::{
        context::{errorf, Log},
        error::{EBADMSG, EKEYEXPIRED, EKEYREJECTED, EKEYREVOKED, ENOKEY, ENOPKG},
        keyring::Keyring,
        named::NamedFile,
        whole_file::WholeFile,
    },
};
use kernel::{fmt, prelude::*, str::CString};

/// The keyring whose certificates vouch for images.
pub(crate) const KEYRING: &CStr = c".composefs";

/// The keys that are trusted, on all mounts.
pub(crate) struct TrustedKeys(Keyring);

impl TrustedKeys {
    /// No keys at first: an administrator adds certificates to the keyring.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Keyring::new(KEYRING)?))
    }

    /// Checks that `file` is a signature of the image with `digest` by one of them.
    /// Returns who the signer is, in words.
    ///
    /// # Errors
    ///
    /// All described in `log`: those of reading the file; [`EBADMSG`] if it is no signature, or a
    /// damaged one; [`ENOKEY`] if it is by a key that is unknown, revoked or expired;
    /// [`EKEYREJECTED`] if it is one of something else, or by an algorithm that the kernel lacks.
    pub(crate) fn check(
        &self,
        file: &mut NamedFile,
        digest: &Digest,
        log: &Log<'_>,
    ) -> Result<CString> {
        let signature = WholeFile::read(file, MAX_SIGNATURE_SIZE);
        let path = file.name();
        let signature = signature.map_err(|error| match error {
            EFBIG => {
                errorf!(
                    log,
                    "{path}: is no signature: more than {MAX_SIGNATURE_SIZE} bytes"
                );
                EBADMSG
            }
            EINVAL => {
                errorf!(log, "{path}: signature is not a regular file");
                EINVAL
            }
            error => {
                errorf!(log, "{path}: signature cannot be read: {error:?}");
                error
            }
        })?;
        let signer = Signer::of(&signature).map_err(|error| {
            errorf!(log, "{path}: {}", error.reason());
            EBADMSG
        })?;
        self.verify(digest, &signature)
            .map_err(|refusal| refusal.describe(path, &signer, digest, log))?;

        CString::try_from_fmt(fmt!("{}", Shown(&signer)))
    }

    /// Checks that `signature` is one of an image with `digest`, or of a file with it if that is
    /// enough.
    fn verify(&self, digest: &Digest, signature: &[u8]) -> Result<(), Refusal> {
        let of_file = || self.verify_bytes(&FormattedDigest::new(digest), signature);
        let of_image = || self.verify_bytes(&FormattedDigest::of_image(digest), signature);

        if parameters::image_signatures_only.is_on() {
            of_image().map_err(|error| match of_file() {
                Ok(()) => Refusal::OfFile,
                Err(_) => Refusal::Invalid(error),
            })
        } else {
            of_file().or_else(|error| of_image().map_err(|_| Refusal::Invalid(error)))
        }
    }

    fn verify_bytes(&self, signed: &FormattedDigest, signature: &[u8]) -> Result {
        // Without keys the answer is known, and the kernel's parsers need not see the message.
        let own = if self.0.is_empty() {
            Err(ENOKEY)
        } else {
            self.0.verify(signed.as_bytes(), signature)
        };
        // A key in the keyring that is no good any more stands for itself in some kinds of message;
        // in others it is passed over.
        let own = own.map_err(|error| match error {
            EKEYEXPIRED | EKEYREVOKED => ENOKEY,
            error => error,
        });
        match own {
            Err(ENOKEY) if parameters::trust_system_keys.is_on() => {
                Keyring::verify_by_system(signed.as_bytes(), signature)
            }
            own => own,
        }
    }
}

/// Why a signature is not accepted.
enum Refusal {
    /// It is good, but of a file.
    OfFile,
    /// The kernel's error.
    Invalid(Error),
}

impl Refusal {
    /// Describes it; gives the error of the mount.
    fn describe(self, path: &CStr, signer: &Signer<'_>, digest: &Digest, log: &Log<'_>) -> Error {
        let signer = Shown(signer);
        match self {
            Self::OfFile => {
                errorf!(
                    log,
                    "{path}: is a signature of a file, not of an image, and image_signatures_only is set"
                );
                EKEYREJECTED
            }
            Self::Invalid(ENOKEY) => {
                errorf!(
                    log,
                    "{path}: signed with {signer}, which is not trusted: no such key in keyring {KEYRING}"
                );
                ENOKEY
            }
            // The parser's EINVAL would be taken for one about the options.
            Self::Invalid(EBADMSG | EINVAL | EMSGSIZE) => {
                errorf!(
                    log,
                    "{path}: is damaged, or no signature that the kernel understands"
                );
                EBADMSG
            }
            Self::Invalid(ENOPKG) => {
                errorf!(
                    log,
                    "{path}: signed with {signer}, by an algorithm that the kernel lacks"
                );
                EKEYREJECTED
            }
            Self::Invalid(error @ (ENOMEM | EINTR | ERESTARTSYS)) => error,
            Self::Invalid(_) => {
                errorf!(
                    log,
                    "{path}: is no valid signature of {} with {signer}",
                    Named(digest)
                );
                EKEYREJECTED
            }
        }
    }
}

/// A signer as the kernel's own formatting wants it.
struct Shown<'a>(&'a Signer<'a>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::fmt::Display::fmt(self.0, f)
    }
}
