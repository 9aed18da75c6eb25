// SPDX-License-Identifier: GPL-2.0-only
//! require_signatures, switched on while unsigned images are mounted and used: none of that is
//! served any more, on whatever path, and nobody has to wait.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::command::output;
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::nfs::{wait_until_blocked, Server};
use composefs_selftests::policy::{turn_on, Policy, FILE, PARAMETER};
use composefs_selftests::signing::reload_module;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::tasks;
use composefs_selftests::{python, setup, tree};
use rustix::io::Errno;

/// Tries everything on an unsigned mount while the parameter is switched on. Prints what failed
/// otherwise than with EKEYREJECTED, or did not. (A directory that is in use can still be opened or
/// entered; what is in it cannot be seen.)
const LOOK: &str = include_str!("../../python/ratchet.py");

fn mounted_before(context: &mut Policy) -> Result<()> {
    for digest in [false, true] {
        context.reload(&[])?;
        let request = match digest {
            true => context.image.request(),
            false => context.plain(),
        };
        let unsigned = request.at(&context.target())?;
        let signed = context.signed().at(&context.work.join("signed"))?;
        context.serves(unsigned.root())?;
        let arguments = [unsigned.root(), Path::new(PARAMETER), Path::new(FILE)];
        let printed = python::run(LOOK, &arguments)?;
        note(&printed);
        ensure!(printed.ends_with(", 0 not refused"), "{printed}");
        // What is signed is as it was.
        ensure!(
            tree::read(signed.root())?.len() > 10,
            "the signed mount is not whole"
        );
        context.serves(signed.root())?;
        setup::drop_caches()?;
        context.serves(signed.root())?;
        ensure!(context.serves(unsigned.root()).is_err(), "served");
        signed.unmount()?;
        unsigned.unmount()?;
    }
    Ok(())
}

/// By way of other mounts.
fn detours(context: &mut Policy) -> Result<()> {
    context.reload(&[])?;
    setup::modprobe("overlay")?;
    let unsigned = context.plain().at(&context.target())?;
    let overlay = context.work.join("overlay");
    let bind = context.work.join("bind");
    let layer = context.work.join("layer");
    for directory in [&overlay, &bind, &layer] {
        setup::create_dir(directory)?;
    }
    let lower = format!("lowerdir={}:{}", layer.display(), unsigned.root().display());
    output(
        Command::new("mount")
            .args(["-t", "overlay", "-o", &lower, "overlay"])
            .arg(&overlay),
    )?;
    let overlay = Mount::adopt(&overlay);
    output(
        Command::new("mount")
            .arg("--bind")
            .arg(unsigned.root())
            .arg(&bind),
    )?;
    let bind = Mount::adopt(&bind);
    context.serves(overlay.root())?;
    context.serves(bind.root())?;
    turn_on()?;
    for root in [overlay.root(), bind.root()] {
        for file in [FILE, "inline-64", "external-8192"] {
            let read = fs::read(root.join(file));
            ensure!(read.is_err(), "{} was served", root.join(file).display());
        }
        setup::drop_caches()?;
        ensure!(fs::read(root.join(FILE)).is_err(), "served after all");
    }
    bind.unmount()?;
    overlay.unmount()?;
    unsigned.unmount()
}

/// What is taken for a signature is read while the mount is in progress, and the ratchet waits for
/// mounts in progress: not for one that reads the parameter.
fn parameter_as_signature(context: &mut Policy) -> Result<()> {
    context.reload(&["require_signatures=1"])?;
    let request = context.plain().set("signature", PARAMETER);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<usize> {
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                turn_on()?;
                count += 1;
            }
            Ok(count)
        });
        let result =
            (0..300).try_for_each(|_| context.is_refused(&request, Errno::BADMSG, "PKCS#7"));
        done.store(true, Ordering::Relaxed);
        let count = tasks::join(writer)?;
        note(format_args!("written {count} times meanwhile"));
        result
    })
}

/// What has to be done in a moment.
fn at_once(what: &str, action: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || done.send(action()));
    match wait.recv_timeout(Duration::from_secs(30)) {
        Ok(result) => result.context(what.to_owned()),
        Err(_) => bail!("{what} does not end"),
    }
}

/// Image or store are on a server that does not answer while they are mounted.
fn waiting_for_a_server(context: &mut Policy) -> Result<()> {
    let served = context.work.join("served");
    setup::create_dir(&served.join("store"))?;
    let image = served.join("image");
    fs::copy(&context.image.file, &image)?;
    let mut server = Server::start(&served, "ro")?;
    let client = server.mount(&context.work.join("client"), "ro,hard,timeo=10")?;
    let remote_image = Request::new(&client.join("image")).basedir(&context.image.store);
    let remote_store = Request::new(&context.image.file).basedir(&client.join("store"));
    for request in [remote_image, remote_store] {
        context.reload(&[])?;
        fs::read(client.join("image"))?;
        setup::drop_caches()?;
        server.stop()?;
        std::thread::scope(|scope| {
            let (tell, number) = mpsc::channel();
            let (context, request) = (&*context, &request);
            let mounting = scope.spawn(move || {
                tell.send(rustix::thread::gettid().as_raw_nonzero())?;
                context.is_refused(request, Errno::KEYREJECTED, "require_signatures")
            });
            let task = format!("/proc/self/task/{}", number.recv()?);
            let result = wait_until_blocked(Path::new(&task)).and_then(|()| {
                at_once("sync", || {
                    rustix::fs::sync();
                    Ok(())
                })?;
                at_once("the parameter", turn_on)
            });
            // Whoever waits can go on.
            server.restart()?;
            let refused = tasks::join(mounting);
            result.and(refused)
        })?;
    }
    client.unmount()
}

const CASES: &[Case<Policy>] = &[
    (
        "what is mounted unsigned serves nothing any more",
        mounted_before,
    ),
    ("nor by way of bind mounts and overlays", detours),
    ("the parameter, read as a signature", parameter_as_signature),
    (
        "nobody waits for a mount that waits for a server",
        waiting_for_a_server,
    ),
];

fn main() -> ExitCode {
    let code = tap::run(|| Policy::set_up("ratchet"), CASES);
    // The next program starts with a module that nobody has told anything.
    let _ = reload_module(&[]);
    code
}
