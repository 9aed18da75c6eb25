// SPDX-License-Identifier: GPL-2.0-only
//! Debian's docker-registry, filled by skopeo, and `composefs pull` from it: plain, with TLS by
//! authorities that are known in different ways or not at all, with users and passwords, and by
//! mirrors.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::command::{capture, expect_refusal, output, run};
use composefs_selftests::containers::{text, Containers};
use composefs_selftests::lazy::FetchService;
use composefs_selftests::lazy_image::objects;
use composefs_selftests::oci_image::{archive, OciImage, PAX};
use composefs_selftests::registry::{make_certificates, Demands, Registry};
use composefs_selftests::repository::Repository;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};

const PLAIN: u16 = 5000;
const SECURE: u16 = 5001;
/// Nobody listens there.
const SILENT: u16 = 5009;
/// What `htpasswd -nbB user right` prints.
const USERS: &str = "user:$2b$04$abcdefghijklmnopqrstuuFmEfrkTQnczNzw475xE2VhDrK1uwJiC\n";
const MIRRORS: &str = "/etc/containers/registries.conf.d/mirrors.conf";
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

struct Context {
    // In this order they go.
    plain: Registry,
    secure: Registry,
    containers: Containers,
    work: PathBuf,
    image: String,
    /// The digest of the image.
    digest: String,
}

fn set_up() -> Result<Context> {
    let work = setup::work_directory("registry")?;
    let containers = Containers::set_up(&work)?;
    let image = make_image(&containers, &work)?;
    make_certificates(&work, "ours")?;
    make_certificates(&work, "other")?;
    fs::write(work.join("users"), USERS)?;
    let plain = Registry::start(&containers, &work.join("plain"), PLAIN, &Demands::default())?;
    let demands = Demands {
        certificate: Some((work.join("ours-server.crt"), work.join("ours-server.key"))),
        users: Some(work.join("users")),
    };
    let secure = Registry::start(&containers, &work.join("secure"), SECURE, &demands)?;
    for (registry, more) in [(&plain, None), (&secure, Some("--dest-creds=user:right"))] {
        let to = registry.image("team/image:tag");
        let fixed = ["copy", "--quiet", "--dest-tls-verify=false", &image, &to];
        let mut copy = containers.command("skopeo");
        output(copy.args(fixed).args(more))?;
    }
    let repository = Repository::at(&work.join("reference"));
    Ok(Context {
        digest: repository.pull(&containers, &image, "image")?,
        plain,
        secure,
        containers,
        work,
        image,
    })
}

/// An image of two layers.
fn make_image(containers: &Containers, work: &Path) -> Result<String> {
    let image = OciImage::new(containers, &work.join("image"))?;
    for layer in ["one", "two"] {
        let tree = work.join(layer);
        setup::create_dir(&tree.join("usr"))?;
        fs::write(tree.join("usr").join(layer), layer.repeat(5000))?;
        fs::write(tree.join("usr/both"), layer)?;
        let file = work.join("layer.tar");
        archive(&tree, &file, PAX)?;
        image.add(&file)?;
    }
    image.reference()
}

impl Context {
    /// A pull into a repository that has nothing.
    fn pull(&self, from: &str, more: &[&str]) -> Result<Command> {
        let path = self.work.join("store");
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        let repository = Repository::at(&path);
        repository.run(&["init"])?;
        let mut command = repository.command(&[&["pull"], more, &[from, "image"]].concat());
        self.containers.give(&mut command);
        Ok(command)
    }

    fn expect(&self, mut pull: Command) -> Result<()> {
        output(&mut pull)?;
        let repository = Repository::at(&self.work.join("store"));
        let digest = repository.run(&["digest", "image"])?;
        ensure!(digest == self.digest, "{digest}, not {}", self.digest);
        repository.run(&["fsck", "--contents"]).map(drop)
    }

    /// It is refused, and nothing is there.
    fn refused(&self, mut pull: Command, words: &[&str]) -> Result<()> {
        expect_refusal(&mut pull, words)?;
        let repository = Repository::at(&self.work.join("store"));
        let left = repository.run(&["fsck"])?;
        ensure!(left.starts_with("0 objects, 0 streams, 0 images"), "{left}");
        Ok(())
    }

    fn secure(&self) -> String {
        self.secure.image("team/image:tag")
    }

    /// Where an authority for a registry is looked for.
    fn authorities(&self) -> PathBuf {
        Path::new("/etc/containers/certs.d").join(self.secure.address())
    }

