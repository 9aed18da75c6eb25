// SPDX-License-Identifier: GPL-2.0-only
//! Users who are not root have mounts from composefs-mountd: of what is signed, of what the
//! administrator lists, and of their own.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{ensure, Result};
use composefs_selftests::command::{as_user, output, run};
use composefs_selftests::image::{self, Image};
use composefs_selftests::mount_service::MountService;
use composefs_selftests::one_layer::{self, By};
use composefs_selftests::setup;
use composefs_selftests::signing::Pki;
use composefs_selftests::tap::{self, Case};

const MOUNT: &str = include_str!("../../python/mountd_mount.py");
const USER: u32 = 1000;
const NOTHING: &str = "-";

struct Context {
    service: MountService,
    work: PathBuf,
    image: Image,
    signature: PathBuf,
    listed: Image,
    target: PathBuf,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("mountd")?;
    let source = work.join("source");
    make_tree(&source)?;
    let image = image::build(&setup::mkcomposefs(), &source, &work.join("signed"), &[])?;
    fs::write(source.join("more"), "to be another image")?;
    let listed = image::build(&setup::mkcomposefs(), &source, &work.join("listed"), &[])?;
    let pki = Pki::of_signer(&work.join("pki"))?;
    let signature = pki.sign(&image.file, "signer", &[])?;
    let target = work.join("target");
    setup::create_dir(&target)?;
    let config = format!(
        "[grant]\ndigests = [\"{}\"]\n[limits]\nmounts-of-user = 5\ncalls-of-user = 3\n",
        listed.digest
    );
    Ok(Context {
        service: MountService::start(&work.join("service"), &config)?,
        work,
        image,
        signature,
        listed,
        target,
    })
}

/// What a user may make of root's files, or not.
fn make_tree(tree: &Path) -> Result<()> {
    setup::create_dir(tree)?;
    fs::write(tree.join("mine"), "m".repeat(8192))?;
    fs::write(tree.join("other"), "o".repeat(8192))?;
    chown(tree.join("other"), Some(7), Some(7))?;
    run(
        "mknod",
        [
            tree.join("device").to_str().unwrap_or_default(),
            "c",
            "1",
            "3",
        ],
    )?;
    run("chmod", [Path::new("666"), &tree.join("device")])?;
    let program = tree.join("id");
    fs::copy("/usr/bin/id", &program)?;
    fs::set_permissions(&program, PermissionsExt::from_mode(0o4755))?;
    for name in ["user.kept", "trusted.not", "security.not"] {
        let mine = tree.join("mine");
        let arguments = ["-n", name, "-v", "value"].map(Path::new);
        run("setfattr", [&arguments[..], &[&mine]].concat())?;
    }
    Ok(())
}

impl Context {
    /// Mounts an image as the user, who finds everything that `expected` says in it.
    fn mount(
        &mut self,
        image: &Image,
        signature: &Path,
        digest: &str,
        expected: &str,
    ) -> Result<()> {
        let arguments = [
            &image.file,
            &image.store,
            signature,
            &self.target,
            Path::new(digest),
        ];
        let said = self.service.call(USER, MOUNT, &arguments)?;
        ensure!(said == expected, "{said}");
        self.service.expect_alive()
    }

    fn expect_journal(&self, words: &str) -> Result<()> {
        let journal = self.service.journal()?;
        let last = journal.lines().last().unwrap_or_default();
        ensure!(last.contains(words), "{last}");
        Ok(())
    }
}

/// Those of the image, as far as the user has them: there is one, which is root's.
const IMAGES_OWNERS: &str = "owner 0 0\nother 65534\nxattrs security.not user.kept";

fn signed(context: &mut Context) -> Result<()> {
    let (image, signature) = (context.image.clone(), context.signature.clone());
    context.mount(&image, &signature, NOTHING, IMAGES_OWNERS)?;
    context.expect_journal("with a signature")?;
    context.mount(&image, &signature, &image.digest, IMAGES_OWNERS)
}

fn listed(context: &mut Context) -> Result<()> {
    let listed = context.listed.clone();
    context.mount(&listed, Path::new(NOTHING), &listed.digest, IMAGES_OWNERS)?;
    context.expect_journal(&format!("with the listed digest {}", listed.digest))
}

/// Whatever the image says, the user is the owner, and nothing has a label that is for the kernel.
fn own(context: &mut Context) -> Result<()> {
    let image = context.image.clone();
    let all = "owner 0 0\nother 0\nxattrs user.kept";
    context.mount(&image, Path::new(NOTHING), NOTHING, all)?;
    context.expect_journal("made anew")?;
    context.mount(&image, Path::new(NOTHING), &image.digest, all)
}

/// By the command, which finds the service by itself.
fn by_command(context: &mut Context) -> Result<()> {
    let home = context.work.join("home");
    setup::create_dir(&home)?;
    let layer = home.join("layer");
    setup::create_dir(&layer.join("usr"))?;
    fs::write(layer.join("usr/mine"), "m".repeat(8192))?;
    let image = home.join("image");
    one_layer::make(&image, &layer, By::Nothing)?;
    let script = "set -e
        composefs pull oci:image image
        mkdir target upper
        ! composefs mount image target 2>said
        grep -q 'unshare --user --map-root-user --mount' said
        unshare --user --map-root-user --mount sh -ec '
            composefs mount image target
            test $(stat -c %u target/usr/mine) = 0
            ! touch target/new
            composefs umount target
            composefs mount image target --writable upper
            echo new >target/new
            echo more >>target/usr/mine
            test $(stat -c %s target/usr/mine) = 8197
            composefs umount target
            composefs mount image target
            ! test -e target/new
        '
        test $(stat -c %u upper/upper/new) = 1000";
    run("chown", [Path::new("-R"), Path::new("1000:1000"), &home])?;
    let path = format!("{}:/usr/bin:/bin", setup::payload().join("bin").display());
    output(
        as_user(USER, &["sh", "-c", script])
            .current_dir(&home)
            .env("HOME", &home)
            .env("PATH", path)
            .env("COMPOSEFS_MOUNT_SERVICE", context.service.socket()),
    )?;
    context.service.expect_alive()
}

/// Neither sees what the other has, or can change it.
fn two_users(context: &mut Context) -> Result<()> {
    let one = r#"
image, store, signature, target = argument[1:]
mount = granted(ask(read_only(image), [read_only(store)], become_root(), read_only(signature)))
attach(mount, target)
print(os.getpid(), flush=True)
sys.stdin.readline()
assert open(target + "/mine").read(1) == "m"
"#;
    let other = r#"
first, target = argument[1:]
assert not os.path.exists(target + "/mine")
for name in "root", "cwd", "ns/mnt", "ns/user":
    fails(errno.EACCES, os.readlink, "/proc/%s/%s" % (first, name))
fails(errno.EACCES, os.listdir, "/proc/%s/fd" % first)
fails(errno.EPERM, os.kill, int(first), signal.SIGKILL)
"#;
    let arguments = [
        &context.image.file,
        &context.image.store,
        &context.signature,
        &context.target,
    ];
    let arguments = arguments.map(PathBuf::as_path);
    let mut first = context.service.start_call(USER, one, &arguments)?;
    let pid = first.line()?;
    let arguments = [Path::new(&pid), &context.target];
    context.service.call(USER + 1, other, &arguments)?;
    first.finish()
}

const CASES: &[Case<Context>] = &[
    ("a signed image", signed),
    ("an image that is listed", listed),
    ("an image of the user's own", own),
    (
        "by the command, also with a layer that can be written to",
        by_command,
    ),
    ("two users", two_users),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
