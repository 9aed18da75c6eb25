// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Detached signatures of images: what is signed, and who says so.
//!
//! A signature is a PKCS#7 message (`SignedData` of RFC 2315, or of RFC 5652 with version 1) in
//! DER, without content. Its cryptography is left to the kernel or to a library. What is here sees
//! to it that a message has one signer, who can be named, and nothing behind its end:
//! `asn1_ber_decoder()` in the kernel does not ask for either.

use core::fmt;

use super::{bytes::copy, digest::hex_digit, Digest};

/// Size of the largest signature that is read, in bytes: `asn1_ber_decoder()` in the kernel takes
/// no larger message. One with a chain of three RSA certificates has some 5,000.
pub const MAX_SIGNATURE_SIZE: usize = 65_535;

/// What a signature signs: the kernel's `struct fsverity_formatted_digest`, alone or as one of an
/// image.
pub struct FormattedDigest {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl FormattedDigest {
    const MAGIC: &[u8; 8] = b"FSVerity";
    const IMAGE: &[u8; 16] = b"composefs-image\0";
    const MAX: usize = Self::IMAGE.len() + Self::MAGIC.len() + 4 + 64;

    /// What says that a file has this fs-verity digest. It is signed for images, and for files of
    /// any kind.
    pub fn new(digest: &Digest) -> Self {
        Self::with_prefix(&[], digest)
    }

    /// What says that an image has this fs-verity digest. Nothing else that is signed begins like
    /// this.
    pub fn of_image(digest: &Digest) -> Self {
        Self::with_prefix(Self::IMAGE, digest)
    }

    fn with_prefix(prefix: &[u8], digest: &Digest) -> Self {
        let mut bytes = [0; Self::MAX];
        let algorithm = u16::from(digest.algorithm().id()).to_le_bytes();
        // At most 64.
        let size = (digest.as_bytes().len() as u16).to_le_bytes();

        let parts = [prefix, Self::MAGIC, &algorithm, &size, digest.as_bytes()];
        let mut len = 0_usize;
        for part in parts {
            let room = bytes.get_mut(len..).unwrap_or_default();
            len = len.saturating_add(copy(room, part));
        }
        Self { bytes, len }
    }

    /// Its bytes: 44 or 76, or 16 more of an image.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Who a signature says has made it. It is shown as `certificate 1f8a by "Example"` or `key 1f8a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer<'a> {
    /// The owner of the certificate with this number by this issuer.
    Certificate {
        /// The bytes of the number, the highest first.
        serial: &'a [u8],
        /// The name of the issuer as a DER `Name`, less its own tag and length.
        issuer: &'a [u8],
    },
    /// The owner of the key with this identifier.
    Key {
        /// The bytes of the identifier.
        identifier: &'a [u8],
    },
}

/// Tags of DER elements.
mod tag {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const SET: u8 = 0x31;
    /// `[0] IMPLICIT` of a primitive type.
    pub(super) const PRIMITIVE_0: u8 = 0x80;
    /// `[0]` and `[1]` of a constructed type.
    pub(super) const CONSTRUCTED_0: u8 = 0xa0;
    pub(super) const CONSTRUCTED_1: u8 = 0xa1;
}

/// `pkcs7-signedData`, 1.2.840.113549.1.7.2.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// `commonName`, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// `organizationName`, 2.5.4.10.
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// Why a signature was refused; see [`reason`](Self::reason).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedSignature(&'static str);

impl MalformedSignature {
    /// What is wrong, such as "signature has trailing bytes".
    pub fn reason(&self) -> &'static str {
        self.0
    }
}

impl fmt::Display for MalformedSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for MalformedSignature {}

impl<'a> Signer<'a> {
    /// The one signer of the signature `message`, whose cryptography is not looked at.
    ///
    /// # Errors
    ///
    /// [`MalformedSignature`] unless `message` is one PKCS#7 `SignedData` in DER with one signer,
    /// and nothing else, in no more than [`MAX_SIGNATURE_SIZE`] bytes.
    pub fn of(message: &'a [u8]) -> Result<Self, MalformedSignature> {
        const NOT_PKCS7: MalformedSignature =
            MalformedSignature("signature is not a PKCS#7 message in DER");

        if message.is_empty() {
            return Err(MalformedSignature("signature is empty"));
        }
        let mut file = Der(message);
        let mut content_info = file.constructed(tag::SEQUENCE).ok_or(NOT_PKCS7)?;
        if !file.is_empty() {
            return Err(MalformedSignature("signature has trailing bytes"));
        }
        let mut signers = signer_infos(&mut content_info).ok_or(NOT_PKCS7)?;
        if signers.is_empty() {
            return Err(MalformedSignature("signature has no signer"));
        }
        let mut signer = signers.constructed(tag::SEQUENCE).ok_or(NOT_PKCS7)?;
        if !signers.is_empty() {
            return Err(MalformedSignature("signature has more than one signer"));
        }
        Self::from_info(&mut signer).ok_or(NOT_PKCS7)
    }