    fn trust(&self, name: &str) -> Result<()> {
        setup::create_dir(&self.authorities())?;
        let certificate = self.work.join(name).with_extension("crt");
        fs::copy(certificate, self.authorities().join("ca.crt"))?;
        Ok(())
    }

    /// Who says that they are this user.
    fn as_user(&self, mut command: Command, user_and_password: &str) -> Result<Command> {
        let path = self.work.join("auth.json");
        let script = "import base64, sys; print(base64.b64encode(sys.argv[1].encode()).decode())";
        let coded = run("python3", ["-c", script, user_and_password])?;
        let host = self.secure.address();
        fs::write(
            &path,
            format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"{coded}\"}}}}}}"),
        )?;
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        command.env("REGISTRY_AUTH_FILE", &path);
        Ok(command)
    }
}

fn plain(context: &Context) -> Result<()> {
    let image = context.plain.image("team/image:tag");
    context.expect(context.pull(&image, &["--tls-verify=false"])?)?;
    // By its digest, too.
    let mut inspect = context.containers.command("skopeo");
    inspect.args(["inspect", "--tls-verify=false", "--format={{.Digest}}"]);
    let digest = output(inspect.arg(&image))?;
    let image = context.plain.image(&format!("team/image@{digest}"));
    context.expect(context.pull(&image, &["--tls-verify=false"])?)?;
    // Whoever does not say so is not spoken to without TLS.
    context.refused(context.pull(&image, &[])?, &[context.plain.address()])
}

/// What is not there is told from who is not there.
fn not_there(context: &Context) -> Result<()> {
    let image = context.plain.image("team/image:gone");
    context.refused(context.pull(&image, &["--tls-verify=false"])?, &["404"])?;
    let image = context.plain.image("nobody/image:tag");
    context.refused(context.pull(&image, &["--tls-verify=false"])?, &["404"])
}

fn unknown_authority(context: &Context) -> Result<()> {
    let pull = || context.as_user(context.pull(&context.secure(), &[])?, "user:right");
    context.refused(pull()?, &[context.secure.address(), "certificate"])?;
    context.trust("other")?;
    context.refused(pull()?, &[context.secure.address(), "certificate"])?;
    fs::remove_dir_all(context.authorities())?;
    // Unless it does not matter.
    let pull = context.pull(&context.secure(), &["--tls-verify=false"])?;
    context.expect(context.as_user(pull, "user:right")?)
}

fn own_authority(context: &Context) -> Result<()> {
    context.trust("ours")?;
    let pull = context.pull(&context.secure(), &[])?;
    context.expect(context.as_user(pull, "user:right")?)?;
    // A certificate is for a name.
    let other = format!("docker://127.0.0.1:{SECURE}/team/image:tag");
    let directory = Path::new("/etc/containers/certs.d");
    let named = directory.join(format!("127.0.0.1:{SECURE}"));
    run("cp", [Path::new("-r"), &context.authorities(), &named])?;
    let pull = context.pull(&other, &[])?;
    context.refused(context.as_user(pull, "user:right")?, &["certificate"])?;
    fs::remove_dir_all(directory).context("certs.d")
}

/// One that all programs of the machine trust.
fn authority_of_the_system(context: &Context) -> Result<()> {
    let before = fs::read(BUNDLE)?;
    let more = fs::read(context.work.join("ours.crt"))?;
    fs::write(BUNDLE, [&before[..], &more].concat())?;
    let pull = context.pull(&context.secure(), &[])?;
    let result = context.expect(context.as_user(pull, "user:right")?);
    fs::write(BUNDLE, before)?;
    result
}

fn passwords(context: &Context) -> Result<()> {
    context.trust("ours")?;
    let host = context.secure.address();
    let pull = || context.pull(&context.secure(), &[]);
    let denied = [host, "access is denied"];
    context.refused(pull()?, &denied)?;
    context.refused(context.as_user(pull()?, "user:wrong")?, &denied)?;
    context.refused(context.as_user(pull()?, "nobody:right")?, &denied)?;
    context.expect(context.as_user(pull()?, "user:right")?)
}

/// What skopeo keeps of a user is what is used.
fn login(context: &Context) -> Result<()> {
    let host = context.secure.address();
    let certificates = context.authorities();
    let login = |password: &str| -> Result<Command> {
        let mut login = context.containers.command("skopeo");
        login.args(["login", "--username=user", "--password", password]);
        login.args(["--cert-dir", text(&certificates)?, host]);
        Ok(login)
    };
    let refused = capture(&mut login("wrong")?)?;
    ensure!(!refused.status.success(), "skopeo logs in by any password");
    output(&mut login("right")?)?;
    let result = context.expect(context.pull(&context.secure(), &[])?);
    let mut logout = context.containers.command("skopeo");
    output(logout.args(["logout", host]))?;
    result?;
    context.refused(context.pull(&context.secure(), &[])?, &["access is denied"])
}

