// SPDX-License-Identifier: GPL-2.0-only
//! Object identifiers, from RFC 3279, 4055, 5280, 5480, 5652, 5758, 8702 and NIST's registry.

use der::asn1::ObjectIdentifier;

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

pub const SIGNED_DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.2");
pub const DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.1");

pub const CONTENT_TYPE: ObjectIdentifier = oid("1.2.840.113549.1.9.3");
pub const MESSAGE_DIGEST: ObjectIdentifier = oid("1.2.840.113549.1.9.4");
pub const SIGNING_TIME: ObjectIdentifier = oid("1.2.840.113549.1.9.5");
pub const SMIME_CAPABILITIES: ObjectIdentifier = oid("1.2.840.113549.1.9.15");
/// Microsoft's, known from Authenticode.
pub const MS_STATEMENT_TYPE: ObjectIdentifier = oid("1.3.6.1.4.1.311.2.1.11");
pub const MS_OPUS_INFO: ObjectIdentifier = oid("1.3.6.1.4.1.311.2.1.12");

pub const SHA1: ObjectIdentifier = oid("1.3.14.3.2.26");
pub const SHA224: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.4");
pub const SHA256: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.1");
pub const SHA384: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.2");
pub const SHA512: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.3");
pub const SHA3_256: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.8");
pub const SHA3_384: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.9");
pub const SHA3_512: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.10");

pub const RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
pub const RSA_SHA1: ObjectIdentifier = oid("1.2.840.113549.1.1.5");
pub const RSA_SHA256: ObjectIdentifier = oid("1.2.840.113549.1.1.11");
pub const RSA_SHA384: ObjectIdentifier = oid("1.2.840.113549.1.1.12");
pub const RSA_SHA512: ObjectIdentifier = oid("1.2.840.113549.1.1.13");
pub const RSA_SHA224: ObjectIdentifier = oid("1.2.840.113549.1.1.14");
pub const RSA_SHA3_256: ObjectIdentifier = oid("2.16.840.1.101.3.4.3.14");
pub const RSA_SHA3_384: ObjectIdentifier = oid("2.16.840.1.101.3.4.3.15");
pub const RSA_SHA3_512: ObjectIdentifier = oid("2.16.840.1.101.3.4.3.16");

pub const EC: ObjectIdentifier = oid("1.2.840.10045.2.1");
pub const P256: ObjectIdentifier = oid("1.2.840.10045.3.1.7");
pub const P384: ObjectIdentifier = oid("1.3.132.0.34");
pub const P521: ObjectIdentifier = oid("1.3.132.0.35");
pub const ECDSA_SHA1: ObjectIdentifier = oid("1.2.840.10045.4.1");
pub const ECDSA_SHA224: ObjectIdentifier = oid("1.2.840.10045.4.3.1");
pub const ECDSA_SHA256: ObjectIdentifier = oid("1.2.840.10045.4.3.2");
pub const ECDSA_SHA384: ObjectIdentifier = oid("1.2.840.10045.4.3.3");
pub const ECDSA_SHA512: ObjectIdentifier = oid("1.2.840.10045.4.3.4");
pub const ECDSA_SHA3_256: ObjectIdentifier = oid("2.16.840.1.101.3.4.3.10");
pub const ECDSA_SHA3_384: ObjectIdentifier = oid("2.16.840.1.101.3.4.3.11");
pub const ECDSA_SHA3_512: ObjectIdentifier = oid("2.16.840.1.101.3.4.3.12");

pub const SUBJECT_KEY_ID: ObjectIdentifier = oid("2.5.29.14");
pub const KEY_USAGE: ObjectIdentifier = oid("2.5.29.15");
pub const BASIC_CONSTRAINTS: ObjectIdentifier = oid("2.5.29.19");
pub const AUTHORITY_KEY_ID: ObjectIdentifier = oid("2.5.29.35");
