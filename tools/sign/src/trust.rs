// SPDX-License-Identifier: GPL-2.0-only
//! Whether a signature can be trusted, given the certificates of a keyring: the kernel's rules
//! (`crypto/asymmetric_keys/pkcs7_verify.c`, `pkcs7_trust.c`).
//!
//! The kernel's blacklist cannot be seen from here.

use crate::certificate::{same, Certificate};
use crate::fault::Fault;
use crate::pkcs7::{Message, Signer};

/// Who has signed.
#[derive(Debug)]
pub struct Verified<'a> {
    /// The certificate of the key that made the signature.
    pub signer: &'a Certificate,
    /// The trusted certificate that vouches for it, or that is it.
    pub anchor: &'a Certificate,
}

impl Message {
    /// Checks that this is a signature over `data` by somebody whom one of `trusted` vouches for.
    ///
    /// # Errors
    /// If it is not, or the signature of a certificate in it does not hold.
    pub fn verify<'a>(
        &'a self,
        data: &[u8],
        trusted: &'a [Certificate],
    ) -> Result<Verified<'a>, Fault> {
        let signer = &self.signer;
        let digest = signer.digest(data)?;
        let chain = self.chain(signer, &digest)?;
        signer.trust(&digest, &chain, trusted)?.ok_or_else(|| {
            Fault::no_key(format!(
                "no certificate given vouches for the signer: {}",
                signer.name
            ))
        })
    }

    /// The certificates from the signer's upwards, as far as the message has them. All signatures
    /// from `digest` upwards are checked.
    fn chain(&self, signer: &Signer, digest: &[u8]) -> Result<Vec<&Certificate>, Fault> {
        let find = |id: &[u8]| self.certificates.iter().find(|c| c.id() == id);
        let Some(mut last) = find(&signer.id) else {
            return Ok(Vec::new());
        };
        if let Some(time) = signer.attributes.as_ref().and_then(|a| a.signing_time) {
            if time < last.not_before || time > last.not_after {
                return Err(Fault::rejected(format!(
                    "signed when the certificate of {last} was not valid"
                )));
            }
        }
        last.key.verify(&signer.signature, digest)?;
        let mut chain = vec![last];
        while !last.self_signed {
            let issuer = match (&last.authority, &last.authority_key_id) {
                (Some(id), key_id) => match find(id) {
                    Some(issuer) if key_id.is_some() && !same(&issuer.subject_key_id, key_id) => {
                        return Err(Fault::rejected(format!("{last} names two issuers")));
                    }
                    issuer => issuer,
                },
                (None, Some(_)) => {
                    let holds = |c: &&Certificate| same(&c.subject_key_id, &last.authority_key_id);
                    self.certificates.iter().find(holds)
                }
                (None, None) => None,
            };
            let Some(issuer) = issuer else { break };
            if chain.iter().any(|seen| std::ptr::eq(*seen, issuer)) {
                break;
            }
            last.verify_with(&issuer.key)?;
            chain.push(issuer);
            last = issuer;
        }
        Ok(chain)
    }
}

impl Signer {
    /// What the signature is over, hashed.
    fn digest(&self, data: &[u8]) -> Result<Vec<u8>, Fault> {
        let hash = self.signature.hash;
        let digest = hash.digest(data);
        match &self.attributes {
            None => Ok(digest),
            Some(attributes) if attributes.message_digest == digest => {
                Ok(hash.digest(&attributes.der))
            }
            Some(_) => Err(Fault::rejected("the signature is over another digest")),
        }
    }

    /// Who of `trusted` vouches for this signature, and for whom.
    fn trust<'a>(
        &self,
        digest: &[u8],
        chain: &[&'a Certificate],
        trusted: &'a [Certificate],
    ) -> Result<Option<Verified<'a>>, Fault> {
        let mut below: Option<&Certificate> = None;
        // A signature found in the message was checked there; the trusted certificate may be
        // another of the same name.
        let check = |below: Option<&Certificate>, anchor: &Certificate| match below {
            Some(certificate) => certificate.verify_with(&anchor.key),
            None => anchor.key.verify(&self.signature, digest),
        };
        for certificate in chain {
            let id = certificate.id();
            // A misfit is no match here, and the search goes on.
            if let Ok(Some(anchor)) = find(trusted, Some(&id), &certificate.subject_key_id) {
                check(below, anchor)?;
                let signer = below.map_or(anchor, |_| chain[0]);
                return Ok(Some(Verified { signer, anchor }));
            }
            if certificate.self_signed {
                return Ok(None);
            }
            below = Some(certificate);
        }
        if let Some(top) = below {
            let anchor = find(trusted, top.authority.as_deref(), &top.authority_key_id)?;
            if let Some(anchor) = anchor {
                check(below, anchor)?;
                let signer = chain[0];
                return Ok(Some(Verified { signer, anchor }));
            }
        }
        let anchor = find(trusted, Some(&self.id), &None)?;
        let Some(anchor) = anchor else {
            return Ok(None);
        };
        check(None, anchor)?;
        Ok(Some(Verified {
            signer: anchor,
            anchor,
        }))
    }
}

/// The certificate that has `id` as its serial number and issuer or as its key identifier, and
/// `key_id`, if given, as the latter; without `id`, `key_id` alone counts.
///
/// # Errors
/// If one has the first and not the second.
fn find<'a>(
    trusted: &'a [Certificate],
    id: Option<&[u8]>,
    key_id: &Option<Vec<u8>>,
) -> Result<Option<&'a Certificate>, Fault> {
    let Some(want) = id.or(key_id.as_deref()) else {
        return Ok(None);
    };
    let has = |c: &&Certificate| c.id() == want || c.subject_key_id.as_deref() == Some(want);
    match trusted.iter().find(has) {
        Some(found) if id.is_some() && key_id.is_some() && found.subject_key_id != *key_id => {
            Err(Fault::rejected(format!(
                "{found} has the name that is looked for, but another key identifier"
            )))
        }
        found => Ok(found),
    }
}