/// A registry that is not to be reached has a mirror; and one whose mirror is not to be reached, or
/// has not got the image, is asked itself.
fn mirrors(context: &Context) -> Result<()> {
    context.trust("ours")?;
    setup::create_dir(Path::new("/etc/containers/registries.conf.d"))?;
    let (plain, secure) = (context.plain.address(), context.secure.address());
    for (location, mirror) in [
        (format!("localhost:{SILENT}/x"), format!("{plain}/team")),
        (format!("{secure}/team"), format!("localhost:{SILENT}/team")),
        (format!("{secure}/team"), format!("{plain}/nobody")),
    ] {
        let insecure = mirror.starts_with(plain);
        let text = format!(
            "[[registry]]\nprefix = \"registry.example/a\"\nlocation = \"{location}\"\n\
             [[registry.mirror]]\nlocation = \"{mirror}\"\ninsecure = {insecure}\n"
        );
        fs::write(MIRRORS, text)?;
        let pull = context.pull("docker://registry.example/a/image:tag", &[])?;
        let pull = context.as_user(pull, "user:right")?;
        context.expect(pull).with_context(|| mirror)?;
    }
    fs::write(
        MIRRORS,
        "[[registry]]\nprefix = \"registry.example\"\nblocked = true\n",
    )?;
    let pull = context.pull("docker://registry.example/a/image:tag", &[])?;
    context.refused(pull, &["blocked"])?;
    Ok(fs::remove_file(MIRRORS)?)
}

/// What is known already is not asked for, whoever has it.
fn registry_goes(context: &mut Context) -> Result<()> {
    let repository = Repository::at(&context.work.join("store"));
    context.expect(context.pull(&context.image, &[])?)?;
    fs::remove_dir_all(context.work.join("plain/blobs"))?;
    let image = context.plain.image("team/image:tag");
    let pull = repository.command(&["pull", "--tls-verify=false", &image, "again"]);
    let mut pull = pull;
    expect_refusal(&mut pull, &["404"])?;
    repository.run(&["fsck", "--contents"]).map(drop)
}

/// Objects that come with their layers when they are opened.
fn on_first_open(context: &mut Context) -> Result<()> {
    setup::load_module()?;
    setup::modprobe("fuse")?;
    let (directory, name) = context.digest.split_at_checked(2).context("a digest")?;
    let image = context.work.join("reference/objects").join(directory);
    let (image, from) = (image.join(name), context.plain.image("team/image:tag"));
    let repository = Repository::at(&context.work.join("lazy"));
    let known = ["fetch", text(&image)?, "image", "--digest", &context.digest];
    let lazily = ["--lazy", "--tls-verify=false", "--from", &from];
    repository.run(&[&known[..], &lazily].concat())?;
    let service = FetchService::start(&context.work.join("service"))?;
    let target = context.work.join("mount");
    let mount = service.mount(&repository, "image", &target, &["--no-fill"])?;
    run("ls", [Path::new("-lR"), mount.root()])?;
    ensure!(objects(&repository)? == 0, "something was fetched");
    for (layer, count) in [("one", 2), ("two", 4)] {
        let content = fs::read_to_string(mount.join("usr").join(layer));
        let content = content.with_context(|| service.journal().unwrap_or_default())?;
        ensure!(content == layer.repeat(5000), "{layer} is something else");
        // The file, and what says what else is in the layer.
        let found = objects(&repository)?;
        ensure!(found == count, "{layer}: {found} objects");
    }
    mount.unmount()?;
    repository.run(&["fsck", "--contents"]).map(drop)
}

const CASES: &[Case<Context>] = &[
    ("without TLS, where that is asked for", |c| plain(c)),
    ("images that are not there", |c| not_there(c)),
    ("an authority that is not known", |c| unknown_authority(c)),
    ("an authority in certs.d", |c| own_authority(c)),
    ("an authority of the system", |c| authority_of_the_system(c)),
    ("users and passwords in auth.json", |c| passwords(c)),
    ("what skopeo login keeps", |c| login(c)),
    ("mirrors of registries.conf", |c| mirrors(c)),
    (
        "objects come with their layers on first open",
        on_first_open,
    ),
    ("a registry that loses an image", registry_goes),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
