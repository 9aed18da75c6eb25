// SPDX-License-Identifier: GPL-2.0-only
//! The whole way: a builder signs and pushes; a machine whose kernel mounts nothing else, and trusts one
//! key for good, pulls, fetches an update from mirrors of which one lies, mounts and runs it. Each link
//! is tampered with, and where that is stopped is shown.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::command::{capture, expect_refusal, failure, output, run};
use composefs_selftests::containers::{text, Containers};
use composefs_selftests::mount::Mount;
use composefs_selftests::mountinfo::mountinfo;
use composefs_selftests::nginx::Nginx;
use composefs_selftests::one_layer::{self, By};
use composefs_selftests::policy::turn_on;
use composefs_selftests::registry::{Demands, Registry};
use composefs_selftests::repository::Repository;
use composefs_selftests::setup;
use composefs_selftests::signing::{add_key, reload_module, Pki, KEYRING, QUICK};
use composefs_selftests::tap::{self, note, Case};

const PLAIN: &str = "--tls-verify=false";
const SAMES: usize = 20;

struct Context {
    // In this order they go.
    registry: Registry,
    honest: Nginx,
    liar: Nginx,
    _containers: Containers,
    work: PathBuf,
    pki: Pki,
    /// The digests of both versions.
    digests: [String; 2],
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::require_module()?;
    let work = setup::work_directory("chain")?;
    let containers = Containers::set_up(&work)?;
    let pki = Pki::new(&work.join("pki"))?;
    for name in ["first", "second"] {
        pki.certificate(name, QUICK, "")?;
    }
    let registry = Registry::start(
        &containers,
        &work.join("registry"),
        5000,
        &Demands::default(),
    )?;
    let builder = Repository::at(&work.join("builder"));
    // The first by the key that is revoked later.
    let digests = [
        build(&builder, &work, &pki, ("v1", "first"))?,
        build(&builder, &work, &pki, ("v2", "second"))?,
    ];
    for version in ["v1", "v2"] {
        builder.run(&[
            "push",
            PLAIN,
            version,
            &registry.image(&format!("app:{version}")),
        ])?;
    }
    let export = work.join("export");
    builder.run(&["export", text(&export)?, "v1"])?;
    builder.run(&["export", text(&export)?, "v2"])?;
    let mirror = work.join("mirror");
    run("cp", [Path::new("-aT"), &export, &mirror])?;
    lie(&mirror)?;
    let serve = |name: &str, port, root: &Path| {
        Nginx::start(&containers, &work.join(name), port, root, None)
    };
    Ok(Context {
        honest: serve("honest", 8080, &export)?,
        liar: serve("liar", 8081, &mirror)?,
        registry,
        _containers: containers,
        work,
        pki,
        digests,
    })
}

/// Builds an image with a program in it, and signs it; its digest.
fn build(
    builder: &Repository,
    work: &Path,
    pki: &Pki,
    (version, signer): (&str, &str),
) -> Result<String> {
    let tree = work.join(format!("{version}-tree"));
    fs::create_dir_all(tree.join("usr/bin"))?;
    fs::copy("/usr/bin/cat", tree.join("usr/bin/cat"))?;
    fs::write(tree.join("usr/version"), version.repeat(100))?;
    for same in 0..SAMES {
        let content = format!("the same in both, {same}").repeat(100);
        fs::write(tree.join(format!("usr/same-{same}")), content)?;
    }
    let image = work.join(format!("{version}-image"));
    one_layer::make(&image, &tree, By::Gzip)?;
    builder.run(&["pull", &format!("oci:{}", text(&image)?), version])?;
    let key = pki.path(&format!("{signer}.key"));
    let cert = pki.path(&format!("{signer}.crt"));
    let sign = [
        "sign",
        version,
        "--key",
        text(&key)?,
        "--cert",
        text(&cert)?,
    ];
    builder.run(&sign)?;
    builder.run(&["digest", version])
}

/// Changes all packs of a mirror.
fn lie(mirror: &Path) -> Result<()> {
    for entry in fs::read_dir(mirror.join("packs"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "pack") {
            change(&path)?;
        }
    }
    Ok(())
}

/// Flips a bit in the middle of a file.
fn change(path: &Path) -> Result<()> {
    let mut content = fs::read(path)?;
    let middle = content.len() / 2;
    *content.get_mut(middle).context("it is empty")? ^= 1;
    Ok(fs::write(path, content)?)
}

impl Drop for Context {
    fn drop(&mut self) {
        // Other programs mount what nobody signed.
        let _ = reload_module(&[]);
    }
}

impl Context {
    fn machine(&self) -> Repository {
        Repository::at(&self.work.join("machine"))
    }

    fn forget(&self) -> Result<()> {
        let path = self.work.join("machine");
        match path.exists() {
            true => Ok(fs::remove_dir_all(path)?),
            false => Ok(()),
        }
    }

