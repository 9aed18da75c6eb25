// SPDX-License-Identifier: GPL-2.0-only
//! 1,000 mutations of what a signed mount hangs on: image, signature, certificate, object. Bits
//! are flipped, files cut off, two valid ones spliced, and those of two signed images swapped.
//! None of them mounts and serves a byte that is not of the image that was signed.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure, Context as _, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::compare::audit;
use composefs_selftests::image::{build, enable_verity, replace, Image};
use composefs_selftests::mount::Request;
use composefs_selftests::signing::{add_key, reload_module, Pki, KEYRING, KINDS};
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::tree::{self, Tree};
use composefs_selftests::{command, setup};
use rustix::io::Errno;

/// Mutations of each of the four kinds of files.
const EACH: usize = 250;

/// An image, its signature, and what it shows.
struct Signed {
    image: Image,
    content: Vec<u8>,
    /// Without and with the signer's certificate.
    signatures: [Vec<u8>; 2],
    expected: Tree,
    /// Contents of the files that are objects.
    files: Vec<(String, Vec<u8>)>,
}

struct Context {
    work: PathBuf,
    /// By two signers: RSA and ECDSA.
    signed: [Signed; 2],
    certificates: [Vec<u8>; 2],
    random: Random,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    reload_module(&[])?;
    let work = setup::work_directory("signed-tamper")?;
    let pki = Pki::new(&work.join("pki"))?;
    let names = [KINDS[0].0, KINDS[1].0];
    for (name, new_key) in &KINDS[..2] {
        pki.certificate(name, new_key, "")?;
    }
    let signed = [
        sign(&work, &pki, names[0], 1)?,
        sign(&work, &pki, names[1], 2)?,
    ];
    let certificates = [pki.read("rsa.der")?, pki.read("p256.der")?];
    let context = Context {
        work,
        signed,
        certificates,
        random: Random::new(50),
    };
    context.trust_both()?;
    for signed in &context.signed {
        for signature in &signed.signatures {
            let result = context.attempt(&signed.image.file, signature)?;
            ensure!(
                result == Outcome::Whole(signed.name().into()),
                "{result:?} as it is"
            );
        }
    }
    Ok(context)
}

/// An image of a tree that is much like the other's.
fn sign(work: &Path, pki: &Pki, name: &str, seed: u64) -> Result<Signed> {
    let directory = work.join(name);
    let source = directory.join("source");
    setup::create_dir(&source.join("directory"))?;
    let mut random = Random::new(seed);
    let mut files = Vec::new();
    for number in 0..20_usize {
        let length = 65 + number * 700;
        let content = random.bytes(length);
        let path = format!("file-{number}");
        fs::write(source.join(&path), &content)?;
        files.push((path, content));
        fs::write(
            source.join(format!("directory/small-{number}")),
            random.bytes(number),
        )?;
    }
    fs::write(source.join(name), "whose image this is")?;
    std::os::unix::fs::symlink(name, source.join("link"))?;
    let image = build(&setup::mkcomposefs(), &source, &directory, &[])?;
    let bare = pki.fsverity_sign(
        &image.file,
        composefs_selftests::verity::Algorithm::Sha256,
        name,
    )?;
    let bare = fs::read(bare)?;
    let full = fs::read(pki.sign(&image.file, name, &[])?)?;
    Ok(Signed {
        content: fs::read(&image.file)?,
        signatures: [bare, full],
        expected: tree::read(&source)?,
        image,
        files,
    })
}

impl Signed {
    /// The file that the other image lacks.
    fn name(&self) -> &str {
        let is_name = |path: &&Vec<u8>| **path == b"rsa" || **path == b"p256";
        let found = self.expected.keys().find(is_name);
        found
            .and_then(|path| std::str::from_utf8(path).ok())
            .unwrap_or("")
    }
}

/// What came of a mount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Refused(String),
    /// It shows the tree of this signed image, or refuses parts of it.
    Whole(String),
    Partly,
}

impl Context {
    fn trust_both(&self) -> Result<()> {
        command::run("keyctl", ["clear", KEYRING])?;
        for name in ["rsa", "p256"] {
            add_key(&self.work.join(format!("pki/{name}.der")))?;
        }
        Ok(())
    }

