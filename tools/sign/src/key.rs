// SPDX-License-Identifier: GPL-2.0-only
//! Private keys. Nothing here puts any of a key into a message.

use std::path::Path;

use anyhow::{anyhow, Context, Result};
use composefs_format::Algorithm;
use der::asn1::ObjectIdentifier;
use der::Decode;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use pkcs8::{pkcs5, EncryptedPrivateKeyInfo, PrivateKeyInfo};
use rand_core::OsRng;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPublicKey};
use rsa::RsaPrivateKey;
use sec1::EcPrivateKey;
use zeroize::Zeroizing;

use crate::hash::Hash;
use crate::oid;
use crate::pem;
use crate::public_key::{Kind, PublicKey};

/// A private key. All kinds wipe their memory when dropped.
pub enum PrivateKey {
    /// RSA.
    Rsa(Box<RsaPrivateKey>),
    /// ECDSA over P-256.
    P256(p256::SecretKey),
    /// ECDSA over P-384.
    P384(p384::SecretKey),
    /// ECDSA over P-521.
    P521(p521::SecretKey),
}

impl PrivateKey {
    /// Reads a key: PKCS#8, encrypted or not, PKCS#1 or SEC 1, in PEM or DER. `passphrase` is
    /// called for that of an encrypted one.
    ///
    /// # Errors
    /// If it is not a key that can be used, or the passphrase is wrong.
    pub fn load(
        path: &Path,
        passphrase: impl FnOnce() -> Result<Zeroizing<String>>,
    ) -> Result<Self> {
        let content = Zeroizing::new(std::fs::read(path)?);
        if !pem::is_pem(&content) {
            return Self::from_der(&content, passphrase);
        }
        let blocks = pem::blocks(&content, |label| label.ends_with("PRIVATE KEY"))?;
        let block = blocks
            .first()
            .ok_or_else(|| anyhow!("there is no private key in it"))?;
        match block.label.as_str() {
            "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {
                Self::from_der(&block.der, passphrase)
            }
            label => Err(anyhow!("a key of the kind '{label}' is not supported")),
        }
    }

    fn from_der(
        der: &[u8],
        passphrase: impl FnOnce() -> Result<Zeroizing<String>>,
    ) -> Result<Self> {
        if let Ok(info) = PrivateKeyInfo::from_der(der) {
            return Self::from_pkcs8(info);
        }
        if let Ok(encrypted) = EncryptedPrivateKeyInfo::from_der(der) {
            return Self::decrypt(&encrypted, &passphrase()?);
        }
        if let Ok(key) = RsaPrivateKey::from_pkcs1_der(der) {
            return Ok(Self::Rsa(Box::new(key)));
        }
        if let Ok(key) = EcPrivateKey::from_der(der) {
            let curve = key.parameters.and_then(|p| p.named_curve());
            return Self::from_scalar(curve, key.private_key);
        }
        Err(anyhow!("it is not a private key"))
    }

    fn from_pkcs8(info: PrivateKeyInfo) -> Result<Self> {
        match info.algorithm.oid {
            oid::RSA => {
                let key = RsaPrivateKey::try_from(info)
                    .map_err(|_| anyhow!("it is not a valid RSA key"))?;
                Ok(Self::Rsa(Box::new(key)))
            }
            oid::EC => {
                let curve = info.algorithm.parameters_oid().ok();
                let key = EcPrivateKey::from_der(info.private_key)
                    .map_err(|_| anyhow!("it is not a valid EC key"))?;
                Self::from_scalar(curve, key.private_key)
            }
            other => Err(anyhow!("a key of the kind {other} is not supported")),
        }
    }

    fn from_scalar(curve: Option<ObjectIdentifier>, scalar: &[u8]) -> Result<Self> {
        let bad = |_| anyhow!("it is not a valid EC key");
        Ok(match curve {
            Some(oid::P256) => Self::P256(p256::SecretKey::from_slice(scalar).map_err(bad)?),
            Some(oid::P384) => Self::P384(p384::SecretKey::from_slice(scalar).map_err(bad)?),
            Some(oid::P521) => Self::P521(p521::SecretKey::from_slice(scalar).map_err(bad)?),
            Some(other) => return Err(anyhow!("the curve {other} is not supported")),
            None => return Err(anyhow!("the key does not name its curve")),
        })
    }

    fn decrypt(encrypted: &EncryptedPrivateKeyInfo, passphrase: &str) -> Result<Self> {
        let document = encrypted
            .decrypt(passphrase.as_bytes())
            .map_err(|error| match error {
                pkcs8::Error::EncryptedPrivateKey(
                    pkcs5::Error::DecryptFailed | pkcs5::Error::EncryptFailed,
                ) => anyhow!("wrong passphrase"),
                error => anyhow!("cannot decrypt it: {error}"),
            })?;
        // A wrong passphrase may by chance seem right until here.
        let info = PrivateKeyInfo::from_der(document.as_bytes())
            .map_err(|_| anyhow!("wrong passphrase"))?;
        Self::from_pkcs8(info)
    }

    /// The public key that goes with it.
    ///
    /// # Errors
    /// None in practice: of writing DER.
    pub fn public_key(&self) -> Result<PublicKey> {
        let (kind, bytes) = match self {
            Self::Rsa(key) => (Kind::Rsa, key.to_public_key().to_pkcs1_der()?.into_vec()),
            Self::P256(key) => {
                let point = p256::EncodedPoint::from(key.public_key());
                (Kind::P256, point.as_bytes().to_vec())
            }
            Self::P384(key) => {
                let point = p384::EncodedPoint::from(key.public_key());
                (Kind::P384, point.as_bytes().to_vec())
            }
            Self::P521(key) => {
                let point = p521::EncodedPoint::from(key.public_key());
                (Kind::P521, point.as_bytes().to_vec())
            }
        };
        Ok(PublicKey { kind, bytes })
    }

    /// The hash function to sign with: of the strength of the curve, or else of the image's.
    pub fn hash(&self, image: Algorithm) -> Hash {
        match (self, image) {
            (Self::Rsa(_), Algorithm::Sha256) | (Self::P256(_), _) => Hash::Sha256,
            (Self::P384(_), _) => Hash::Sha384,
            (Self::Rsa(_), Algorithm::Sha512) | (Self::P521(_), _) => Hash::Sha512,
        }
    }

    /// The algorithm identifier of such signatures: its number, and whether it has a NULL.
    pub fn algorithm(&self) -> (ObjectIdentifier, bool) {
        match self {
            Self::Rsa(_) => (oid::RSA, true),
            Self::P256(_) => (oid::ECDSA_SHA256, false),
            Self::P384(_) => (oid::ECDSA_SHA384, false),
            Self::P521(_) => (oid::ECDSA_SHA512, false),
        }
    }

    /// Signs data, hashed with `hash`.
    ///
    /// # Errors
    /// If the key is too small, or there is no randomness.
    pub fn sign(&self, hash: Hash, digest: &[u8]) -> Result<Vec<u8>> {
        let signed = match self {
            Self::Rsa(key) => key
                .sign_with_rng(&mut OsRng, hash.padding(), digest)
                .map_err(|error| anyhow!("{error}")),
            Self::P256(key) => {
                let key = p256::ecdsa::SigningKey::from(key);
                let signature: Result<p256::ecdsa::DerSignature, _> = key.sign_prehash(digest);
                signature
                    .map(|signature| signature.as_bytes().to_vec())
                    .map_err(|error| anyhow!("{error}"))
            }
            Self::P384(key) => {
                let key = p384::ecdsa::SigningKey::from(key);
                let signature: Result<p384::ecdsa::DerSignature, _> = key.sign_prehash(digest);
                signature
                    .map(|signature| signature.as_bytes().to_vec())
                    .map_err(|error| anyhow!("{error}"))
            }
            Self::P521(key) => p521::ecdsa::SigningKey::from_bytes(&key.to_bytes())
                .and_then(|key| key.sign_prehash(digest))
                .map(|signature: p521::ecdsa::Signature| signature.to_der().as_bytes().to_vec())
                .map_err(|error| anyhow!("{error}")),
        };
        signed.context("cannot sign")
    }
}
