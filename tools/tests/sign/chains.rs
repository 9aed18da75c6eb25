// SPDX-License-Identifier: GPL-2.0-only
//! Who vouches for whom.

use crate::pki::{Pki, KINDS};

const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n\
                  subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
const LEAF: &str = "keyUsage=digitalSignature\nsubjectKeyIdentifier=hash\n\
                    authorityKeyIdentifier=keyid\n";

fn verify(cert: &str) -> String {
    format!("verify image --signature image.sig --cert {cert}")
}

#[test]
fn a_chain_ends_where_trust_begins() {
    let pki = Pki::new("chain");
    pki.certificate("root", KINDS[0].1, "");
    pki.certificate("stranger", KINDS[1].1, "");
    pki.issued("middle", "root", CA);
    pki.issued("leaf", "middle", LEAF);

    pki.good("sign image --key leaf.key --cert leaf.crt --chain middle.crt");
    for anchor in ["leaf", "middle", "root"] {
        let said = pki.good(&verify(&format!("{anchor}.crt")));
        assert!(said.contains("is signed by 'CN=leaf,O=Test'"), "{said}");
        let because = said.contains(&format!("trusted because of 'CN={anchor},O=Test'"));
        assert_eq!(because, anchor != "leaf", "{said}");
    }
    let said = pki.bad(&verify("stranger.crt"));
    assert!(said.contains("unknown signer: "), "{said}");
    assert!(said.contains("issuer 'CN=middle,O=Test'"), "{said}");
    // One that is trusted among others is enough.
    pki.good(&verify("stranger.crt --cert root.crt"));

    // The same from one file, leaf first.
    let bundle = [pki.read("leaf.crt"), pki.read("middle.crt")].concat();
    pki.write("bundle.crt", bundle);
    let before = pki.read("image.sig");
    pki.good("sign image --key leaf.key --cert bundle.crt");
    // ECDSA signatures are deterministic here.
    assert_eq!(before, pki.read("image.sig"));

    // A link is missing.
    pki.good("sign image --key leaf.key --cert leaf.crt");
    pki.good(&verify("leaf.crt"));
    pki.good(&verify("middle.crt"));
    let said = pki.bad(&verify("root.crt"));
    assert!(said.contains("unknown signer: "), "{said}");
}

#[test]
fn names_are_not_enough() {
    let pki = Pki::new("names");
    for directory in ["real", "fake"] {
        std::fs::create_dir(pki.path(directory)).expect("create directory");
        pki.certificate("root", KINDS[1].1, "-set_serial 1");
        pki.issued("leaf", "root", "authorityKeyIdentifier=issuer:always\n");
        for file in ["root.crt", "leaf.crt", "leaf.key"] {
            let to = pki.path(directory).join(file);
            std::fs::rename(pki.path(file), to).expect("move");
        }
    }
    pki.good("sign image --key fake/leaf.key --cert fake/leaf.crt");
    pki.good(&verify("fake/root.crt"));
    // Issuer and serial number are those of the real one; the signature is not.
    let said = pki.bad(&verify("real/root.crt"));
    assert!(said.contains("rejected: "), "{said}");

    let said = pki.bad("sign image --key fake/leaf.key --cert real/leaf.crt");
    assert!(
        said.contains("the key is not that of the certificate"),
        "{said}"
    );
}

#[test]
fn a_forged_link_is_refused() {
    let pki = Pki::new("forged");
    for half in ["real", "fake"] {
        pki.certificate("root", KINDS[1].1, "");
        for end in ["crt", "key"] {
            let to = pki.path(&format!("{half}.{end}"));
            std::fs::rename(pki.path(&format!("root.{end}")), to).expect("move");
        }
    }
    // It names the real one as its issuer, by its key identifier too.
    pki.issued("leaf", "fake", "authorityKeyIdentifier=none\n");
    pki.good("sign image --key leaf.key --cert leaf.crt --chain real.crt");
    let said = pki.bad(&verify("real.crt"));
    assert!(said.contains("unknown signer: "), "{said}");
}

#[test]
fn dates_and_purposes_are_told_not_judged() {
    let pki = Pki::new("dates");
    pki.certificate("old", KINDS[1].1, "");
    pki.openssl("req -new -key old.key -subj /CN=old -out old.csr");
    // OpenSSL makes none that has expired, but one that does so now.
    pki.openssl("x509 -req -in old.csr -signkey old.key -days 0 -out old.crt");
    std::thread::sleep(std::time::Duration::from_secs(2));
    pki.good("sign image --key old.key --cert old.crt");
    let said = pki.good(&verify("old.crt"));
    assert!(said.contains("has expired"), "{said}");

    // A signing time in the signature is judged, if the certificate is there to judge it by.
    pki.formatted_digest("image", "");
    let sign = "cms -sign -binary -in data -outform DER -out image.sig -nosmimecap \
                -signer old.crt -inkey old.key";
    pki.openssl(sign);
    let said = pki.bad(&verify("old.crt"));
    assert!(said.contains("was not valid"), "{said}");
    pki.openssl(&format!("{sign} -nocerts"));
    pki.good(&verify("old.crt"));

    pki.write("index.txt", "");
    pki.write(
        "ca.cnf",
        "[ca]\ndefault_ca = it\n\
         [it]\ndatabase = index.txt\nnew_certs_dir = .\nrand_serial = yes\n\
         default_md = sha256\npolicy = any\n\
         [any]\ncommonName = supplied\n",
    );
    pki.openssl(
        "ca -batch -config ca.cnf -selfsign -keyfile old.key -in old.csr -notext -out next.crt \
         -startdate 21000101000000Z -enddate 21010101000000Z",
    );
    pki.good("sign image --key old.key --cert next.crt");
    let said = pki.good(&verify("next.crt"));
    assert!(said.contains("is not valid yet"), "{said}");

    pki.certificate("server", KINDS[1].1, "-addext keyUsage=keyEncipherment");
    pki.good("sign image --key server.key --cert server.crt");
    let said = pki.good(&verify("server.crt"));
    assert!(said.contains("is not for signatures"), "{said}");
}

#[test]
fn one_signer_is_wanted() {
    let pki = Pki::new("several");
    pki.certificate("one", KINDS[0].1, "");
    pki.certificate("two", KINDS[1].1, "");
    pki.formatted_digest("image", "");
    let sign = "cms -sign -binary -in data -outform DER -out image.sig -noattr \
                -signer one.crt -inkey one.key";
    pki.openssl(sign);
    pki.good(&verify("one.crt"));
    pki.openssl(&format!("{sign} -signer two.crt -inkey two.key"));
    let said = pki.bad(&verify("one.crt --cert two.crt"));
    assert!(said.contains("exactly one signer"), "{said}");
}
