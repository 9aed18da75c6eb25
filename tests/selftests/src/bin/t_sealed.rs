// SPDX-License-Identifier: GPL-2.0-only
//! OCI images that are signed where they are built, and mounted by a kernel that mounts nothing else:
//! what `Documentation/signing.md` says, line by line.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::command::{expect_refusal, output, run};
use composefs_selftests::containers::text;
use composefs_selftests::mount::Mount;
use composefs_selftests::mountinfo::mountinfo;
use composefs_selftests::one_layer::{self, By};
use composefs_selftests::policy::{turn_on, PARAMETER};
use composefs_selftests::repository::Repository;
use composefs_selftests::setup;
use composefs_selftests::signing::{add_key, reload_module, Pki, KEYRING, QUICK};
use composefs_selftests::tap::{self, Case};

const CONTENT: &str = "from the image";

struct Context {
    work: PathBuf,
    /// "builder" signs; "next" will in its place.
    pki: Pki,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::require_module()?;
    let work = setup::work_directory("sealed")?;
    let pki = Pki::new(&work.join("pki"))?;
    for name in ["builder", "next"] {
        pki.certificate(name, QUICK, "")?;
    }
    let context = Context { work, pki };
    for (name, content) in [("app", CONTENT), ("other", "from another")] {
        context.make_image(name, content)?;
    }
    fs::create_dir(context.target())?;
    Ok(context)
}

impl Context {
    fn target(&self) -> PathBuf {
        self.work.join("target")
    }

    /// What the builder made, and what it gives away.
    fn built(&self, name: &str) -> String {
        format!("oci:{}", self.work.join(name).display())
    }

    fn given(&self) -> String {
        format!("oci:{}:v1", self.work.join("given").display())
    }

    fn command(&self, repository: &str, arguments: &[&str]) -> Command {
        Repository::at(&self.work.join(repository)).command(arguments)
    }

    fn builder(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.command("builder", arguments))
    }

    fn machine(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.command("machine", arguments))
    }

    fn file(&self, name: &str) -> String {
        self.pki.path(name).display().to_string()
    }

    /// What is built, signed by these and put where machines get it.
    fn give(&self, image: &str, signers: &[&str], more: &[&str]) -> Result<()> {
        for dir in ["builder", "given"] {
            let _ = fs::remove_dir_all(self.work.join(dir));
        }
        self.builder(&["pull", &self.built(image), "app"])?;
        for name in signers {
            let (key, cert) = (
                self.file(&format!("{name}.key")),
                self.file(&format!("{name}.crt")),
            );
            let sign = ["sign", "app", "--key", &key, "--cert", &cert];
            self.builder(&[&sign, more].concat())?;
        }
        self.builder(&["push", "app", &self.given()]).map(drop)
    }

    /// What a machine that has nothing gets there.
    fn get(&self, trusted: &str) -> Result<()> {
        let _ = fs::remove_dir_all(self.work.join("machine"));
        let keyring = self.work.join("keys");
        let _ = fs::remove_dir_all(&keyring);
        fs::create_dir(&keyring)?;
        let name = format!("{trusted}.der");
        fs::copy(self.pki.path(&name), keyring.join(name))?;
        let given = self.given();
        let pull = ["pull", "--require-signature", "--keyring", text(&keyring)?];
        self.machine(&[&pull[..], &[&given, "app"]].concat())?;
        self.machine(&["verify", "app", "--keyring", text(&keyring)?])
            .map(drop)
    }

    /// The module anew, with a keyring of these that nobody can add to, and nothing else is mounted.
    fn boot(&self, trusted: &[&str]) -> Result<()> {
        reload_module(&[])?;
        for name in trusted {
            add_key(&self.pki.path(&format!("{name}.der")))?;
        }
        run("keyctl", ["restrict_keyring", KEYRING])?;
        turn_on()?;
        ensure!(fs::read_to_string(PARAMETER)?.trim() == "Y");
        // What could be added to would be trusted by whoever is root.
        ensure!(
            add_key(&self.pki.path("next.der")).is_err(),
            "a key was added"
        );
        Ok(())
    }

    fn mount(&self) -> Command {
        let target = self.target();
        self.command("machine", &["mount", "app", &target.to_string_lossy()])
    }

    /// It is mounted with a signature, and what is in it can be read.
    fn is_mounted(&self) -> Result<()> {
        output(&mut self.mount())?;
        let mount = Mount::adopt(&self.target());
        let (kind, _, options) = mountinfo(mount.root())?;
        ensure!(
            kind == "composefs" && options.contains("signature"),
            "{kind}: {options}"
        );
        ensure!(fs::read_to_string(mount.join("usr/large"))? == CONTENT.repeat(1000));
        mount.unmount()
    }

    fn is_refused(&self, words: &[&str]) -> Result<()> {
        expect_refusal(&mut self.mount(), words)
    }

    /// Makes an image, whose layer is not compressed: what is given away is all in the repository.
    fn make_image(&self, name: &str, content: &str) -> Result<()> {
        let tree = self.work.join(format!("{name}-tree"));
        fs::create_dir_all(tree.join("usr"))?;
        fs::write(tree.join("usr/large"), content.repeat(1000))?;
        one_layer::make(&self.work.join(name), &tree, By::Nothing)
    }
}

/// From the builder to the kernel: signatures in an artifact, in annotations, and of an image only.
fn chain(context: &Context) -> Result<()> {
    for more in [&[][..], &["--inline"], &["--image-only"]] {
        context.give("app", &["builder"], more)?;
        context.boot(&["builder"])?;
        context.get("builder")?;
        context.is_mounted()?;
    }
    // The kernel takes none that were made for files, if it is told so.
    reload_module(&["image_signatures_only=1"])?;
    add_key(&context.pki.path("builder.der"))?;
    context.is_mounted()
}

