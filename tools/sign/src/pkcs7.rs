// SPDX-License-Identifier: GPL-2.0-only
//! Detached PKCS#7 signatures (RFC 5652), read as the kernel reads them
//! (`crypto/asymmetric_keys/pkcs7_parser.c`), except that they must be DER, and nothing else.

use composefs_format::MAX_SIGNATURE_SIZE;
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};

use crate::asn1::{algorithm, all, context, element, open, optional, sequence, whole};
use crate::certificate::{time, Certificate, Time};
use crate::fault::Fault;
use crate::hash::Hash;
use crate::oid;
use crate::public_key::{Scheme, Signature};

/// A signature file.
#[derive(Debug)]
pub struct Message {
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) signer: Signer,
}

/// The signature in it. The driver wants one.
#[derive(Debug)]
pub struct Signer {
    /// The certificate's serial number and issuer, or its key identifier.
    pub id: Vec<u8>,
    /// `id` for people to read.
    pub name: String,
    pub signature: Signature,
    pub attributes: Option<Attributes>,
}

/// What is signed along with the data.
#[derive(Debug)]
pub struct Attributes {
    /// What the signature is over then.
    pub der: Vec<u8>,
    pub message_digest: Vec<u8>,
    pub signing_time: Option<Time>,
}

impl Message {
    /// Reads a signature.
    ///
    /// # Errors
    /// If the kernel or the driver would not.
    pub fn parse(der: &[u8]) -> Result<Self, Fault> {
        if der.is_empty() {
            return Err(Fault::malformed("the file is empty"));
        }
        if der.len() > MAX_SIGNATURE_SIZE {
            return Err(Fault::malformed(format!(
                "the file is larger than {MAX_SIGNATURE_SIZE} bytes"
            )));
        }
        let mut outer = open(AnyRef::from_der(der)?, Tag::Sequence)?;
        if ObjectIdentifier::decode(&mut outer)? != oid::SIGNED_DATA {
            return Err(Fault::malformed("PKCS#7, but not a signature"));
        }
        let content = optional(&mut outer, context(TagNumber::N0))?
            .ok_or_else(|| Fault::malformed("there is nothing in it"))?;
        let mut content = outer.finish(SliceReader::new(content.value())?)?;
        let data = sequence(&mut content)?;
        content.finish(())?;
        Self::signed_data(data)
    }

    fn signed_data(mut data: SliceReader) -> Result<Self, Fault> {
        let version = u8::decode(&mut data)?;
        if version != 1 && version != 3 {
            return Err(Fault::malformed(format!("unknown version {version}")));
        }
        for any in all(open(AnyRef::decode(&mut data)?, Tag::Set)?)? {
            algorithm(&mut SliceReader::new(&whole(any)?)?)?;
        }
        let mut content = sequence(&mut data)?;
        if ObjectIdentifier::decode(&mut content)? != oid::DATA {
            return Err(Fault::rejected("what is signed is not plain data"));
        }
        if !content.is_finished() {
            return Err(Fault::malformed("not detached from what is signed"));
        }
        let mut certificates = Vec::new();
        if let Some(set) = optional(&mut data, context(TagNumber::N0))? {
            for any in all(SliceReader::new(set.value())?)? {
                let parsed = Certificate::parse(&whole(any)?);
                certificates.push(parsed.map_err(|fault| fault.within("its certificates"))?);
            }
        }
        optional(&mut data, context(TagNumber::N1))?;
        let mut signers = Vec::new();
        for any in all(open(AnyRef::decode(&mut data)?, Tag::Set)?)? {
            signers.push(Signer::parse(open(any, Tag::Sequence)?, version)?);
        }
        data.finish(())?;
        let mut signers = signers.into_iter();
        let (Some(signer), None) = (signers.next(), signers.next()) else {
            return Err(Fault::malformed("it does not have exactly one signer"));
        };
        Ok(Self {
            certificates,
            signer,
        })
    }
}

