// SPDX-License-Identifier: GPL-2.0-only
//! What is no signature, or not one of this image.

use crate::common;
use crate::pki::{Pki, KINDS};

const VERIFY: &str = "verify image --signature image.sig --cert";

#[test]
fn damaged_files() {
    let pki = Pki::new("damaged");
    pki.certificate("rsa", KINDS[0].1, "");
    pki.good("sign image --key rsa.key --cert rsa.crt");
    let good = pki.read("image.sig");
    let with = |content: &[u8]| {
        pki.write("image.sig", content);
        pki.bad(&format!("{VERIFY} rsa.crt"))
    };
    assert!(with(b"").contains("malformed: the file is empty"));
    assert!(with(&[&good[..], b"\n"].concat()).contains("malformed: "));
    assert!(with(&[&good[..], &good].concat()).contains("malformed: "));
    assert!(with(&vec![0x30; 65536]).contains("larger than 65535 bytes"));
    for len in [1, 2, 3, 4, good.len() / 2, good.len() - 1] {
        assert!(with(&good[..len]).contains("malformed: "), "{len}");
    }
    assert!(with(b"-----BEGIN PKCS7-----\n").contains("malformed: "));
    assert!(with(&pki.read("rsa.crt")).contains("malformed: "));
    for at in 1..=common::few(256) as usize {
        let mut damaged = good.clone();
        let len = damaged.len();
        damaged[len - at] ^= 1 << (at % 8);
        assert!(with(&damaged).contains("rejected: "), "{at} from the end");
    }
}

#[test]
fn not_of_this_image() {
    let pki = Pki::new("other");
    pki.certificate("p256", KINDS[1].1, "");
    pki.image("other");
    pki.good("sign image other --key p256.key --cert p256.crt");
    pki.good("verify other --signature other.sig --cert p256.crt");
    let said = pki.bad("verify image --signature other.sig --cert p256.crt");
    let want = "'other.sig' does not vouch for 'image': rejected: the signature does not match";
    assert!(said.contains(want), "{said}");
    let mut changed = pki.read("image");
    for at in [0, 31, 1024, changed.len() - 1] {
        changed[at] ^= 1;
        pki.write("image", &changed);
        assert!(pki
            .bad(&format!("{VERIFY} p256.crt"))
            .contains("rejected: "));
        changed[at] ^= 1;
    }
    pki.write("image", &changed);
    pki.good(&format!("{VERIFY} p256.crt"));
}

/// What others may make, and the kernel does not take.
#[test]
fn other_kinds() {
    let pki = Pki::new("other-kinds");
    pki.certificate("rsa", KINDS[0].1, "");
    pki.formatted_digest("image", "");
    for (options, said) in [
        ("-noattr -nodetach", "malformed: not detached"),
        (
            "-noattr -keyopt rsa_padding_mode:pss",
            "not supported: signature algorithm 1.2.840.",
        ),
        ("-noattr -md md5", "not supported: hash algorithm 1.2.840."),
        ("", "S/MIME"),
        (
            "-noattr -econtent_type 1.3.6.1.5.5.7.12.2",
            "not plain data",
        ),
    ] {
        pki.openssl(&format!(
            "cms -sign -binary -in data -outform DER -out image.sig -signer rsa.crt \
             -inkey rsa.key {options}"
        ));
        let found = pki.bad(&format!("{VERIFY} rsa.crt"));
        assert!(found.contains(said), "{options}: {found}");
    }
    pki.openssl("cms -encrypt -binary -in data -outform DER -out image.sig -recip rsa.crt -aes128");
    assert!(pki
        .bad(&format!("{VERIFY} rsa.crt"))
        .contains("malformed: "));

    pki.openssl("req -x509 -newkey ed25519 -nodes -keyout ed.key -out ed.crt -subj /CN=ed");
    let said = pki.bad("sign image --key ed.key --cert ed.crt");
    assert!(
        said.contains("'ed.crt'") && said.contains("not supported"),
        "{said}"
    );
    let said = pki.bad("sign image --key ed.key --cert rsa.crt");
    assert!(
        said.contains("'ed.key'") && said.contains("not supported"),
        "{said}"
    );
    pki.openssl("req -x509 -newkey rsa:2304 -nodes -keyout odd.key -out odd.crt -subj /CN=odd");
    let said = pki.bad("sign image --key odd.key --cert odd.crt");
    assert!(said.contains("no RSA key of 2304 bits"), "{said}");
}