    /// From the content of a `SignerInfo`.
    fn from_info(info: &mut Der<'a>) -> Option<Self> {
        let _version = info.primitive(tag::INTEGER)?;

        if let Some(identifier) = info.primitive(tag::PRIMITIVE_0) {
            return Some(Self::Key { identifier });
        }
        let mut name = info.constructed(tag::SEQUENCE)?;
        let issuer = name.constructed(tag::SEQUENCE)?.0;
        let serial = name.primitive(tag::INTEGER)?;
        name.is_empty()
            .then_some(Self::Certificate { serial, issuer })
    }
}

/// The `signerInfos` in a `ContentInfo`; nothing may stand behind them.
fn signer_infos<'a>(content_info: &mut Der<'a>) -> Option<Der<'a>> {
    if content_info.primitive(tag::OBJECT_IDENTIFIER)? != SIGNED_DATA {
        return None;
    }
    let mut content = content_info.constructed(tag::CONSTRUCTED_0)?;
    let mut signed_data = content.constructed(tag::SEQUENCE)?;

    let _version = signed_data.primitive(tag::INTEGER)?;
    let _digest_algorithms = signed_data.constructed(tag::SET)?;
    let _signed_content = signed_data.constructed(tag::SEQUENCE)?;
    let _certificates = signed_data.constructed(tag::CONSTRUCTED_0);
    let _revocations = signed_data.constructed(tag::CONSTRUCTED_1);
    let signers = signed_data.constructed(tag::SET)?;

    (signed_data.is_empty() && content.is_empty() && content_info.is_empty()).then_some(signers)
}

/// A value of an issuer's name: the common name, or else the organization.
fn readable_name(issuer: &[u8]) -> Option<&[u8]> {
    let mut organization = None;
    let mut parts = Der(issuer);
    while let Some(mut part) = parts.constructed(tag::SET) {
        let mut attribute = part.constructed(tag::SEQUENCE)?;
        let kind = attribute.primitive(tag::OBJECT_IDENTIFIER)?;
        let (_, text) = attribute.element()?;
        match kind {
            COMMON_NAME => return Some(text),
            ORGANIZATION => organization = Some(text),
            _ => {}
        }
    }
    organization
}

impl fmt::Display for Signer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Enough of a name to know it by.
        const NAME: usize = 64;

        let write_hex = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| {
            // Numbers in certificates have at most 20 bytes, and identifiers mostly that.
            for (byte, _) in bytes.iter().zip(0..32) {
                fmt::Write::write_char(f, hex_digit(byte >> 4))?;
                fmt::Write::write_char(f, hex_digit(byte & 0xf))?;
            }
            Ok(())
        };
        match self {
            Self::Certificate { serial, issuer } => {
                f.write_str("certificate ")?;
                // A zero keeps a number that begins with a one bit from being negative.
                let serial = match serial {
                    [0, rest @ ..] if !rest.is_empty() => rest,
                    serial => serial,
                };
                write_hex(f, serial)?;
                f.write_str(" by \"")?;
                for (&byte, _) in readable_name(issuer).unwrap_or(b"?").iter().zip(0..NAME) {
                    // Whatever may be in a name, the line in the log stays one, and the name in its
                    // quotes.
                    let is_plain = matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
                    fmt::Write::write_char(f, if is_plain { char::from(byte) } else { '?' })?;
                }
                f.write_str("\"")
            }
            Self::Key { identifier } => {
                f.write_str("key ")?;
                write_hex(f, identifier)
            }
        }
    }
}

/// DER elements one after another.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the next element: its tag and its content. Tags have one byte, lengths at most three, as
    /// short as they can be: no more than what [`MAX_SIGNATURE_SIZE`] permits.
    fn element(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match (first, rest) {
            (..=0x7f, rest) => (usize::from(first), rest),
            (0x81, &[a @ 0x80..=0xff, ref rest @ ..]) => (usize::from(a), rest),
            (0x82, &[a @ 1..=0xff, b, ref rest @ ..]) => {
                (usize::from(u16::from_be_bytes([a, b])), rest)
            }
            _ => return None,
        };
        let content = rest.get(..len)?;
        self.0 = rest.get(len..)?;
        Some((tag, content))
    }

    /// Takes the next element if it has this tag.
    fn primitive(&mut self, wanted: u8) -> Option<&'a [u8]> {
        if *self.0.first()? != wanted {
            return None;
        }
        self.element().map(|(_, content)| content)
    }

    /// Takes the next element if it has this tag, to take elements from it.
    fn constructed(&mut self, wanted: u8) -> Option<Self> {
        self.primitive(wanted).map(Self)
    }
}
