// SPDX-License-Identifier: GPL-2.0-only
//! signature=: which signatures of an image are good, and which are not.
#![forbid(unsafe_code)]

mod certificates;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::command::run;
use composefs_selftests::image::{replace, Image};
use composefs_selftests::mount::Request;
use composefs_selftests::setup;
use composefs_selftests::signing::{Pki, KINDS, QUICK};
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::verity::Algorithm;
use rustix::io::Errno;

const FILE: &str = "external-4097";

struct Context {
    work: PathBuf,
    pki: Pki,
    image: Image,
    /// The same with another digest: fs-verity with SHA-512.
    image_512: PathBuf,
    other: PathBuf,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("signatures")?;
    let image = basic_tree::build_image(&work)?;
    let content = fs::read(&image.file)?;
    let image_512 = work.join("image-512");
    fs::write(&image_512, &content)?;
    let path = image_512.to_string_lossy();
    run("fsverity", ["enable", "--hash-alg=sha512", &path])?;
    // Another image: the last byte is of a name or of padding.
    let other = work.join("other");
    let source = work.join("other-source");
    setup::create_dir(&source)?;
    fs::write(source.join("file"), "other")?;
    let made =
        composefs_selftests::image::build(&setup::mkcomposefs(), &source, &work.join("o"), &[])?;
    fs::copy(made.file, &other)?;
    run("fsverity", [Path::new("enable"), &other])?;

    let pki = Pki::new(&work.join("pki"))?;
    for (name, new_key) in KINDS {
        pki.certificate(name, new_key, "")?;
    }
    Ok(Context {
        work,
        pki,
        image,
        image_512,
        other,
    })
}

impl Context {
    fn request(&self, image: &Path, signature: &Path) -> Request {
        Request::new(image)
            .basedir(&self.image.store)
            .set("signature", &signature.to_string_lossy())
    }

    fn try_mount(&self, request: &Request) -> Result<()> {
        let mount = request.at(&self.work.join("mount"))?;
        basic_tree::expect_content(mount.root(), FILE)?;
        mount.unmount()
    }

    fn works(&self, image: &Path, signature: &Path) -> Result<()> {
        self.try_mount(&self.request(image, signature))
    }

    /// It does not mount, with this error and this in its one message.
    fn refuses(&self, request: &Request, errno: Errno, message: &str) -> Result<()> {
        let target = self.work.join("mount");
        request.refused(&target, errno, &[message]).map(drop)
    }
}

/// Everyone's signatures, with every kind of key, of both kinds of digests.
fn good_ones(context: &mut Context) -> Result<()> {
    let pki = &context.pki;
    let mut tried = 0;
    for (name, _) in KINDS {
        pki.trust_only(&[name])?;
        let images = [
            (&context.image.file, Algorithm::Sha256),
            (&context.image_512, Algorithm::Sha512),
        ];
        for (image, algorithm) in images {
            let check = |how: &str, signature: PathBuf| {
                let said = pki.verify(image, &signature, &[name])?;
                ensure!(said.contains(algorithm.name()), "{said}");
                context
                    .works(image, &signature)
                    .with_context(|| format!("{name}, {}, {how}", algorithm.name()))
            };
            check("composefs-info", pki.sign(image, name, &[])?)?;
            check("fsverity", pki.fsverity_sign(image, algorithm, name)?)?;
            tried += 2;
            for how in [
                "cms -noattr",
                "cms -noattr -nocerts",
                "cms -noattr -keyid",
                "cms -noattr -md sha512",
                "cms -nosmimecap",
                "cms -nosmimecap -nocerts",
                "smime -noattr",
            ] {
                check(how, pki.openssl_sign(image, algorithm, name, how)?)?;
                tried += 1;
            }
        }
    }
    note(format_args!("{tried} signatures"));
    Ok(())
}

/// A file that is no good signature, and how it is refused.
type Bad<'a> = (&'a str, Vec<u8>, Errno, &'a str);

fn refuses_all(context: &Context, table: &[Bad]) -> Result<()> {
    for (name, content, errno, message) in table {
        let file = context.pki.write("bad", content)?;
        let request = context.request(&context.image.file, &file);
        context
            .refuses(&request, *errno, message)
            .with_context(|| format!("signature that is {name}"))?;
        // The other judge agrees.
        let verified = context
            .pki
            .verify(&context.image.file, &file, &["rsa", "p256"]);
        ensure!(verified.is_err(), "{name}: {verified:?}");
    }
    Ok(())
}

