// SPDX-License-Identifier: GPL-2.0-only
//! Signatures of images: detached PKCS#7 over the fs-verity digest, in the form in which the
//! kernel has digests signed. Made here, and checked by the kernel's rules.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod asn1;
mod certificate;
mod compose;
mod fault;
mod hash;
mod key;
mod name;
mod oid;
mod pem;
mod pkcs7;
mod prompt;
mod public_key;
mod trust;

pub use certificate::{Certificate, Time};
pub use compose::compose;
pub use fault::Fault;
pub use key::PrivateKey;
pub use pkcs7::Message;
pub use prompt::passphrase;
pub use trust::Verified;
