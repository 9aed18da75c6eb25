// SPDX-License-Identifier: GPL-2.0-only
//! Making detached PKCS#7 signatures (RFC 5652).

use anyhow::{anyhow, Result};
use composefs_format::{Algorithm, MAX_SIGNATURE_SIZE};
use der::asn1::OctetString;
use der::{Encode, Tag, TagNumber};

use crate::asn1::{algorithm_identifier, context, element};
use crate::certificate::Certificate;
use crate::key::PrivateKey;
use crate::oid;
use crate::pkcs7::Message;

/// Signs `data`, the formatted digest of an image of this algorithm. The signature carries the
/// signer's certificate and those of `chain`, and no attributes.
///
/// # Errors
/// If `key` is not the certificate's, or the kernel would not take the result.
pub fn compose(
    data: &[u8],
    image: Algorithm,
    key: &PrivateKey,
    certificate: &Certificate,
    chain: &[Certificate],
) -> Result<Vec<u8>> {
    if key.public_key()? != certificate.key {
        return Err(anyhow!("the key is not that of the certificate"));
    }
    let hash = key.hash(image);
    let signature = key.sign(hash, &hash.digest(data))?;
    let (key_oid, null) = key.algorithm();
    let digest_algorithm = algorithm_identifier(hash.oid(), false)?;
    let one = 1_u8.to_der()?;
    let signer = element(
        Tag::Sequence,
        &[
            &one,
            &certificate.issuer_and_serial()?,
            &digest_algorithm,
            &algorithm_identifier(key_oid, null)?,
            &OctetString::new(signature)?.to_der()?,
        ],
    )?;
    let signed_data = element(
        Tag::Sequence,
        &[
            &one,
            &element(Tag::Set, &[&digest_algorithm])?,
            &element(Tag::Sequence, &[&oid::DATA.to_der()?])?,
            &certificates(certificate, chain)?,
            &element(Tag::Set, &[&signer])?,
        ],
    )?;
    let content = element(context(TagNumber::N0), &[&signed_data])?;
    let message = element(Tag::Sequence, &[&oid::SIGNED_DATA.to_der()?, &content])?;
    if message.len() > MAX_SIGNATURE_SIZE {
        return Err(anyhow!(
            "the signature would be larger than {MAX_SIGNATURE_SIZE} bytes; give it fewer \
             certificates"
        ));
    }
    Message::parse(&message)?.verify(data, std::slice::from_ref(certificate))?;
    Ok(message)
}

/// The certificates, each once, in the order that DER wants.
fn certificates(signer: &Certificate, chain: &[Certificate]) -> der::Result<Vec<u8>> {
    let mut all: Vec<&[u8]> = std::iter::once(signer)
        .chain(chain)
        .map(|c| &c.der[..])
        .collect();
    all.sort_unstable();
    all.dedup();
    element(context(TagNumber::N0), &all)
}
