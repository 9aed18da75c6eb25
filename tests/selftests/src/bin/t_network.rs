// SPDX-License-Identifier: GPL-2.0-only
//! An image and objects on a filesystem that may keep one waiting: NFS, whose server stops.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::basic_tree::{self, content};
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::image::{build, Image};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::nfs::{wait_until_blocked, Server};
use composefs_selftests::tap::{self, Case};
use composefs_selftests::{memory, setup, tree};
use rustix::io::Errno;

struct Context {
    work: PathBuf,
    image: Image,
    /// Dropped in this order.
    mount: Option<Mount>,
    client: Option<Mount>,
    server: Server,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("network")?;
    let source = work.join("source");
    basic_tree::create(&source)?;
    let served = work.join("served");
    let image = build(&setup::mkcomposefs(), &source, &served, &[])?;
    let server = Server::start(&served, "ro")?;
    let client = Some(server.mount(&work.join("client"), "ro,hard,timeo=10")?);
    Ok(Context {
        image: Image {
            file: work.join("client/image"),
            store: work.join("client/store"),
            ..image
        },
        work,
        mount: None,
        client,
        server,
    })
}

/// There is no fs-verity over NFS: what asks for it is refused, and says so.
fn without_verity(context: &mut Context) -> Result<()> {
    let target = context.work.join("mount");
    let refusal = context.image.request().at(&target).err();
    let refusal = refusal.context("digest= is accepted over NFS")?;
    ensure!(refusal.errno == Errno::BADMSG, "{refusal}");
    ensure!(
        refusal.message().is_some_and(|m| m.contains("fs-verity")),
        "{refusal}"
    );
    let request = Request::new(&context.image.file).basedir(&context.image.store);
    let refusal = request.clone().set("verity", "on").at(&target).err();
    let refusal = refusal.context("verity=on is accepted over NFS")?;
    ensure!(refusal.errno == Errno::OPNOTSUPP, "{refusal}");

    let mount = request.set("verity", "off").at(&target)?;
    let expected = tree::read(&context.work.join("source"))?;
    expect_equal(&expected, &tree::read(mount.root())?, Links::Ignore)?;
    basic_tree::expect_content(mount.root(), "external-1m")?;
    context.mount = Some(mount);
    Ok(())
}

/// Whoever waits for the server in open(2) or read(2) can be killed; who comes later is served when
/// the server is there again.
fn killed_while_waiting(context: &mut Context) -> Result<()> {
    let root = context.mount.as_ref().context("not mounted")?.root();
    // One file has been opened before, so that there is nothing to look up for it.
    let known = root.join("external-65537");
    fs::read(&known)?;
    let unknown = root.join("external-4097");
    setup::drop_caches()?;
    let _open = fs::File::open(&known)?;
    context.server.stop()?;

    for path in [&unknown, &known] {
        let mut reader = Reader::start(path)?;
        wait_until_blocked(&PathBuf::from(format!("/proc/{}", reader.child.id())))?;
        reader.child.kill()?;
        // It would wait for the server, if it could not be killed: the test would not end.
        let status = reader.child.wait()?;
        ensure!(!status.success(), "{}: it has read", path.display());
    }
    context.server.restart()?;
    for path in [&unknown, &known] {
        let name = path.file_name().context("name")?.to_string_lossy();
        ensure!(fs::read(path)? == content(&name), "{name} differs");
    }
    Ok(())
}

/// A process that reads a file when it is told to.
struct Reader {
    child: Child,
}

impl Reader {
    fn start(path: &std::path::Path) -> Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", "echo ready; read go; exec cat \"$0\""])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut ready = [0; 6];
        let stdout = child.stdout.as_mut().context("stdout")?;
        stdout.read_exact(&mut ready)?;
        child.stdin.take().context("stdin")?.write_all(b"go\n")?;
        Ok(Self { child })
    }
}

fn unmounted(context: &mut Context) -> Result<()> {
    context.mount.take().context("not mounted")?.unmount()?;
    context.client.take().context("not mounted")?.unmount()?;
    memory::no_inodes()
}

const CASES: &[Case<Context>] = &[
    ("an image and objects on NFS", without_verity),
    ("waiting for the server can be killed", killed_while_waiting),
    ("all of it can be unmounted", unmounted),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