impl Signer {
    fn parse(mut parts: SliceReader, message: u8) -> Result<Self, Fault> {
        let version = u8::decode(&mut parts)?;
        if version != message {
            return Err(Fault::malformed("versions do not go together"));
        }
        let (id, name) = match version {
            1 => issuer_and_serial(sequence(&mut parts)?)?,
            _ => key_id(AnyRef::decode(&mut parts)?)?,
        };
        let (digest_oid, _) = algorithm(&mut parts)?;
        let hash = Hash::from_oid(digest_oid)
            .ok_or_else(|| Fault::unsupported(format!("hash algorithm {digest_oid}")))?;
        let attributes = optional(&mut parts, context(TagNumber::N0))?
            .map(Attributes::parse)
            .transpose()?;
        let (key_oid, _) = algorithm(&mut parts)?;
        let scheme = scheme(key_oid)
            .ok_or_else(|| Fault::unsupported(format!("signature algorithm {key_oid}")))?;
        let bytes = OctetStringRef::decode(&mut parts)?.as_bytes().to_vec();
        optional(&mut parts, context(TagNumber::N1))?;
        Ok(parts.finish(Self {
            id,
            name,
            signature: Signature {
                scheme,
                hash,
                bytes,
            },
            attributes,
        })?)
    }
}

fn issuer_and_serial(mut parts: SliceReader) -> Result<(Vec<u8>, String), Fault> {
    let issuer = AnyRef::decode(&mut parts)?;
    issuer.tag().assert_eq(Tag::Sequence)?;
    let serial = AnyRef::decode(&mut parts)?;
    serial.tag().assert_eq(Tag::Integer)?;
    let name = format!(
        "serial number {}, issuer {}",
        hex(serial.value()),
        super::name::display(issuer.value())
    );
    Ok(parts.finish(([serial.value(), issuer.value()].concat(), name))?)
}

fn key_id(any: AnyRef) -> Result<(Vec<u8>, String), Fault> {
    any.tag().assert_eq(Tag::ContextSpecific {
        constructed: false,
        number: TagNumber::N0,
    })?;
    let name = format!("key identifier {}", hex(any.value()));
    Ok((any.value().to_vec(), name))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn scheme(oid: ObjectIdentifier) -> Option<Scheme> {
    match oid {
        oid::RSA => Some(Scheme::Rsa),
        oid::ECDSA_SHA1
        | oid::ECDSA_SHA224
        | oid::ECDSA_SHA256
        | oid::ECDSA_SHA384
        | oid::ECDSA_SHA512
        | oid::ECDSA_SHA3_256
        | oid::ECDSA_SHA3_384
        | oid::ECDSA_SHA3_512 => Some(Scheme::Ecdsa),
        _ => None,
    }
}

impl Attributes {
    fn parse(set: AnyRef) -> Result<Self, Fault> {
        let (mut content_type, mut message_digest, mut signing_time) = (None, None, None);
        for attribute in all(SliceReader::new(set.value())?)? {
            let mut parts = open(attribute, Tag::Sequence)?;
            let oid = ObjectIdentifier::decode(&mut parts)?;
            let values = all(open(AnyRef::decode(&mut parts)?, Tag::Set)?)?;
            parts.finish(())?;
            let slot = match oid {
                oid::CONTENT_TYPE => &mut content_type,
                oid::MESSAGE_DIGEST => &mut message_digest,
                oid::SIGNING_TIME => &mut signing_time,
                oid::SMIME_CAPABILITIES | oid::MS_OPUS_INFO | oid::MS_STATEMENT_TYPE => {
                    return Err(Fault::rejected(
                        "it has an attribute that the kernel does not take (S/MIME \
                         capabilities, or Authenticode's)",
                    ));
                }
                _ => continue,
            };
            for value in values {
                if slot.replace(value).is_some() {
                    return Err(Fault::rejected("an attribute is there twice"));
                }
            }
        }
        let missing = || Fault::malformed("its attributes lack content type or message digest");
        let content_type = content_type.ok_or_else(missing)?;
        if content_type.decode_as::<ObjectIdentifier>()? != oid::DATA {
            return Err(Fault::malformed("its attributes are of other content"));
        }
        let message_digest = message_digest.ok_or_else(missing)?;
        message_digest.tag().assert_eq(Tag::OctetString)?;
        Ok(Self {
            der: element(Tag::Set, &[set.value()])?,
            message_digest: message_digest.value().to_vec(),
            signing_time: signing_time.map(time).transpose()?,
        })
    }
}
