// SPDX-License-Identifier: GPL-2.0-only
//! Signatures by certificates of all kinds.

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::signing::{AUTHORITY, KINDS, QUICK, SIGNER};
use composefs_selftests::verity::Algorithm;
use rustix::io::Errno;

use crate::Context;

/// Who vouches for whom.
pub fn chains(context: &mut Context) -> Result<()> {
    let pki = &context.pki;
    pki.certificate("root", KINDS[0].1, "")?;
    pki.issued("middle", "root", AUTHORITY)?;
    pki.issued("leaf", "middle", SIGNER)?;
    let image = &context.image.file;
    let cases: [(&[&str], &str, bool); 8] = [
        (&["middle"], "leaf", true),
        (&["middle"], "middle", true),
        (&["middle"], "root", true),
        (&["middle"], "p256", false),
        (&[], "leaf", true),
        (&[], "middle", true),
        (&[], "root", false),
        (&["root"], "root", false),
    ];
    for (chain, anchor, good) in cases {
        pki.trust_only(&[anchor])?;
        let signature = pki.sign(image, "leaf", chain)?;
        let name = format!("chain {chain:?}, {anchor} in the keyring");
        if good {
            context
                .works(image, &signature)
                .with_context(|| name.clone())?;
        } else {
            let request = context.request(image, &signature);
            context
                .refuses(&request, Errno::NOKEY, "by \"middle\"")
                .with_context(|| name.clone())?;
        }
        let agrees = pki.verify(image, &signature, &[anchor]).is_ok() == good;
        ensure!(agrees, "{name}: the tool judges otherwise");
    }

    // A chain whose upper link is forged: of the right name, without the key.
    pki.certificate("fake", QUICK, "-subj /O=Test/CN=root")?;
    pki.openssl("x509 -req -in middle.csr -CA fake.crt -CAkey fake.key -extfile middle.ext -out forged.crt -set_serial 7")?;
    pki.openssl("x509 -req -in leaf.csr -CA forged.crt -CAkey middle.key -extfile leaf.ext -out leaf.crt -set_serial 8")?;
    pki.trust_only(&["root"])?;
    let signature = pki.sign(image, "leaf", &["forged"])?;
    context.refuses(
        &context.request(image, &signature),
        Errno::NOKEY,
        "not trusted",
    )
}

/// The kernel minds neither dates nor purposes, but for the time of signing.
pub fn dates_and_purposes(context: &mut Context) -> Result<()> {
    let pki = &context.pki;
    let image = &context.image.file;
    pki.certificate(
        "old",
        QUICK,
        "-not_before 20200101000000Z -not_after 20210101000000Z",
    )?;
    pki.certificate(
        "server",
        QUICK,
        "-addext keyUsage=keyEncipherment -addext extendedKeyUsage=serverAuth",
    )?;
    pki.trust_only(&["old", "server"])?;
    for name in ["old", "server"] {
        let signature = pki.sign(image, name, &[])?;
        let said = pki.verify(image, &signature, &[name])?;
        let told = said.contains("has expired") || said.contains("not for signatures");
        ensure!(told, "{said}");
        context.works(image, &signature).context(name)?;
    }
    let sign = |how| pki.openssl_sign(image, Algorithm::Sha256, "old", how);
    context.works(image, &sign("cms -nosmimecap -nocerts")?)?;
    let signature = sign("cms -nosmimecap")?;
    ensure!(pki.verify(image, &signature, &["old"]).is_err());
    context.refuses(&context.request(image, &signature), Errno::KEYREJECTED, "")
}
