// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Who has signed, according to signatures that OpenSSL has made (see `tests/signatures/README.md`).

use std::fs;

use composefs_format::{Algorithm, Digest, FormattedDigest, Signer};

fn signature(name: &str) -> Vec<u8> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/signatures");
    fs::read(format!("{dir}/{name}.p7s")).unwrap()
}

/// The signer as it is shown, or why there is none.
fn signer(message: &[u8]) -> String {
    match Signer::of(message) {
        Ok(signer) => signer.to_string(),
        Err(error) => {
            assert_eq!(error.to_string(), error.reason());
            error.reason().into()
        }
    }
}

#[test]
fn what_is_signed_is_the_kernels_formatted_digest() {
    let digest = Digest::from_bytes(Algorithm::Sha256, &[0xab; 32]).unwrap();
    let mut expected = b"FSVerity\x01\0\x20\0".to_vec();
    expected.extend([0xab; 32]);
    assert_eq!(FormattedDigest::new(&digest).as_bytes(), expected);

    let digest = Digest::from_bytes(Algorithm::Sha512, &[0xcd; 64]).unwrap();
    let mut expected = b"FSVerity\x02\0\x40\0".to_vec();
    expected.extend([0xcd; 64]);
    assert_eq!(FormattedDigest::new(&digest).as_bytes(), expected);
}

#[test]
fn what_is_signed_of_an_image_begins_as_nothing_else_does() {
    for digest in [
        Digest::from_bytes(Algorithm::Sha256, &[0xab; 32]).unwrap(),
        Digest::from_bytes(Algorithm::Sha512, &[0xcd; 64]).unwrap(),
    ] {
        let mut expected = b"composefs-image\0".to_vec();
        expected.extend(FormattedDigest::new(&digest).as_bytes());
        assert_eq!(FormattedDigest::of_image(&digest).as_bytes(), expected);
    }
}

#[test]
fn signers_are_named() {
    for (name, expected) in [
        ("plain", r#"certificate 1f8a by "Example signer""#),
        ("attributes", r#"certificate 1f8a by "Example signer""#),
        ("chain", r#"certificate 80 by "Example signer""#),
        (
            "key-identifier",
            "key 3658010f196b4c23ee42f21b048cf3b8b8648b23",
        ),
        (
            "organization",
            r#"certificate 07 by "Only an ?organization?, Ltd""#,
        ),
    ] {
        assert_eq!(signer(&signature(name)), expected, "{name}");
    }
}

#[test]
fn other_messages_are_refused() {
    assert_eq!(signer(b""), "signature is empty");
    for (name, expected) in [
        ("two-signers", "signature has more than one signer"),
        ("no-signer", "signature has no signer"),
        (
            "not-signed-data",
            "signature is not a PKCS#7 message in DER",
        ),
        ("indefinite", "signature is not a PKCS#7 message in DER"),
    ] {
        assert_eq!(signer(&signature(name)), expected, "{name}");
    }
}

#[test]
fn trailing_bytes_are_refused() {
    for name in ["plain", "attributes", "chain"] {
        for tail in [&b"\0"[..], b"\0\0", b"garbage", &signature("plain")] {
            let mut message = signature(name);
            message.extend(tail);
            assert_eq!(signer(&message), "signature has trailing bytes", "{name}");
        }
    }
}

#[test]
fn truncated_messages_are_refused() {
    for name in ["plain", "attributes", "chain", "key-identifier"] {
        let message = signature(name);
        for len in 0..message.len() {
            assert!(Signer::of(&message[..len]).is_err(), "{name}, {len} bytes");
        }
    }
}

/// A DER element of a kind, made of others; of less than 128 bytes.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [&[tag, content.len().try_into().unwrap()], &*content].concat()
}

/// A message without certificates: the number of the signer's, and what stands behind the last
/// element of `SignedData`, of what it is in, and of that.
fn message(serial: &[u8], behind: [&[u8]; 3]) -> Vec<u8> {
    const VERSION: &[u8] = &[2, 1, 1];
    const SIGNED_DATA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 7, 2];

    let (none, empty) = (element(0x31, &[]), element(0x30, &[]));
    let certificate = element(0x30, &[&empty, &element(2, &[serial])]);
    let signer = element(0x30, &[VERSION, &certificate]);
    let signers = element(0x31, &[&signer]);
    let signed = element(0x30, &[VERSION, &none, &empty, &signers, behind[0]]);
    let content = element(0xa0, &[&signed, behind[1]]);
    element(0x30, &[SIGNED_DATA, &content, behind[2]])
}

#[test]
fn numbers_are_shown_without_what_makes_them_positive() {
    for (serial, shown) in [
        (&[1][..], "01"),
        (&[0], "00"),
        (&[0, 0x80], "80"),
        (&[0x7f, 0], "7f00"),
    ] {
        let message = message(serial, [b""; 3]);
        assert_eq!(signer(&message), format!("certificate {shown} by \"?\""));
    }
}

#[test]
fn nothing_stands_behind_the_signers() {
    const NULL: &[u8] = &[5, 0];

    for at in 0..3 {
        let mut behind = [&b""[..]; 3];
        behind[at] = NULL;
        assert_eq!(
            signer(&message(&[1], behind)),
            "signature is not a PKCS#7 message in DER"
        );
    }
}

/// Whatever the bytes, there is an answer; and what frames the signer cannot be changed unnoticed.
#[test]
fn changed_bytes_are_refused_or_change_little() {
    for name in ["plain", "attributes", "chain", "key-identifier"] {
        let message = signature(name);
        for at in 0..message.len() {
            for bit in 0..8 {
                let mut changed = message.clone();
                changed[at] ^= 1 << bit;
                if let Ok(signer) = Signer::of(&changed) {
                    let shown = signer.to_string();
                    assert!(shown.is_ascii() && shown.len() < 160, "{shown}");
                }
                // The tags and lengths of what the message is made of.
                if at < 3 {
                    assert!(Signer::of(&changed).is_err(), "{name}, bit {bit} of {at}");
                }
            }
        }
    }
}

#[test]
fn lengths_have_one_encoding() {
    // SEQUENCE { } with its length in more bytes than it takes.
    for message in [
        &[0x30, 0x81, 0x00][..],
        &[0x30, 0x82, 0x00, 0x00],
        &[0x30, 0x83, 0, 0, 0],
        &[0x30, 0x80, 0, 0],
    ] {
        assert_eq!(signer(message), "signature is not a PKCS#7 message in DER");
    }
    // A longer length than there are bytes.
    for message in [
        &[0x30, 0x01][..],
        &[0x30, 0x82, 0xff, 0xff],
        &[0x30, 0x82, 0x01, 0x00],
    ] {
        assert_eq!(signer(message), "signature is not a PKCS#7 message in DER");
    }
}
