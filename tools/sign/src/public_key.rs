// SPDX-License-Identifier: GPL-2.0-only
//! Checking one signature with one public key, as the kernel does (`crypto/rsa.c`,
//! `crypto/rsassa-pkcs1.c`, `crypto/ecdsa.c`).

use der::asn1::ObjectIdentifier;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::traits::PublicKeyParts;
use rsa::RsaPublicKey;

use crate::fault::Fault;
use crate::hash::Hash;
use crate::oid;

/// Sizes in bits that the kernel takes an RSA modulus to have, after rounding up to whole words.
const RSA_BITS: [usize; 6] = [512, 1024, 1536, 2048, 3072, 4096];

/// Kinds of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rsa,
    P256,
    P384,
    P521,
}

impl Kind {
    /// The kind that an algorithm identifier names; `curve` is its parameter.
    pub fn from_oids(algorithm: ObjectIdentifier, curve: Option<ObjectIdentifier>) -> Option<Self> {
        match (algorithm, curve) {
            (oid::RSA, _) => Some(Self::Rsa),
            (oid::EC, Some(oid::P256)) => Some(Self::P256),
            (oid::EC, Some(oid::P384)) => Some(Self::P384),
            (oid::EC, Some(oid::P521)) => Some(Self::P521),
            _ => None,
        }
    }

    /// Size of a coordinate in bytes.
    fn field_size(self) -> usize {
        match self {
            Self::Rsa => 0,
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// What a signature is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// PKCS#1 v1.5.
    Rsa,
    /// Of whatever curve the key has.
    Ecdsa,
}

/// A signature.
#[derive(Clone, Debug)]
pub struct Signature {
    pub scheme: Scheme,
    pub hash: Hash,
    pub bytes: Vec<u8>,
}

/// A public key as a certificate has it: PKCS#1 for RSA, a point for elliptic curves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub kind: Kind,
    pub bytes: Vec<u8>,
}

impl PublicKey {
    /// Checks that `signature` is one of this key over data with this digest.
    ///
    /// # Errors
    /// If it is not, or the kernel would not take the key.
    pub fn verify(&self, signature: &Signature, digest: &[u8]) -> Result<(), Fault> {
        match (self.kind, signature.scheme) {
            (Kind::Rsa, Scheme::Rsa) => self.verify_rsa(signature, digest),
            (Kind::Rsa, _) | (_, Scheme::Rsa) => Err(Fault::rejected(
                "the signature is not of the kind of its signer's key",
            )),
            _ => self.verify_ecdsa(signature, digest),
        }
    }

    fn rsa(&self) -> Result<RsaPublicKey, Fault> {
        let key = RsaPublicKey::from_pkcs1_der(&self.bytes)
            .map_err(|_| Fault::rejected("the RSA public key is not valid"))?;
        let bits = key.n().bits();
        if RSA_BITS.contains(&bits.next_multiple_of(64)) {
            return Ok(key);
        }
        Err(Fault::rejected(format!(
            "the kernel takes no RSA key of {bits} bits"
        )))
    }

    fn verify_rsa(&self, signature: &Signature, digest: &[u8]) -> Result<(), Fault> {
        self.rsa()?
            .verify(signature.hash.padding(), digest, &signature.bytes)
            .map_err(|_| wrong())
    }

    fn uncompressed(&self) -> Result<(), Fault> {
        if self.bytes.first() == Some(&4) {
            return Ok(());
        }
        Err(Fault::rejected(
            "the kernel takes no compressed point as a public key",
        ))
    }

    fn verify_ecdsa(&self, signature: &Signature, digest: &[u8]) -> Result<(), Fault> {
        self.uncompressed()?;
        // A digest is a number; one much shorter than the field is refused unless it is spelled
        // out with leading zeros.
        let mut number = vec![0; self.kind.field_size().saturating_sub(digest.len())];
        number.extend_from_slice(digest);
        let (key, bytes) = (&self.bytes, &signature.bytes);
        let done = match self.kind {
            Kind::P521 => p521::ecdsa::VerifyingKey::from_sec1_bytes(key).and_then(|key| {
                key.verify_prehash(&number, &p521::ecdsa::Signature::from_der(bytes)?)
            }),
            Kind::P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(key).and_then(|key| {
                key.verify_prehash(&number, &p384::ecdsa::Signature::from_der(bytes)?)
            }),
            _ => p256::ecdsa::VerifyingKey::from_sec1_bytes(key).and_then(|key| {
                key.verify_prehash(&number, &p256::ecdsa::Signature::from_der(bytes)?)
            }),
        };
        done.map_err(|_| wrong())
    }
}

fn wrong() -> Fault {
    Fault::rejected("the signature does not match")
}
