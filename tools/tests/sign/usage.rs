// SPDX-License-Identifier: GPL-2.0-only
//! The command line, and what is left behind when something fails.

use crate::pki::{Pki, KINDS};

#[test]
fn what_fails_leaves_nothing() {
    let pki = Pki::new("leaves");
    pki.certificate("p256", KINDS[1].1, "");
    pki.certificate("rsa", KINDS[0].1, "");
    pki.write("junk", "junk");
    for (arguments, said) in [
        (
            "sign image --key p256.key --cert rsa.crt",
            "not that of the certificate",
        ),
        (
            "sign image --key p256.crt --cert p256.crt",
            "there is no private key in it",
        ),
        (
            "sign image --key junk --cert p256.crt",
            "'junk': it is not a private key",
        ),
        (
            "sign image --key p256.key --cert junk",
            "'junk': malformed: ",
        ),
        (
            "sign image --key p256.key --cert p256.key",
            "there is no certificate in it",
        ),
        (
            "sign image --key gone --cert p256.crt",
            "'gone': No such file",
        ),
        (
            "sign image --key p256.key --cert p256.crt --chain gone",
            "'gone': No such file",
        ),
        (
            "sign junk --key p256.key --cert p256.crt",
            "'junk': not a composefs image",
        ),
        (
            "sign gone --key p256.key --cert p256.crt",
            "'gone': No such file",
        ),
        (
            "sign --key p256.key --cert p256.crt",
            "no image path specified",
        ),
        (
            "sign image --key p256.key",
            "needs one --key and one --cert",
        ),
        (
            "sign image --cert p256.crt",
            "needs one --key and one --cert",
        ),
        (
            "sign image image --key p256.key --cert p256.crt --output x",
            "--output is for one",
        ),
        (
            "sign image --print-formatted-digest --key p256.key",
            "goes without --key",
        ),
        (
            "sign image --key p256.key --cert p256.crt --output gone/x",
            "'gone/x': No such file",
        ),
        ("verify image", "needs --basedir, or --signature"),
        ("verify image --signature junk", "--signature needs --cert"),
        ("verify image --cert p256.crt", "--cert needs --signature"),
        (
            "verify image image --signature junk --cert p256.crt",
            "--signature is for one image",
        ),
        (
            "verify image --signature junk --cert p256.crt --key junk",
            "--key is not for verify",
        ),
        (
            "verify image --signature gone --cert p256.crt",
            "'gone': No such file",
        ),
        ("ls image --signature junk", "--signature is not for ls"),
        ("dump image --cert junk", "--cert is not for dump"),
    ] {
        let found = pki.bad(arguments);
        assert!(found.contains(said), "{arguments}: {found}");
        assert!(!pki.path("image.sig").exists(), "{arguments}");
        assert!(!pki.path("x").exists(), "{arguments}");
    }
    pki.write("image.sig", "what was there");
    pki.bad("sign image --key p256.key --cert rsa.crt");
    assert_eq!(pki.read("image.sig"), b"what was there");
    pki.good("sign image --key p256.key --cert p256.crt");
    pki.good("verify image --signature image.sig --cert p256.crt");
}

#[test]
fn a_signature_may_go_elsewhere() {
    let pki = Pki::new("elsewhere");
    pki.certificate("p256", KINDS[1].1, "");
    pki.good("sign image --key p256.key --cert p256.crt --output elsewhere");
    assert!(!pki.path("image.sig").exists());
    let output = pki.info("sign image --key p256.key --cert p256.crt --output -");
    assert!(output.status.success());
    assert_eq!(output.stdout, pki.read("elsewhere"));
}

/// A signature of an image says so, which none of a file does.
#[test]
fn an_image_is_told_from_a_file() {
    let pki = Pki::new("image-only");
    pki.certificate("p256", KINDS[1].1, "");
    let verify = "verify image --signature image.sig --cert p256.crt";
    let sign = "sign image --key p256.key --cert p256.crt";

    pki.good(&format!("{sign} --image-only"));
    for verify in [verify, &format!("{verify} --image-only")] {
        assert!(pki.good(verify).contains(" is signed as an image by "));
    }
    pki.good(sign);
    assert!(pki.good(verify).contains(" is signed by "));
    let refused = pki.bad(&format!("{verify} --image-only"));
    assert!(refused.contains("it is one of a file, not one of an image"));

    // By another signer.
    pki.formatted_digest("image", "");
    let of_file = pki.read("data");
    pki.formatted_digest("image", "--image-only");
    let of_image = pki.read("data");
    assert_eq!(of_image, [&b"composefs-image\0"[..], &of_file].concat());
    pki.openssl(
        "cms -sign -binary -outform DER -noattr -signer p256.crt -inkey p256.key -in data \
         -out image.sig",
    );
    pki.good(&format!("{verify} --image-only"));

    assert!(pki
        .bad("verify image --image-only")
        .contains("needs --signature"));
    assert!(pki.bad("ls image --image-only").contains("is not for ls"));
}

/// Both parts of verify at once.
#[test]
fn signature_and_objects() {
    let pki = Pki::new("both");
    pki.certificate("p256", KINDS[1].1, "");
    pki.good("sign image --key p256.key --cert p256.crt");
    std::fs::create_dir(pki.path("store")).expect("create directory");
    let verify = "verify image --basedir store --signature image.sig --cert p256.crt";
    pki.good(verify);
    pki.write("image.sig", "");
    assert!(pki.bad(verify).contains("malformed: "));
}
