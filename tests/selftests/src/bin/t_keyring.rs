// SPDX-License-Identifier: GPL-2.0-only
//! The keyring .composefs, and what a mount with a signature shows of itself.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::command::{as_user, failure, output, run};
use composefs_selftests::image::Image;
use composefs_selftests::kernel_log::KernelLog;
use composefs_selftests::mount::Request;
use composefs_selftests::python;
use composefs_selftests::setup;
use composefs_selftests::signing::{
    add_key, formatted_digest, keyring_lines, reload_module, Pki, AUTHORITY, KEYRING, QUICK, SIGNER,
};
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::verity::Algorithm;
use rustix::io::Errno;

struct Context {
    work: PathBuf,
    pki: Pki,
    image: Image,
    signature: PathBuf,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    // What is restricted here is so until the module is loaded anew.
    setup::require_module()?;
    reload_module(&[])?;
    let work = setup::work_directory("keyring")?;
    let image = basic_tree::build_image(&work)?;
    let pki = Pki::new(&work.join("pki"))?;
    for name in ["one", "two"] {
        pki.certificate(name, QUICK, "")?;
    }
    let signature = work.join("image.sig");
    fs::rename(pki.sign(&image.file, "one", &[])?, &signature)?;
    Ok(Context {
        work,
        pki,
        image,
        signature,
    })
}

impl Context {
    fn request(&self) -> Request {
        self.with(&self.signature)
    }

    fn with(&self, signature: &Path) -> Request {
        Request::new(&self.image.file)
            .basedir(&self.image.store)
            .set("signature", &signature.to_string_lossy())
    }

    fn works(&self) -> Result<()> {
        let mount = self.request().at(&self.work.join("mount"))?;
        fs::read(mount.join("external-4097"))?;
        mount.unmount()
    }

    fn has_no_key(&self) -> Result<()> {
        match self.request().at(&self.work.join("mount")) {
            Ok(_) => bail!("it was mounted"),
            Err(refusal) => {
                ensure!(refusal.errno == Errno::NOKEY, "{refusal}");
                let said = refusal.message().with_context(|| refusal.to_string())?;
                ensure!(
                    said.contains("by \"one\"") && said.contains(".composefs"),
                    "{said}"
                );
                Ok(())
            }
        }
    }
}

fn comes_and_goes(context: &mut Context) -> Result<()> {
    for _ in 0..3 {
        reload_module(&[])?;
        let lines = keyring_lines()?;
        let [line] = lines.as_slice() else {
            bail!("/proc/keys: {lines:?}");
        };
        note(line);
        ensure!(line.ends_with(".composefs: empty"), "{line}");
        let fields: Vec<_> = line.split_whitespace().collect();
        ensure!(fields.get(3) == Some(&"perm"), "may expire: {line}");
        ensure!(fields.get(5..7) == Some(&["0", "0"]), "not root's: {line}");
        context.has_no_key()?;
        context.pki.trust("one")?;
        ensure!(keyring_lines()?
            .iter()
            .all(|line| line.ends_with(".composefs: 1")));
        context.works()?;
        run("rmmod", ["composefs"])?;
        ensure!(keyring_lines()?.is_empty(), "it outlives the module");
    }
    reload_module(&[])
}

fn holds_certificates(context: &mut Context) -> Result<()> {
    let key = context.pki.trust("two")?;
    context.has_no_key()?;
    let listed = run("keyctl", ["list", KEYRING])?;
    ensure!(listed.contains("asymmetric: Test: two"), "{listed}");
    let one = context.pki.trust("one")?;
    context.works()?;
    // A key that is taken out is trusted no more.
    run("keyctl", ["unlink", &one, KEYRING])?;
    context.has_no_key()?;
    context.pki.trust("one")?;
    context.works()?;
    run("keyctl", ["unlink", &key, KEYRING])?;
    context.works()?;
    for name in ["image.sig", "image"] {
        ensure!(
            add_key(&context.work.join(name)).is_err(),
            "{name} became a key"
        );
    }
    run("keyctl", ["clear", KEYRING])?;
    context.has_no_key()
}

/// Nobody but root.
fn is_roots(context: &mut Context) -> Result<()> {
    let der = context.pki.path("one.der");
    run(
        "chmod",
        [
            "a+rx",
            &context.work.to_string_lossy(),
            &context.pki.path(".").to_string_lossy(),
        ],
    )?;
    let number = keyring_lines()?.concat();
    let number = number.split(' ').next().unwrap_or("").to_owned();
    let user = |script: &str| as_user(1000, &["sh", "-c", script]);
    let add = format!("keyctl padd asymmetric '' 0x{number} <{}", der.display());
    for script in [
        &add,
        &format!("keyctl clear 0x{number}"),
        &format!("keyctl restrict_keyring 0x{number}"),
        &format!("keyctl list 0x{number}"),
        &format!("keyctl link 0x{number} @s"),
    ] {
        let said = failure(&mut user(script))?;
        ensure!(said.contains("Permission denied"), "{script}: {said}");
    }
    // The same with all that root may do in a namespace of their own.
    let script = format!("unshare -Ur sh -c {:?}", add);
    failure(&mut user(&script))?;
    ensure!(keyring_lines()?.concat().ends_with(": empty"));
    context.has_no_key()
}