    fn cert(&self, signer: &str) -> String {
        self.pki
            .path(&format!("{signer}.crt"))
            .display()
            .to_string()
    }

    /// The module anew, with a keyring of these that nobody can add to, and nothing else is mounted.
    fn boot(&self, trusted: &[&str]) -> Result<()> {
        reload_module(&[])?;
        for name in trusted {
            add_key(&self.pki.path(&format!("{name}.der")))?;
        }
        run("keyctl", ["restrict_keyring", KEYRING])?;
        turn_on()
    }

    fn pull(&self, version: &str, trusted: &str) -> Command {
        let cert = self.cert(trusted);
        let from = self.registry.image(&format!("app:{version}"));
        let more = ["--require-signature", "--cert", &cert];
        let pull = [&["pull", PLAIN], &more[..], &[&from, "app"]].concat();
        self.machine().command(&pull)
    }

    /// What whoever wants an update has got, from anybody: the image and its signature.
    fn given(&self, version: usize) -> [PathBuf; 2] {
        let images = self.work.join("export/images");
        ["cfs", "sig"].map(|end| images.join(format!("{}.{end}", self.digests[version])))
    }

    fn fetch(&self, [image, signature]: &[PathBuf; 2], sources: &[&str]) -> Result<Command> {
        let cert = self.cert("second");
        let mut fetch = vec![
            "fetch",
            text(image)?,
            "app",
            "--signature",
            text(signature)?,
        ];
        fetch.extend(["--cert", &cert]);
        fetch.extend(sources.iter().flat_map(|source| ["--from", source]));
        Ok(self.machine().command(&fetch))
    }

    fn mount(&self) -> Result<Command> {
        let target = self.work.join("mount");
        setup::create_dir(&target)?;
        Ok(self.machine().command(&["mount", "app", text(&target)?]))
    }

    /// It is mounted with a signature, and a program of it says which version it is.
    fn runs(&self, version: &str) -> Result<()> {
        output(&mut self.mount()?)?;
        let mount = Mount::adopt(&self.work.join("mount"));
        let (kind, _, options) = mountinfo(mount.root())?;
        ensure!(
            kind == "composefs" && options.contains("signature"),
            "{kind}: {options}"
        );
        let said = run(mount.join("usr/bin/cat"), [mount.join("usr/version")])?;
        ensure!(said == version.repeat(100), "{said}");
        mount.unmount()
    }

    fn is_not_mounted(&self, words: &[&str]) -> Result<()> {
        expect_refusal(&mut self.mount()?, words)
    }

    /// Nothing is there under a name.
    fn has_nothing(&self) -> Result<()> {
        let listed = self.machine().run(&["images"])?;
        ensure!(!listed.contains("app"), "{listed}");
        self.machine().run(&["fsck", "--contents"]).map(drop)
    }
}

/// From the builder by the registry to the kernel.
fn pulled(context: &Context) -> Result<()> {
    context.forget()?;
    context.boot(&["first", "second"])?;
    output(&mut context.pull("v1", "first"))?;
    context.runs("v1")
}

/// The next version: what is new, from a mirror that is honest, though another is asked as well.
fn updated(context: &Context) -> Result<()> {
    let given = context.given(1);
    let sources = [context.liar.address(), context.honest.address()];
    let mut dry = context.fetch(&given, &sources)?;
    let said = output(dry.arg("--dry-run"))?;
    let missing: usize = said.split(' ').next().context("nothing said")?.parse()?;
    ensure!((1..SAMES).contains(&missing), "{said}");
    let said = failure(&mut context.fetch(&given, &[context.liar.address()])?)?;
    ensure!(said.contains("is not asked again"), "{said}");
    context.runs("v1")?;
    output(&mut context.fetch(&given, &sources)?)?;
    context.runs("v2")
}

/// What nobody signed is refused by the pull, and by the kernel whoever pulls it.
fn unsigned(context: &Context) -> Result<()> {
    context.forget()?;
    context.boot(&["second"])?;
    let image = format!("oci:{}", context.work.join("v2-image").display());
    let pull = |more: &[&str]| {
        let pull = [&["pull"], more, &[&image, "app"]].concat();
        context.machine().command(&pull)
    };
    let cert = context.cert("second");
    expect_refusal(
        &mut pull(&["--require-signature", "--cert", &cert]),
        &["it is not signed"],
    )?;
    context.has_nothing()?;
    output(&mut pull(&[]))?;
    context.is_not_mounted(&["require_signatures"])
}

/// The version before, by a key that is trusted no more.
fn revoked(context: &Context) -> Result<()> {
    context.forget()?;
    context.boot(&["second"])?;
    expect_refusal(
        &mut context.pull("v1", "second"),
        &["not signed by anybody"],
    )?;
    context.has_nothing()?;
    // Nor does the kernel take it, whatever the tools were told.
    output(&mut context.pull("v1", "first"))?;
    context.is_not_mounted(&["not trusted"])?;
    output(&mut context.pull("v2", "second"))?;
    context.runs("v2")
}

