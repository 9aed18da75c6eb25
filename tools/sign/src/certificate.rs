// SPDX-License-Identifier: GPL-2.0-only
//! X.509 certificates, as far as the kernel looks into them
//! (`crypto/asymmetric_keys/x509_cert_parser.c`, `x509_public_key.c`).

use std::fmt;
use std::path::Path;

use anyhow::anyhow;
use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier, OctetStringRef, UtcTime};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};

use crate::asn1::{algorithm, all, context, open, optional, sequence, whole};
use crate::fault::Fault;
use crate::hash::Hash;
use crate::oid;
use crate::pem;
use crate::public_key::{Kind, PublicKey, Scheme, Signature};

/// Seconds since 1970.
pub type Time = u64;

/// A certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// All of it.
    pub der: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    /// Distinguished names, without the outermost tag and length.
    pub(crate) issuer: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    /// When it begins to be valid.
    pub not_before: Time,
    /// Until when it is valid.
    pub not_after: Time,
    pub(crate) key: PublicKey,
    pub(crate) subject_key_id: Option<Vec<u8>>,
    /// Serial number and issuer of the issuer's certificate.
    pub(crate) authority: Option<Vec<u8>>,
    pub(crate) authority_key_id: Option<Vec<u8>>,
    pub(crate) self_signed: bool,
    /// There is a keyUsage extension, and it does not have digitalSignature. The kernel does not
    /// look at this when it checks a signature.
    pub no_signatures: bool,
    signature: Signature,
    digest: Vec<u8>,
}

impl Certificate {
    /// Reads the certificates in a file: PEM, of which there may be several, or DER.
    ///
    /// # Errors
    /// If there is none, or the kernel would not take it.
    pub fn load(path: &Path) -> Result<Vec<Self>, anyhow::Error> {
        let content = std::fs::read(path)?;
        if !pem::is_pem(&content) {
            return Ok(vec![Self::parse(&content)?]);
        }
        let blocks = pem::blocks(&content, |label| label == "CERTIFICATE")?;
        if blocks.is_empty() {
            return Err(anyhow!("there is no certificate in it"));
        }
        let parsed = blocks.iter().map(|block| Self::parse(&block.der));
        Ok(parsed.collect::<Result<_, Fault>>()?)
    }

    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// If the kernel would refuse it.
    pub fn parse(der: &[u8]) -> Result<Self, Fault> {
        let mut parts = open(AnyRef::from_der(der)?, Tag::Sequence)?;
        let tbs = AnyRef::decode(&mut parts)?;
        let (signature_oid, _) = algorithm(&mut parts)?;
        let signature = BitStringRef::decode(&mut parts)?;
        let (scheme, hash) = signature_algorithm(signature_oid).ok_or_else(|| {
            Fault::unsupported(format!("certificate with a signature of {signature_oid}"))
        })?;
        let signature = Signature {
            scheme,
            hash,
            bytes: whole_bytes(signature)?.to_vec(),
        };
        parts.finish(())?;
        let mut certificate = Self::read(der, tbs, signature_oid, signature)?;
        certificate.check_self_signed()?;
        Ok(certificate)
    }

    fn read(
        der: &[u8],
        tbs: AnyRef,
        outer: ObjectIdentifier,
        signature: Signature,
    ) -> Result<Self, Fault> {
        let mut parts = open(tbs, Tag::Sequence)?;
        optional(&mut parts, context(TagNumber::N0))?;
        let serial = AnyRef::decode(&mut parts)?;
        serial.tag().assert_eq(Tag::Integer)?;
        let (inner, _) = algorithm(&mut parts)?;
        if inner != outer {
            return Err(Fault::malformed(
                "a certificate names two signature algorithms",
            ));
        }
        let issuer = name(&mut parts)?;
        let mut validity = sequence(&mut parts)?;
        let not_before = time(AnyRef::decode(&mut validity)?)?;
        let not_after = time(AnyRef::decode(&mut validity)?)?;
        validity.finish(())?;
        let subject = name(&mut parts)?;
        let key = public_key(&mut parts)?;
        for number in [TagNumber::N1, TagNumber::N2] {
            let tag = Tag::ContextSpecific {
                constructed: false,
                number,
            };
            optional(&mut parts, tag)?;
        }
        let extensions = optional(&mut parts, context(TagNumber::N3))?;
        let mut certificate = parts.finish(Self {
            der: der.to_vec(),
            serial: serial.value().to_vec(),
            issuer,
            subject,
            not_before,
            not_after,
            key,
            subject_key_id: None,
            authority: None,
            authority_key_id: None,
            self_signed: false,
            no_signatures: false,
            digest: signature.hash.digest(&whole(tbs)?),
            signature,
        })?;
        if let Some(extensions) = extensions {
            let mut list = SliceReader::new(extensions.value())?;
            let elements = all(sequence(&mut list)?)?;
            list.finish(())?;
            for element in elements {
                certificate.extension(element)?;
            }
        }
        Ok(certificate)
    }

