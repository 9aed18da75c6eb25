// SPDX-License-Identifier: GPL-2.0-only
//! Every kind of key, in every form, there and back.

use crate::pki::{refusal, Pki, KINDS};

/// openssl's opinion of `NAME.sig` over what is in `data`.
fn openssl_verifies(pki: &Pki, name: &str) {
    for tool in ["cms", "smime"] {
        pki.openssl(&format!(
            "{tool} -verify -binary -inform DER -in {name}.sig -content data \
             -CAfile {name}.crt -purpose any -out verified"
        ));
        assert_eq!(pki.read("verified"), pki.read("data"));
    }
}

#[test]
fn every_kind_and_digest() {
    let pki = Pki::new("kinds");
    for (name, new_key) in KINDS {
        pki.certificate(name, new_key, "");
        for algorithm in ["sha256", "sha512"] {
            let digest = format!("--digest-algorithm={algorithm}");
            pki.good(&format!(
                "sign image --key {name}.key --cert {name}.crt --output {name}.sig {digest}"
            ));
            let verify = format!("verify image --signature {name}.sig --cert {name}.crt");
            let said = pki.good(&verify);
            assert!(said.contains(&format!(": {algorithm}:")), "{said}");
            assert!(said.contains(&format!("CN={name},O=Test")), "{said}");
            pki.good(&format!("{verify} {digest}"));
            pki.formatted_digest("image", &digest);
            openssl_verifies(&pki, name);
        }
        let other = pki.bad(&format!(
            "verify image --signature {name}.sig --cert {name}.crt --digest-algorithm=sha256"
        ));
        assert!(other.contains("rejected: "), "{other}");
    }
}

#[test]
fn what_is_signed() {
    let pki = Pki::new("data");
    for (algorithm, number, size) in [("sha256", 1, 32), ("sha512", 2, 64)] {
        let digest = format!("--digest-algorithm={algorithm}");
        pki.formatted_digest("image", &digest);
        let hex = pki.good(&format!("measure-file {digest} image"));
        let want: Vec<u8> = (0..size)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("is hex"))
            .collect();
        let data = pki.read("data");
        assert_eq!(data[..8], *b"FSVerity");
        assert_eq!(data[8..12], [number, 0, size as u8, 0]);
        assert_eq!(data[12..], want);
    }
}

#[test]
fn every_form() {
    let pki = Pki::new("forms");
    for (name, new_key) in KINDS {
        pki.certificate(name, new_key, "");
        let kind = if name == "rsa" { "rsa" } else { "ec" };
        let old = if name == "rsa" { "-traditional" } else { "" };
        pki.openssl(&format!("{kind} -in {name}.key {old} -out form.old"));
        pki.openssl(&format!(
            "{kind} -in {name}.key {old} -outform DER -out form.der"
        ));
        pki.openssl(&format!(
            "pkcs8 -topk8 -nocrypt -in {name}.key -outform DER -out form.pkcs8"
        ));
        // Other things before and after it.
        let [key, cert, old] = [".key", ".crt"]
            .map(|end| pki.read(&format!("{name}{end}")))
            .into_iter()
            .chain([pki.read("form.old")])
            .collect::<Vec<_>>()
            .try_into()
            .expect("three");
        pki.write("form.all", [&b"a key\n"[..], &cert, &key, &cert].concat());
        assert!(old.starts_with(b"-----BEGIN RSA P") || old.starts_with(b"-----BEGIN EC P"));
        pki.openssl(&format!("x509 -in {name}.crt -outform DER -out cert.der"));
        for form in ["form.old", "form.der", "form.pkcs8", "form.all"] {
            pki.good(&format!("sign image --key {form} --cert cert.der"));
            pki.good("verify image --signature image.sig --cert form.all");
        }
    }
    // With its parameters first, as `openssl ecparam -genkey` writes it.
    pki.openssl("ecparam -genkey -name prime256v1 -out ec.key");
    pki.openssl("req -x509 -new -key ec.key -subj /CN=ec -out ec.crt");
    pki.good("sign image --key ec.key --cert ec.crt");
    pki.good("verify image --signature image.sig --cert ec.crt");
}

#[test]
fn encrypted_keys() {
    let pki = Pki::new("encrypted");
    for (name, new_key) in [KINDS[0], KINDS[1]] {
        pki.certificate(name, new_key, "");
        for cipher in [
            "-v2 aes-256-cbc",
            "-scrypt",
            "-v2 aes-128-cbc -v2prf hmacWithSHA512",
        ] {
            pki.openssl(&format!(
                "pkcs8 -topk8 {cipher} -iter 1000 -in {name}.key -out locked.key -passout pass:s3cret"
            ));
            let sign = format!("sign image --key locked.key --cert {name}.crt");
            let with = |passphrase: &str| {
                pki.info_command(&sign)
                    .env("COMPOSEFS_KEY_PASSPHRASE", passphrase)
                    .output()
                    .expect("run composefs-info")
            };
            let said = refusal(&sign, &with("wrong-one"));
            assert!(said.contains("'locked.key': wrong passphrase"), "{said}");
            assert!(!said.contains("wrong-one"), "{said}");
            assert!(!pki.path("image.sig").exists());
            let output = with("s3cret");
            assert!(output.status.success(), "{output:?}");
            pki.good(&format!(
                "verify image --signature image.sig --cert {name}.crt"
            ));
            std::fs::remove_file(pki.path("image.sig")).expect("remove signature");
        }
    }
    // The old way of encrypting is named, not attempted.
    pki.openssl("rsa -in rsa.key -traditional -aes128 -passout pass:s3cret -out old.key");
    let said = pki.bad("sign image --key old.key --cert rsa.crt");
    assert!(said.contains("openssl pkcs8 -topk8"), "{said}");
}

#[test]
fn a_passphrase_is_asked_for_on_the_terminal() {
    let pki = Pki::new("prompt");
    pki.certificate("rsa", KINDS[0].1, "");
    pki.openssl("pkcs8 -topk8 -iter 1000 -in rsa.key -out locked.key -passout pass:s3cret");
    // setsid: no terminal to ask on.
    let tool = pki.info_command("").get_program().to_owned();
    let output = pki
        .command("setsid")
        .arg("--wait")
        .arg(tool)
        .args("sign image --key locked.key --cert rsa.crt".split(' '))
        .output()
        .expect("run setsid");
    let said = refusal("sign", &output);
    assert!(said.contains("needs a passphrase"), "{said}");
    assert!(!pki.path("image.sig").exists());
}

#[test]
fn signatures_by_openssl() {
    let pki = Pki::new("openssl");
    let other_digest = "--digest-algorithm=sha512";
    for (name, new_key) in KINDS {
        pki.certificate(name, new_key, "");
        for more in ["", other_digest] {
            pki.formatted_digest("image", more);
            for how in [
                "cms -noattr",
                "cms -noattr -nocerts",
                "cms -noattr -keyid",
                "cms -noattr -md sha512",
                "cms -noattr -md sha1",
                "cms -nosmimecap",
                "cms -nosmimecap -nocerts",
                "smime -noattr",
                "smime -noattr -nocerts -md sha384",
            ] {
                let (tool, options) = how.split_once(' ').expect("has options");
                pki.openssl(&format!(
                    "{tool} -sign -binary -in data -outform DER -out image.sig \
                     -signer {name}.crt -inkey {name}.key {options}"
                ));
                let said = pki.good(&format!(
                    "verify image --signature image.sig --cert {name}.crt"
                ));
                assert!(said.contains(&format!("CN={name},")), "{how}: {said}");
            }
        }
    }
}