/// What the registry has: each of the manifests, configurations, layers and signatures.
fn registry_tampered_with(context: &Context) -> Result<()> {
    context.boot(&["second"])?;
    let blobs = context
        .work
        .join("registry/blobs/docker/registry/v2/blobs/sha256");
    let blobs = run("find", [&blobs, Path::new("-name"), Path::new("data")])?;
    let (mut refused, mut of_others) = (0, 0);
    for path in blobs.lines().map(Path::new) {
        let kept = fs::read(path)?;
        change(path)?;
        context.forget()?;
        let pulled = capture(&mut context.pull("v2", "second"))?;
        fs::write(path, kept)?;
        if pulled.status.success() {
            let digest = context.machine().run(&["digest", "app"])?;
            ensure!(digest == context.digests[1], "{}", path.display());
            context.machine().run(&["fsck", "--contents"])?;
            of_others += 1;
            continue;
        }
        let said = String::from_utf8_lossy(&pulled.stderr).into_owned();
        ensure!(said.lines().count() == 1, "{said}");
        context.has_nothing()?;
        refused += 1;
    }
    note(format_args!(
        "{refused} refused, {of_others} of the other version"
    ));
    // A manifest, a configuration and a layer, an artifact's manifest, three signatures.
    ensure!(refused >= 7, "only {refused} were refused");
    // All of it is another's, who signs as well.
    context.forget()?;
    expect_refusal(
        &mut context.pull("v1", "second"),
        &["not signed by anybody"],
    )
}

/// What was given: the image, its signature, and all mirrors.
fn mirrors_tampered_with(context: &Context) -> Result<()> {
    context.boot(&["second"])?;
    context.forget()?;
    let honest = [context.honest.address()];
    let copies = ["image", "signature"].map(|name| context.work.join(name));
    for tampered in 0..2 {
        for (copy, given) in copies.iter().zip(context.given(1)) {
            fs::copy(given, copy)?;
        }
        change(&copies[tampered])?;
        failure(&mut context.fetch(&copies, &honest)?)?;
        context.has_nothing()?;
    }
    // That of another version.
    let [image, _] = context.given(1);
    let [_, other] = context.given(0);
    expect_refusal(
        &mut context.fetch(&[image, other], &honest)?,
        &["does not vouch for"],
    )?;
    context.has_nothing()
}

/// What the machine has, by whoever may write to its disk: the signature, the image, an object.
fn machine_tampered_with(context: &Context) -> Result<()> {
    context.boot(&["second"])?;
    let object = |digest: &str| {
        let (head, tail) = digest.split_at(2);
        context.work.join("machine/objects").join(head).join(tail)
    };
    let again = || {
        context.forget()?;
        output(&mut context.fetch(&context.given(1), &[context.honest.address()])?)?;
        context.runs("v2")
    };
    // What has fs-verity cannot be changed: another file is put in its place.
    let exchange = |path: &Path| {
        let content = fs::read(path)?;
        fs::remove_file(path)?;
        fs::write(path, content)?;
        change(path)
    };
    again()?;
    let [_, other] = context.given(0);
    let kept = context
        .work
        .join("machine/signatures")
        .join(&context.digests[1]);
    fs::remove_file(&kept)?;
    context.is_not_mounted(&["require_signatures"])?;
    fs::copy(other, &kept)?;
    failure(&mut context.mount()?).context("with another's signature")?;

    again()?;
    exchange(&object(&context.digests[1]))?;
    failure(&mut context.mount()?).context("another image")?;

    again()?;
    output(&mut context.mount()?)?;
    let mount = Mount::adopt(&context.work.join("mount"));
    let digest = run(
        "fsverity",
        [Path::new("digest"), &mount.join("usr/version")],
    )?;
    let digest = digest
        .split([':', ' '])
        .nth(1)
        .context("digest")?
        .to_owned();
    mount.unmount()?;
    exchange(&object(&digest))?;
    setup::drop_caches()?;
    output(&mut context.mount()?)?;
    let mount = Mount::adopt(&context.work.join("mount"));
    let error = fs::read(mount.join("usr/version")).err();
    let errno = error.and_then(|error| error.raw_os_error());
    ensure!(errno == Some(5), "{errno:?}, not EIO");
    mount.unmount()
}

const CASES: &[Case<Context>] = &[
    ("pulled, mounted, run", |c| pulled(c)),
    ("updated from mirrors of which one lies", |c| updated(c)),
    ("what is not signed", |c| unsigned(c)),
    ("an older image, by a key that was revoked", |c| revoked(c)),
    ("a registry that was tampered with", |c| {
        registry_tampered_with(c)
    }),
    ("an image, a signature, a mirror that were", |c| {
        mirrors_tampered_with(c)
    }),
    ("a machine's disk that was", |c| machine_tampered_with(c)),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