    fn extension(&mut self, element: AnyRef) -> Result<(), Fault> {
        let mut parts = open(element, Tag::Sequence)?;
        let oid = ObjectIdentifier::decode(&mut parts)?;
        optional(&mut parts, Tag::Boolean)?;
        let value = OctetStringRef::decode(&mut parts)?.as_bytes();
        parts.finish(())?;
        match oid {
            oid::SUBJECT_KEY_ID => {
                if self.subject_key_id.is_some() {
                    return Err(Fault::malformed("a certificate has two key identifiers"));
                }
                self.subject_key_id = Some(OctetStringRef::from_der(value)?.as_bytes().to_vec());
            }
            oid::KEY_USAGE => {
                let bits = BitStringRef::from_der(value)?;
                let first = bits.raw_bytes().first().copied().unwrap_or(0);
                self.no_signatures = first & 0x80 == 0;
            }
            oid::BASIC_CONSTRAINTS => basic_constraints(value)?,
            oid::AUTHORITY_KEY_ID => self.authority_key_id(value)?,
            _ => {}
        }
        Ok(())
    }

    fn authority_key_id(&mut self, value: &[u8]) -> Result<(), Fault> {
        let primitive = |number| Tag::ContextSpecific {
            constructed: false,
            number,
        };
        let mut parts = open(AnyRef::from_der(value)?, Tag::Sequence)?;
        if let Some(id) = optional(&mut parts, primitive(TagNumber::N0))? {
            self.authority_key_id = Some(id.value().to_vec());
        }
        let mut issuer = None;
        if let Some(names) = optional(&mut parts, context(TagNumber::N1))? {
            for general in all(SliceReader::new(names.value())?)? {
                if general.tag() == context(TagNumber::N4) {
                    issuer = Some(name(&mut SliceReader::new(general.value())?)?);
                }
            }
        }
        let serial = optional(&mut parts, primitive(TagNumber::N2))?;
        if let (Some(serial), Some(issuer)) = (serial, issuer) {
            self.authority = Some([serial.value(), &issuer].concat());
        }
        Ok(parts.finish(())?)
    }

    /// A certificate that says it is its own issuer must be.
    fn check_self_signed(&mut self) -> Result<(), Fault> {
        if self.subject != self.issuer {
            return Ok(());
        }
        if self.authority.is_some() || self.authority_key_id.is_some() {
            let key_id = same(&self.subject_key_id, &self.authority_key_id);
            let serial = self.authority.as_ref() == Some(&self.id());
            if !key_id && !serial {
                return Ok(());
            }
            let both = self.authority.is_some() && self.authority_key_id.is_some();
            if both && key_id != serial {
                return Err(Fault::rejected(format!("{self} names two issuers")));
            }
        }
        self.verify_with(&self.key)?;
        self.self_signed = true;
        Ok(())
    }

    /// What a signature names its signer by: serial number and issuer.
    pub fn id(&self) -> Vec<u8> {
        [&self.serial[..], &self.issuer].concat()
    }

    /// Checks that the certificate was signed with this key.
    ///
    /// # Errors
    /// If it was not.
    pub fn verify_with(&self, key: &PublicKey) -> Result<(), Fault> {
        key.verify(&self.signature, &self.digest)
            .map_err(|fault| fault.of(self))
    }

    /// Issuer and serial number, in DER, as a signature has them.
    ///
    /// # Errors
    /// None in practice: of writing DER.
    pub fn issuer_and_serial(&self) -> der::Result<Vec<u8>> {
        let name = super::asn1::element(Tag::Sequence, &[&self.issuer])?;
        let serial = super::asn1::element(Tag::Integer, &[&self.serial])?;
        super::asn1::element(Tag::Sequence, &[&name, &serial])
    }
}