fn damaged_ones(context: &mut Context) -> Result<()> {
    let pki = &context.pki;
    pki.trust_only(&["rsa", "p256"])?;
    let good = fs::read(pki.sign(&context.image.file, "rsa", &[])?)?;
    let bare = fs::read(pki.fsverity_sign(&context.image.file, Algorithm::Sha256, "rsa")?)?;
    let flipped = |of: &[u8], from_end: usize| {
        let mut content = of.to_vec();
        let at = content.len() - from_end;
        content[at] ^= 0x10;
        content
    };
    let followed = |by: &[u8]| [&good[..], by].concat();
    let mut large = good.clone();
    large.resize(65536, 0);
    let mut limit = good.clone();
    limit.resize(65535, 0);
    let indefinite = [&[0x30, 0x80], good.get(4..).context("short")?, &[0, 0]].concat();
    let mut table: Vec<Bad> = vec![
        ("empty", vec![], Errno::BADMSG, "is empty"),
        (
            "followed by a newline",
            followed(b"\n"),
            Errno::BADMSG,
            "trailing",
        ),
        (
            "followed by itself",
            followed(&good),
            Errno::BADMSG,
            "trailing",
        ),
        (
            "followed by a zero",
            followed(&[0]),
            Errno::BADMSG,
            "trailing",
        ),
        ("too large", large, Errno::BADMSG, "65535"),
        ("padded to the limit", limit, Errno::BADMSG, "trailing"),
        ("BER", indefinite, Errno::BADMSG, "DER"),
        ("text", b"-----BEGIN PKCS7-----".to_vec(), Errno::BADMSG, ""),
        ("a certificate", pki.read("rsa.der")?, Errno::BADMSG, ""),
        ("zeros", vec![0; 1000], Errno::BADMSG, ""),
        (
            "flipped, without certificate",
            flipped(&bare, 7),
            Errno::KEYREJECTED,
            "no valid",
        ),
        (
            "flipped, with certificate",
            flipped(&good, 7),
            Errno::BADMSG,
            "damaged",
        ),
    ];
    for length in [1, 2, 4, 20, good.len() / 2, good.len() - 1] {
        let cut = good.get(..length).context("short")?.to_vec();
        table.push(("truncated", cut, Errno::BADMSG, ""));
    }
    refuses_all(context, &table)
}

fn others(context: &mut Context) -> Result<()> {
    let pki = &context.pki;
    pki.certificate("stranger", QUICK, "")?;
    // Its subject, issuer and number are those of p256.
    let path = pki.path("p256.crt");
    let serial = run(
        "openssl",
        ["x509", "-noout", "-serial", "-in", &path.to_string_lossy()],
    )?;
    let serial = serial.trim_start_matches("serial=");
    std::fs::create_dir_all(pki.path("double"))?;
    pki.openssl(&format!(
        "req -x509 -newkey {QUICK} -nodes -keyout double.key -out double.crt \
         -subj /O=Test/CN=p256 -set_serial 0x{serial}"
    ))?;
    pki.trust_only(&["rsa", "p256"])?;

    let image = &context.image.file;
    let sign = |name: &str, how: &str| -> Result<Vec<u8>> {
        let signature = pki.openssl_sign(image, Algorithm::Sha256, name, how)?;
        Ok(fs::read(signature)?)
    };
    let of_other = |name: &str, how: &str| -> Result<Vec<u8>> {
        let other = pki.openssl_sign(&context.other, Algorithm::Sha256, name, how)?;
        Ok(fs::read(other)?)
    };
    let of_512 = pki.openssl_sign(&context.image_512, Algorithm::Sha512, "rsa", "cms -noattr")?;
    let of_512 = fs::read(of_512)?;
    let (rejected, no_key, bad) = (Errno::KEYREJECTED, Errno::NOKEY, Errno::BADMSG);
    let table: [Bad; 16] = [
        (
            "of another image",
            of_other("rsa", "cms -noattr")?,
            rejected,
            "no valid signature of sha256:",
        ),
        (
            "of another image, bare",
            of_other("p256", "cms -noattr -nocerts")?,
            rejected,
            "no valid",
        ),
        (
            "of another image, with attributes",
            of_other("rsa", "cms -nosmimecap")?,
            rejected,
            "",
        ),
        ("of its other digest", of_512, rejected, "no valid"),
        (
            "by a stranger",
            sign("stranger", "cms -noattr")?,
            no_key,
            "by \"stranger\"",
        ),
        (
            "by a stranger, bare",
            sign("stranger", "cms -noattr -nocerts")?,
            no_key,
            "not trusted",
        ),
        (
            "by a stranger's key",
            sign("stranger", "cms -noattr -keyid")?,
            no_key,
            "with key ",
        ),
        (
            "by a namesake, bare",
            sign("double", "cms -noattr -nocerts")?,
            rejected,
            "no valid",
        ),
        ("by a namesake", sign("double", "cms -noattr")?, no_key, ""),
        (
            "not detached",
            sign("rsa", "cms -noattr -nodetach")?,
            bad,
            "damaged",
        ),
        (
            "by two",
            sign("rsa", "cms -noattr -signer p256.crt -inkey p256.key")?,
            bad,
            "more than one",
        ),
        (
            "RSA-PSS",
            sign("rsa", "cms -noattr -keyopt rsa_padding_mode:pss")?,
            rejected,
            "algorithm",
        ),
        (
            "over MD5",
            sign("rsa", "cms -noattr -md md5")?,
            rejected,
            "algorithm",
        ),
        (
            "with S/MIME capabilities",
            sign("rsa", "cms")?,
            rejected,
            "",
        ),
        (
            "of other content",
            sign("rsa", "cms -noattr -econtent_type 1.3.6.1.5.5.7.12.2")?,
            bad,
            "",
        ),
        (
            "with Ed25519 within",
            {
                pki.certificate("ed", "ed25519", "")?;
                sign("rsa", "cms -noattr -certfile ed.crt")?
            },
            rejected,
            "algorithm",
        ),
    ];
    refuses_all(context, &table)
}