/// What is not signed, or not by whom the machine trusts, is neither pulled nor mounted.
fn unsigned(context: &Context) -> Result<()> {
    context.give("app", &["next"], &[])?;
    context.boot(&["builder"])?;
    ensure!(context.get("builder").is_err(), "it was pulled");
    context.machine(&["pull", &context.given(), "app"])?;
    context.is_refused(&["require_signatures"])?;
    // Nor does it help to bring the signature.
    context.get("next")?;
    context.is_refused(&["not trusted"])?;
    let target = context.target();
    let plain = ["mount", "--no-signature", "app", text(&target)?];
    expect_refusal(
        &mut context.command("machine", &plain),
        &["require_signatures"],
    )
}

/// Another image in place of the one that is signed.
fn exchanged(context: &Context) -> Result<()> {
    context.give("app", &["builder"], &[])?;
    context.boot(&["builder"])?;
    context.get("builder")?;
    // The name is that of another manifest.
    context.machine(&["pull", &context.built("other"), "app"])?;
    context.is_refused(&["require_signatures"])
}

/// Signatures by fsverity-utils, of the objects as they are, are as good.
fn by_fsverity(context: &Context) -> Result<()> {
    context.give("app", &[], &[])?;
    let (signed, builder) = (context.work.join("signed"), context.work.join("builder"));
    let dir = text(&signed)?;
    context.builder(&["sign", "app", "--to-sign", dir])?;
    for name in ["manifest", "config", "merged"] {
        let data = fs::read(signed.join(name))?;
        let digest = data.get(12..).context("digest")?;
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let (head, tail) = hex.split_at(2);
        let object = builder.join("objects").join(head).join(tail);
        run(
            "fsverity",
            [
                "sign",
                text(&object)?,
                text(&signed.join(format!("{name}.sig")))?,
                &format!("--key={}", context.file("builder.key")),
                &format!("--cert={}", context.file("builder.crt")),
            ],
        )?;
    }
    let cert = context.file("builder.crt");
    context.builder(&["sign", "app", "--signed", dir, "--cert", &cert])?;
    let _ = fs::remove_dir_all(context.work.join("given"));
    context.builder(&["push", "app", &context.given()])?;
    context.boot(&["builder"])?;
    context.get("builder")?;
    context.is_mounted()
}

/// A key follows another: for a while images are signed by both, and either suffices. Then the old
/// one is trusted no more.
fn rolled_over(context: &Context) -> Result<()> {
    context.give("app", &["builder"], &[])?;
    context.boot(&["builder"])?;
    context.get("builder")?;
    context.is_mounted()?;
    let old = context.work.join("old");
    let _ = fs::remove_dir_all(&old);
    fs::rename(context.work.join("machine"), &old)?;
    // Signed by both, for machines of either kind.
    context.give("app", &["builder", "next"], &[])?;
    for trusted in ["builder", "next"] {
        context.boot(&[trusted])?;
        context.get(trusted)?;
        context.is_mounted()?;
    }
    // Of the several that the builder has, the one that the kernel takes is found.
    for trusted in ["builder", "next"] {
        context.boot(&[trusted])?;
        let (from, machine) = (context.work.join("builder"), context.work.join("machine"));
        fs::rename(&machine, context.work.join("aside"))?;
        fs::rename(&from, &machine)?;
        context.is_mounted()?;
        fs::rename(&machine, &from)?;
        fs::rename(context.work.join("aside"), &machine)?;
    }
    // What was signed by the old one only is mounted no more.
    context.boot(&["next"])?;
    let machine = context.work.join("machine");
    fs::remove_dir_all(&machine)?;
    fs::rename(&old, &machine)?;
    context.is_refused(&["not trusted"])
}

/// A key that is taken out of the keyring, which nobody can add to, is trusted no more.
fn revoked(context: &Context) -> Result<()> {
    context.give("app", &["builder"], &[])?;
    context.boot(&["builder"])?;
    context.get("builder")?;
    context.is_mounted()?;
    let listed = run("keyctl", ["list", KEYRING])?;
    let key = listed.lines().find(|line| line.contains("builder"));
    let key = key.and_then(|line| line.split(':').next());
    run("keyctl", ["unlink", key.context("key")?.trim(), KEYRING])?;
    context.is_refused(&["not trusted"])
}

/// Without the driver's help nothing is pretended.
fn said_and_refused(context: &Context) -> Result<()> {
    reload_module(&[])?;
    context.give("app", &["builder"], &[])?;
    let target = context.target();
    let mount = ["mount", "app", text(&target)?];
    // The builder's kernel knows no key; whoever wants it mounted anyway says so.
    expect_refusal(&mut context.command("builder", &mount), &["not trusted"])?;
    context.builder(&[&mount[..1], &["--no-signature"], &mount[1..]].concat())?;
    Mount::adopt(&target).unmount()
}

const CASES: &[Case<Context>] = &[
    ("from the builder to the kernel", |context| chain(context)),
    ("what is not signed is not mounted", |context| {
        unsigned(context)
    }),
    ("nor is another image", |context| exchanged(context)),
    ("fsverity signs as well", |context| by_fsverity(context)),
    ("a key follows another", |context| rolled_over(context)),
    ("a key is revoked", |context| revoked(context)),
    ("who does without says so", |context| {
        said_and_refused(context)
    }),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