/// The subject and the key identifier, on one line.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, id) = match &self.subject_key_id {
            Some(id) => ("key", id),
            None => ("serial", &self.serial),
        };
        write!(f, "{} ({kind} ", super::name::display(&self.subject))?;
        id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Whether both are there and the same.
pub fn same(one: &Option<Vec<u8>>, other: &Option<Vec<u8>>) -> bool {
    one.is_some() && one == other
}

fn name(reader: &mut SliceReader) -> Result<Vec<u8>, Fault> {
    let name = AnyRef::decode(reader)?;
    name.tag().assert_eq(Tag::Sequence)?;
    // It is only compared, but has to be one.
    super::name::parts(name.value())?;
    Ok(name.value().to_vec())
}

/// A time as the kernel reads it (`x509_decode_time`).
pub fn time(any: AnyRef) -> Result<Time, Fault> {
    let time = match any.tag() {
        Tag::UtcTime => UtcTime::try_from(any)?.to_unix_duration(),
        Tag::GeneralizedTime => {
            let time = GeneralizedTime::try_from(any)?.to_date_time();
            if (1950..=2049).contains(&time.year()) {
                return Err(Fault::malformed("a year before 2050 in the long form"));
            }
            time.unix_duration()
        }
        _ => return Err(Fault::malformed("a time of an unknown type")),
    };
    Ok(time.as_secs())
}

fn whole_bytes(bits: BitStringRef<'_>) -> Result<&[u8], Fault> {
    bits.as_bytes()
        .ok_or_else(|| Fault::malformed("a certificate with a fraction of a byte"))
}

fn public_key(reader: &mut SliceReader) -> Result<PublicKey, Fault> {
    let mut parts = sequence(reader)?;
    let (oid, parameters) = algorithm(&mut parts)?;
    let curve = match parameters {
        Some(any) if oid == oid::EC => Some(ObjectIdentifier::try_from(any)?),
        _ => None,
    };
    let kind = Kind::from_oids(oid, curve).ok_or_else(|| {
        let what = curve.unwrap_or(oid);
        Fault::unsupported(format!("certificate with a key of {what}"))
    })?;
    let bits = BitStringRef::decode(&mut parts)?;
    let bytes = whole_bytes(bits)?.to_vec();
    Ok(parts.finish(PublicKey { kind, bytes })?)
}

/// The kernel wants this extension empty, or to begin with a CA that is true.
fn basic_constraints(value: &[u8]) -> Result<(), Fault> {
    let parts = open(AnyRef::from_der(value)?, Tag::Sequence)?;
    match all(parts)?.first() {
        None => Ok(()),
        Some(first) if first.tag() == Tag::Boolean && first.value() == [0xff] => Ok(()),
        Some(_) => Err(Fault::malformed(
            "a certificate with basic constraints that the kernel does not take",
        )),
    }
}

fn signature_algorithm(oid: ObjectIdentifier) -> Option<(Scheme, Hash)> {
    Some(match oid {
        oid::RSA_SHA1 => (Scheme::Rsa, Hash::Sha1),
        oid::RSA_SHA224 => (Scheme::Rsa, Hash::Sha224),
        oid::RSA_SHA256 => (Scheme::Rsa, Hash::Sha256),
        oid::RSA_SHA384 => (Scheme::Rsa, Hash::Sha384),
        oid::RSA_SHA512 => (Scheme::Rsa, Hash::Sha512),
        oid::RSA_SHA3_256 => (Scheme::Rsa, Hash::Sha3_256),
        oid::RSA_SHA3_384 => (Scheme::Rsa, Hash::Sha3_384),
        oid::RSA_SHA3_512 => (Scheme::Rsa, Hash::Sha3_512),
        oid::ECDSA_SHA1 => (Scheme::Ecdsa, Hash::Sha1),
        oid::ECDSA_SHA224 => (Scheme::Ecdsa, Hash::Sha224),
        oid::ECDSA_SHA256 => (Scheme::Ecdsa, Hash::Sha256),
        oid::ECDSA_SHA384 => (Scheme::Ecdsa, Hash::Sha384),
        oid::ECDSA_SHA512 => (Scheme::Ecdsa, Hash::Sha512),
        oid::ECDSA_SHA3_256 => (Scheme::Ecdsa, Hash::Sha3_256),
        oid::ECDSA_SHA3_384 => (Scheme::Ecdsa, Hash::Sha3_384),
        oid::ECDSA_SHA3_512 => (Scheme::Ecdsa, Hash::Sha3_512),
        _ => return None,
    })
}