fn can_be_restricted(context: &mut Context) -> Result<()> {
    let pki = &context.pki;
    pki.trust("one")?;
    run("keyctl", ["restrict_keyring", KEYRING])?;
    let said = pki.trust("two").err().context("a key was added")?;
    note(format_args!("{said:#}"));
    context.works()?;
    let again = failure(Command::new("keyctl").args(["restrict_keyring", KEYRING]))?;
    note(again);

    // To those that a key vouches for.
    reload_module(&[])?;
    pki.certificate("root", QUICK, "")?;
    pki.issued("leaf", "root", SIGNER)?;
    pki.issued("middle", "root", AUTHORITY)?;
    let root = pki.trust("root")?;
    let only = format!("key_or_keyring:{root}");
    run("keyctl", ["restrict_keyring", KEYRING, "asymmetric", &only])?;
    ensure!(
        pki.trust("two").is_err(),
        "a key that nobody vouches for was added"
    );
    pki.trust("leaf")?;
    reload_module(&[])?;
    // By what is built into the kernel: Debian's key signs none of ours.
    run(
        "keyctl",
        [
            "restrict_keyring",
            KEYRING,
            "asymmetric",
            "builtin_and_secondary_trusted",
        ],
    )?;
    ensure!(
        pki.trust("one").is_err(),
        "a key that is not built in was added"
    );
    context.has_no_key()?;
    reload_module(&[])
}

/// A key with an end, as Documentation/filesystems/composefs-signatures.rst has it.
fn keys_can_be_revoked(context: &mut Context) -> Result<()> {
    let key = context.pki.trust("one")?;
    context.works()?;
    // Root has to have the keyring to have a hold of the keys in it.
    let script = format!(
        "n=$(keyctl search @s keyring .composefs 2>/dev/null || awk '/ \\.composefs:/ {{ print \"0x\" $1 }}' /proc/keys)\n\
         keyctl setperm $n 0x1f3f0000 && keyctl link $n @s && keyctl revoke {key}"
    );
    let mut shell = Command::new("keyctl");
    output(shell.args(["session", "-", "sh", "-c", &script]))?;
    context.has_no_key()?;
    // The same without the certificate in the signature, which the kernel tells otherwise.
    let bare = context
        .pki
        .fsverity_sign(&context.image.file, Algorithm::Sha256, "one")?;
    fs::copy(bare, &context.signature)?;
    context.has_no_key()?;
    let full = context.pki.sign(&context.image.file, "one", &[])?;
    fs::copy(full, &context.signature)?;
    reload_module(&[])
}

/// Switches audit on or off; as nobody listens, its records go to the kernel log.
fn set_audit(on: bool) -> Result<()> {
    const SCRIPT: &str = include_str!("../../python/audit.py");
    python::run(SCRIPT, &[if on { "1" } else { "0" }]).map(drop)
}