    /// Mounts an image with a signature and looks at all of it: it has to be refused, or to show
    /// one of the signed trees, less what cannot be read.
    fn attempt(&self, image: &Path, signature: &[u8]) -> Result<Outcome> {
        let file = self.work.join("signature");
        fs::write(&file, signature)?;
        let mut request = Request::new(image).set("signature", &file.to_string_lossy());
        for signed in &self.signed {
            request = request.basedir(&signed.image.store);
        }
        let mount = match request.at(&self.work.join("mount")) {
            Ok(mount) => mount,
            Err(refusal) => {
                let errno = refusal.errno;
                let known = [Errno::BADMSG, Errno::KEYREJECTED, Errno::NOKEY];
                ensure!(known.contains(&errno), "{refusal}");
                ensure!(refusal.message().is_some(), "{refusal}");
                return Ok(Outcome::Refused(errno.to_string()));
            }
        };
        let mut wrong = Vec::new();
        for signed in &self.signed {
            let audit = audit(&signed.expected, mount.root());
            if audit.wrong.is_empty() {
                return Ok(match audit.refused {
                    0 => Outcome::Whole(signed.name().into()),
                    _ => Outcome::Partly,
                });
            }
            wrong.push(audit.wrong);
        }
        bail!("served: {wrong:?}")
    }

    /// A mutation of `this`, perhaps with pieces of `that`; never `this` itself.
    fn mutate(&mut self, this: &[u8], that: &[u8]) -> (&'static str, Vec<u8>) {
        loop {
            let random = &mut self.random;
            let at = random.index(this.len());
            let mut mutant = this.to_vec();
            let kind = match random.below(8) {
                0..=3 => {
                    mutant[at] ^= 1 << random.below(8);
                    "a bit"
                }
                4 => {
                    for _ in 0..=random.below(5) {
                        let at = random.index(this.len());
                        mutant[at] = random.number() as u8;
                    }
                    "bytes"
                }
                5 => {
                    mutant.truncate(at);
                    "cut off"
                }
                6 => {
                    // The beginning of the one and the end of the other.
                    mutant.truncate(at);
                    mutant.extend_from_slice(that.get(at..).unwrap_or_default());
                    "spliced"
                }
                _ => {
                    // A piece of the other in its place.
                    let length = 1 + random.below(64) as usize;
                    let piece = that
                        .get(at..(at + length).min(that.len()))
                        .unwrap_or_default();
                    for (to, from) in mutant.iter_mut().skip(at).zip(piece) {
                        *to = *from;
                    }
                    "a piece"
                }
            };
            if mutant != this && mutant != that {
                return (kind, mutant);
            }
        }
    }
}