fn files(context: &mut Context) -> Result<()> {
    let pki = &context.pki;
    pki.trust_only(&["p256"])?;
    let image = &context.image.file;
    let request = |path: &Path| context.request(image, path);
    let gone = pki.path("gone");
    context.refuses(&request(&gone), Errno::NOENT, "cannot be read")?;
    context.refuses(&request(&context.work), Errno::INVAL, "not a regular file")?;
    context.refuses(
        &request(Path::new("/dev/zero")),
        Errno::INVAL,
        "not a regular file",
    )?;
    let pipe = pki.path("pipe");
    run("mkfifo", [&pipe])?;
    context.refuses(&request(&pipe), Errno::INVAL, "not a regular file")?;

    // Once mounted, nothing depends on the file any more.
    let signature = pki.sign(image, "p256", &[])?;
    let mount = request(&signature).at(&context.work.join("mount"))?;
    replace(&signature, b"")?;
    setup::drop_caches()?;
    let read = fs::read(mount.join(FILE))?;
    ensure!(read == basic_tree::content(FILE), "content differs");
    mount.unmount()
}

fn with_digest(context: &mut Context) -> Result<()> {
    let pki = &context.pki;
    pki.trust_only(&["p256"])?;
    let (image, digest) = (&context.image.file, &context.image.digest);
    let wrong = digest.replace(|c| c != '0', "0");
    let good = pki.sign(image, "p256", &[])?;
    context.try_mount(&context.request(image, &good).digest(digest))?;
    context.refuses(
        &context.request(image, &good).digest(&wrong),
        Errno::BADMSG,
        "wrong digest",
    )?;
    // The signature of the other image, and the digest of this one.
    let other = pki.sign(&context.other, "p256", &[])?;
    let request = context.request(image, &other).digest(digest);
    context.refuses(&request, Errno::KEYREJECTED, "no valid signature")?;
    // A signed digest that the file would have, if fs-verity were enabled.
    let plain = context.work.join("plain");
    fs::copy(image, &plain)?;
    let request = context.request(&plain, &pki.sign(image, "p256", &[])?);
    context.refuses(&request, Errno::BADMSG, "no fs-verity")
}

const CASES: &[Case<Context>] = &[
    ("signatures by every tool and kind of key", good_ones),
    ("damaged signatures", damaged_ones),
    ("signatures of something else, or of other kinds", others),
    ("files that cannot be read, and one that goes away", files),
    ("chains of certificates", certificates::chains),
    (
        "expired certificates, and for another purpose",
        certificates::dates_and_purposes,
    ),
    ("signature= together with digest=", with_digest),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