/// The next audit record of a mount; another thread of the kernel writes it.
fn audit_record(log: &mut KernelLog) -> Result<String> {
    for _ in 0..1000 {
        let messages = log.read()?;
        if let Some(found) = messages
            .into_iter()
            .find(|m| m.contains("op=composefs_mount"))
        {
            note(&found);
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("no audit record")
}

fn shows_itself(context: &mut Context) -> Result<()> {
    context.pki.trust("one")?;
    let mut log = KernelLog::follow()?;
    set_audit(true)?;
    let mut audit_log = KernelLog::follow()?;
    let mount = context.request().at(&context.work.join("mount"))?;
    let said = log.read_composefs()?;
    let [line] = said.as_slice() else {
        bail!("the log: {said:?}");
    };
    note(line);
    let digest = &context.image.digest;
    ensure!(line.contains(&format!("sha256:{digest}")), "{line}");
    ensure!(line.contains("by \"one\""), "{line}");
    let source = context.image.file.to_string_lossy();
    ensure!(line.contains(&*source), "{line}");
    let audit = audit_record(&mut audit_log)?;
    for part in ["res=1", digest, "name=", "signer="] {
        ensure!(audit.contains(part), "{part}: {audit}");
    }

    let mounts = fs::read_to_string("/proc/mounts")?;
    let line = mounts.lines().find(|line| line.contains(" composefs "));
    let line = line.context("not in /proc/mounts")?;
    note(line);
    for part in [
        format!("digest=sha256:{digest}"),
        format!("signature={}", context.signature.display()),
        "verity=require".into(),
    ] {
        ensure!(
            line.split([' ', ',']).any(|option| option == part),
            "{part}: {line}"
        );
    }
    // To use it, or to mount it elsewhere, is no news.
    fs::read(mount.join("external-4097"))?;
    let bind = context.work.join("bind");
    setup::create_dir(&bind)?;
    run("mount", [Path::new("--bind"), mount.root(), &bind])?;
    composefs_selftests::mount::Mount::adopt(&bind).unmount()?;
    run(
        "mount",
        ["-i", "-o", "remount,ro", &mount.root().to_string_lossy()],
    )?;
    let more = log.read_composefs()?;
    ensure!(more.is_empty(), "said again: {more:?}");
    mount.unmount()?;

    // What was refused is on record too.
    run("keyctl", ["clear", KEYRING])?;
    context.has_no_key()?;
    let audit = audit_record(&mut audit_log)?;
    ensure!(audit.contains("res=0"), "{audit}");

    // With audit switched off, none of it is in the kernel log.
    set_audit(false)?;
    let mut log = KernelLog::follow()?;
    context.has_no_key()?;
    let said = log.read()?;
    ensure!(
        !said.iter().any(|m| m.contains("op=composefs_mount")),
        "with audit off: {said:?}"
    );
    Ok(())
}

/// The system's own keyrings: looked at if the module is told to.
fn system_keys(context: &mut Context) -> Result<()> {
    let parameter = "/sys/module/composefs/parameters/trust_system_keys";
    ensure!(
        fs::read_to_string(parameter)?.trim() == "N",
        "on by default"
    );
    ensure!(fs::write(parameter, "1").is_err(), "can be switched on");
    reload_module(&["trust_system_keys=1"])?;
    ensure!(fs::read_to_string(parameter)?.trim() == "Y", "not on");
    // They do not know our key; ours still do.
    context.has_no_key()?;
    context.pki.trust("one")?;
    context.works()?;
    reload_module(&[])
}

/// A signature says that a file has a digest, or that an image has it: the former may be of any file
/// that its signer was given.
fn of_images_only(context: &mut Context) -> Result<()> {
    let parameter = "/sys/module/composefs/parameters/image_signatures_only";
    ensure!(
        fs::read_to_string(parameter)?.trim() == "N",
        "on by default"
    );
    ensure!(fs::write(parameter, "1").is_err(), "can be switched on");
    let pki = &context.pki;
    pki.certificate("root", QUICK, "")?;
    pki.issued("leaf", "root", SIGNER)?;
    let mut tried = 0;
    for images_only in [false, true] {
        reload_module(if images_only {
            &["image_signatures_only=1"]
        } else {
            &[]
        })?;
        pki.trust("one")?;
        pki.trust("root")?;
        for of_image in [false, true] {
            let prefix: &[u8] = if of_image { b"composefs-image\0" } else { b"" };
            let digest = formatted_digest(&context.image.file, Algorithm::Sha256)?;
            let signed = [prefix, &digest].concat();
            for (name, how) in [
                ("one", "cms -noattr"),
                ("one", "cms -noattr -nocerts"),
                ("one", "cms -nosmimecap"),
                ("leaf", "cms -noattr"),
            ] {
                let mut other = signed.clone();
                *other.last_mut().context("empty")? ^= 1;
                for (signed, is_right) in [(&signed, true), (&other, false)] {
                    let signature = pki.openssl_sign_data(signed, name, how)?;
                    let result = context.with(&signature).at(&context.work.join("mount"));
                    let what = format!("{name}, {how}, {images_only} {of_image} {is_right}");
                    let said = match (result, is_right && (of_image || !images_only)) {
                        (Ok(mount), true) => {
                            fs::read(mount.join("external-4097"))?;
                            mount.unmount()?;
                            continue;
                        }
                        (Ok(_), false) => bail!("{what}: it was mounted"),
                        (Err(refusal), true) => return Err(refusal).context(what),
                        (Err(refusal), false) => {
                            ensure!(refusal.errno == Errno::KEYREJECTED, "{what}: {refusal}");
                            refusal.message().with_context(|| what.clone())?.to_owned()
                        }
                    };
                    let is_of_file = said.contains("of a file, not of an image");
                    ensure!(is_of_file == is_right, "{what}: {said}");
                    tried += 1;
                }
            }
        }
    }
    note(format_args!("{tried} refused"));
    reload_module(&[])
}

const CASES: &[Case<Context>] = &[
    ("it comes and goes with the module", comes_and_goes),
    (
        "it holds certificates, and what it holds counts",
        holds_certificates,
    ),
    ("it is root's", is_roots),
    ("it can be restricted", can_be_restricted),
    ("a key in it can be revoked", keys_can_be_revoked),
    (
        "a signed mount says so in /proc/mounts, the log and audit",
        shows_itself,
    ),
    (
        "the system's keyrings count if that is asked for",
        system_keys,
    ),
    (
        "signatures of files are none of images if that is asked for",
        of_images_only,
    ),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