/// Counts what came of it, by what was done.
#[derive(Default)]
struct Counts(BTreeMap<(&'static str, Outcome), usize>);

impl Counts {
    fn add(&mut self, kind: &'static str, outcome: Outcome) {
        *self.0.entry((kind, outcome)).or_default() += 1;
    }

    fn report(&self) -> Result<()> {
        for ((kind, outcome), count) in &self.0 {
            note(format_args!("{kind}: {count} {outcome:?}"));
        }
        ensure!(self.0.values().sum::<usize>() == EACH, "not all were tried");
        Ok(())
    }

    fn refused(&self) -> usize {
        let is_refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
        let found = self
            .0
            .iter()
            .filter(|((_, outcome), _)| is_refused(outcome));
        found.map(|(_, count)| count).sum()
    }
}

/// With fs-verity anew, so that only the signature stands against it. A swap is one of them.
fn images(context: &mut Context) -> Result<()> {
    let mut counts = Counts::default();
    for number in 0..EACH {
        let (one, other) = (number % 2, 1 - number % 2);
        let file = context.work.join("mutant");
        let (kind, content) = if number < 4 {
            ("swapped", context.signed[other].content.clone())
        } else {
            let (this, that) = (
                context.signed[one].content.clone(),
                context.signed[other].content.clone(),
            );
            context.mutate(&this, &that)
        };
        fs::write(&file, &content)?;
        enable_verity(&file)?;
        let signature = context.signed[one].signatures[number / 2 % 2].clone();
        let outcome = context
            .attempt(&file, &signature)
            .with_context(|| format!("image {number}: {kind}"))?;
        ensure!(
            matches!(outcome, Outcome::Refused(_)),
            "image {number}, {kind}: {outcome:?}"
        );
        counts.add(kind, outcome);
        fs::remove_file(&file)?;
    }
    counts.report()
}

fn signatures(context: &mut Context) -> Result<()> {
    let mut counts = Counts::default();
    for number in 0..EACH {
        let (one, other) = (number % 2, 1 - number % 2);
        let form = number / 2 % 2;
        let (kind, content) = if number < 4 {
            ("swapped", context.signed[other].signatures[form].clone())
        } else {
            let [this, that] = [one, other].map(|i| context.signed[i].signatures[form].clone());
            context.mutate(&this, &that)
        };
        let image = context.signed[one].image.file.clone();
        let name = context.signed[one].name().to_owned();
        let outcome = context
            .attempt(&image, &content)
            .with_context(|| format!("signature {number}: {kind}"))?;
        // What is not signed of a signature, such as parameters of algorithms, may change.
        let is_right = matches!(&outcome, Outcome::Refused(_)) || outcome == Outcome::Whole(name);
        ensure!(is_right, "signature {number}, {kind}: {outcome:?}");
        counts.add(kind, outcome);
    }
    counts.report()?;
    ensure!(
        counts.refused() >= EACH * 9 / 10,
        "too many have no consequence"
    );
    Ok(())
}

/// The keyring has nothing but the mutant, if it takes it.
fn certificates(context: &mut Context) -> Result<()> {
    let mut counts = Counts::default();
    let mut taken = 0;
    for number in 0..EACH {
        let (one, other) = (number % 2, 1 - number % 2);
        let (kind, content) = if number < 4 {
            ("swapped", context.certificates[other].clone())
        } else {
            let [this, that] = [one, other].map(|i| context.certificates[i].clone());
            context.mutate(&this, &that)
        };
        let file = context.work.join("certificate");
        fs::write(&file, &content)?;
        command::run("keyctl", ["clear", KEYRING])?;
        taken += usize::from(add_key(&file).is_ok());
        let signed = &context.signed[one];
        let outcome = context
            .attempt(&signed.image.file, &signed.signatures[number / 2 % 2])
            .with_context(|| format!("certificate {number}: {kind}"))?;
        // The key and its name make it; a change elsewhere may have it not look self-signed, whence
        // nobody checks it.
        let is_right = match &outcome {
            Outcome::Refused(_) => true,
            outcome => kind != "swapped" && *outcome == Outcome::Whole(signed.name().into()),
        };
        ensure!(is_right, "certificate {number}, {kind}: {outcome:?}");
        counts.add(kind, outcome);
    }
    context.trust_both()?;
    note(format_args!("{taken} became keys"));
    counts.report()?;
    ensure!(
        counts.refused() >= EACH * 3 / 4,
        "too many have no consequence"
    );
    Ok(())
}

/// Objects in place of those that the signed image names; with fs-verity and without.
fn objects(context: &mut Context) -> Result<()> {
    let mut counts = Counts::default();
    for number in 0..EACH {
        let (one, other) = (number % 2, 1 - number % 2);
        let which = 3 + number / 2 % 17;
        let this = context.signed[one].files[which].1.clone();
        let that = context.signed[other].files[which].1.clone();
        let (kind, content) = if number < 40 {
            ("swapped", that)
        } else {
            context.mutate(&this, &that)
        };
        let signed = &context.signed[one];
        let object = signed.image.object(&this);
        replace(&object, &content)?;
        if number % 5 != 0 {
            enable_verity(&object)?;
        }
        let outcome = context
            .attempt(&signed.image.file, &signed.signatures[0])
            .with_context(|| format!("object {number}: {kind}"))?;
        ensure!(
            outcome == Outcome::Partly,
            "object {number}, {kind}: {outcome:?}"
        );
        counts.add(kind, outcome);
        replace(&object, &this)?;
        enable_verity(&object)?;
    }
    counts.report()
}

const CASES: &[Case<Context>] = &[
    ("250 mutations of images", images),
    ("250 mutations of signatures", signatures),
    ("250 mutations of certificates", certificates),
    ("250 mutations of objects", objects),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
