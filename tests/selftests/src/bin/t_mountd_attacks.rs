// SPDX-License-Identifier: GPL-2.0-only
//! Users who want more from composefs-mountd than they may have, or want others to have less.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use composefs_selftests::command::{as_user, run};
use composefs_selftests::containers::text;
use composefs_selftests::image::{self, Image};
use composefs_selftests::mount_service::MountService;
use composefs_selftests::setup;
use composefs_selftests::signing::Pki;
use composefs_selftests::tap::{self, note, Case};

const USER: u32 = 1000;
const OTHER: u32 = 1001;
/// Nothing takes that long.
const LONG: Duration = Duration::from_secs(60);

struct Context {
    work: PathBuf,
    /// Signed, listed, and neither.
    images: [Image; 3],
    signature: PathBuf,
    strange: PathBuf,
    /// A directory of the user's.
    mine: PathBuf,
    target: PathBuf,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("mountd-attacks")?;
    let source = work.join("source");
    setup::create_dir(&source)?;
    fs::write(source.join("other"), "o".repeat(8192))?;
    let devices = source.join("devices");
    setup::create_dir(&devices)?;
    for (name, node) in [("null", "c 1 3"), ("mem", "c 1 1"), ("disk", "b 254 0")] {
        let path = devices.join(name);
        run(
            "mknod",
            [
                &[text(&path)?, "-m", "666"],
                &*node.split(' ').collect::<Vec<_>>(),
            ]
            .concat(),
        )?;
    }
    let make = |name: &str| {
        fs::write(source.join("mine"), name.repeat(1000))?;
        image::build(&setup::mkcomposefs(), &source, &work.join(name), &[])
    };
    let images = [make("signed")?, make("listed")?, make("neither")?];
    let pki = Pki::new(&work.join("pki"))?;
    for name in ["signer", "stranger"] {
        pki.certificate(name, composefs_selftests::signing::QUICK, "")?;
    }
    pki.trust_only(&["signer"])?;
    let sign = |name: &str| {
        let signature = work.join(format!("{name}.sig"));
        fs::copy(pki.sign(&images[0].file, name, &[])?, &signature)?;
        Ok::<_, anyhow::Error>(signature)
    };
    let (signature, strange) = (sign("signer")?, sign("stranger")?);
    let mine = work.join("mine");
    setup::create_dir(&mine)?;
    chown(&mine, Some(USER), Some(USER))?;
    let target = work.join("target");
    setup::create_dir(&target)?;
    Ok(Context {
        images,
        signature,
        strange,
        mine,
        target,
        work,
    })
}

impl Context {
    fn service(&self, config: &str) -> Result<MountService> {
        MountService::start(&self.work.join("service"), config)
    }

    /// Runs a script as the user, with a service that is still there afterwards.
    fn attack(&self, config: &str, script: &str, arguments: &[&Path]) -> Result<()> {
        let mut service = self.service(config)?;
        let said = service.call(USER, script, arguments)?;
        note(said);
        service.expect_alive()?;
        let journal = service.journal()?;
        ensure!(!journal.contains("panicked"), "{journal}");
        Ok(())
    }

    /// The image of the user's own, and its store.
    fn own(&self) -> [&Path; 2] {
        [&self.images[2].file, &self.images[2].store]
    }
}

fn policy(context: &mut Context) -> Result<()> {
    let [signed, listed, neither] = &context.images;
    let config = format!("[grant]\nown = false\ndigests = [\"{}\"]\n", listed.digest);
    let script = include_str!("../../python/mountd_policy.py");
    let arguments = [
        &signed.file,
        &signed.store,
        &context.signature,
        &context.strange,
        &listed.file,
        &listed.store,
        Path::new(&listed.digest),
        &neither.file,
        Path::new(&neither.digest),
    ];
    context.attack(&config, script, &arguments)
}

fn nothing_is_granted(context: &mut Context) -> Result<()> {
    let script = r#"
image, store, signature, digest = argument[1:]
image, stores, ours = read_only(image), [read_only(store)], namespace()
for more in {}, {"digest": digest}, {"signature": read_only(signature)}:
    refused(ask(image, stores, ours, **more), "NotPermitted")
"#;
    let signed = &context.images[0];
    let arguments = [
        &signed.file,
        &signed.store,
        &context.signature,
        Path::new(&signed.digest),
    ];
    context.attack("[grant]\nown = false\nsigned = false\n", script, &arguments)
}

/// Whoever has a mount may change its flags; nothing follows from that.
fn flags(context: &mut Context) -> Result<()> {
    let script = include_str!("../../python/mountd_flags.py");
    let signed = &context.images[0];
    for signature in [&*context.signature, Path::new("-")] {
        let arguments = [&*signed.file, &signed.store, signature, &context.target];
        context.attack("", script, &arguments)?;
    }
    Ok(())
}

fn descriptors(context: &mut Context) -> Result<()> {
    let secret = context.work.join("secret");
    fs::write(&secret, "root's")?;
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600))?;
    let script = include_str!("../../python/mountd_descriptors.py");
    let [image, store] = context.own();
    let arguments = [image, store, &context.mine, &secret, &context.work];
    context.attack("", script, &arguments)
}

/// The service could read the object, and the caller not.
fn objects_of_others(context: &mut Context) -> Result<()> {
    let own = &context.images[2];
    let object = own.object("neither".repeat(1000).as_bytes());
    let set = |mode| fs::set_permissions(&object, PermissionsExt::from_mode(mode));
    set(0o600)?;
    let [image, store] = context.own();
    let arguments = [image, store, &context.target, Path::new("mine")];
    let script = include_str!("../../python/mountd_secret.py");
    let result = context.attack("", script, &arguments);
    set(0o644)?;
    result
}

/// A process of another user's, in a user namespace of its own.
fn process_of_other() -> Result<Child> {
    let unshare = ["unshare", "--user", "--map-root-user"];
    let program = ["sh", "-c", "echo; exec sleep 1000"];
    let mut child = as_user(OTHER, &[&unshare[..], &program].concat());
    child.stdout(Stdio::piped());
    let mut child = child.spawn()?;
    let mut line = [0];
    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut line)?;
    Ok(child)
}

fn namespaces(context: &mut Context) -> Result<()> {
    let mut other = process_of_other()?;
    let namespace = fs::File::open(format!("/proc/{}/ns/user", other.id()));
    let result = namespace.map_err(Into::into).and_then(|namespace| {
        let mut service = context.service("")?;
        let script = include_str!("../../python/mountd_namespaces.py");
        service.call_with(USER, script, &context.own(), namespace)?;
        service.expect_alive()
    });
    other.kill()?;
    other.wait()?;
    result
}

fn protocol(context: &mut Context) -> Result<()> {
    let script = include_str!("../../python/mountd_protocol.py");
    context.attack("", script, &context.own())
}

fn limits(context: &mut Context) -> Result<()> {
    let script = include_str!("../../python/mountd_limits.py");
    let config = "[limits]\nmounts-of-user = 5\ncalls-of-user = 3\n";
    context.attack(config, script, &context.own())
}

fn changing(context: &mut Context) -> Result<()> {
    let script = include_str!("../../python/mountd_changing.py");
    let [image, store] = context.own();
    context.attack("", script, &[image, store, &context.mine])
}

/// What hangs is the one user's; another is served meanwhile, and the first again afterwards.
fn hanging(context: &mut Context) -> Result<()> {
    setup::modprobe("fuse")?;
    let mut service = context.service("[limits]\ncalls-of-user = 3\nseconds = 5\n")?;
    let [image, store] = context.own();
    let fuse = include_str!("../../python/mountd_fuse.py");
    let mut fuse = service.start_call(0, fuse, &[&context.target])?;
    fuse.expect_line("mounted")?;
    let script = include_str!("../../python/mountd_hanging.py");
    let hanging = context.target.join("image");
    let mut first = service.start_call(USER, script, &[&hanging, image, store])?;
    fuse.expect_line("read")?;
    first.expect_line("hangs")?;
    let other = "
image, stores = read_only(argument[1]), [read_only(argument[2])]
for _ in range(5):
    os.close(granted(ask(image, stores, namespace())))
";
    for _ in 0..3 {
        service.call(OTHER, other, &context.own())?;
    }
    let begin = Instant::now();
    while !service.journal()?.contains("took too long") {
        ensure!(begin.elapsed() < LONG, "the calls go on");
        std::thread::sleep(Duration::from_millis(100));
    }
    fuse.finish()?;
    first.finish()?;
    service.expect_alive()
}

/// A process that still has rights cannot be touched by who called it.
fn workers(context: &mut Context) -> Result<()> {
    let script = r#"
connection = connect()
say(connection, b" ")
def workers():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                words = file.read().split(b"\0")
            if words[0].endswith(b"composefs-mountd") and b"--worker" in words:
                yield int(pid)
        except OSError:
            pass
import time
for _ in range(500):
    found = list(workers())
    if found:
        break
    time.sleep(0.02)
assert len(found) == 1, found
pid = found[0]
ATTACH, SEIZE = 16, 0x4206
for kind in ATTACH, SEIZE:
    fails(errno.EPERM, call, "ptrace", kind, pid, 0, 0)
for number in signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM:
    try:
        os.kill(pid, number)
    except PermissionError:
        continue
    raise AssertionError("signal %d" % number)
for name in "mem", "environ", "maps", "fd", "root", "cwd":
    fails(errno.EACCES, os.listdir if name == "fd" else os.open, "/proc/%d/%s" % (pid, name),
          *(() if name == "fd" else (os.O_RDONLY,)))
"#;
    context.attack("", script, &[])
}

/// Wherever the service is killed, nobody has anything that they should not, and the next one serves.
fn killed(context: &mut Context) -> Result<()> {
    let script = r#"
image, stores, ours = read_only(argument[1]), [read_only(argument[2])], namespace()
connection = connect()
say(connection, PLAIN, [image, *stores, ours])
print("said", flush=True)
try:
    reply, fds = hear(connection)
    assert reply is None or "error" in reply or len(fds) == 1, reply
except ConnectionResetError:
    pass
"#;
    for wait in [0, 2, 5, 10, 20, 30, 40, 60, 80, 120] {
        let service = context.service("")?;
        let mut call = service.start_call(USER, script, &context.own())?;
        call.expect_line("said")?;
        std::thread::sleep(Duration::from_millis(wait));
        drop(service);
        call.finish()?;
    }
    let once =
        "os.close(granted(ask(read_only(argument[1]), [read_only(argument[2])], namespace())))";
    context.attack("", once, &context.own())?;
    // Nothing of them is left.
    let workers = run("sh", ["-c", "pgrep -c composefs-mount || true"])?;
    ensure!(workers.trim() == "0", "{workers} processes are left");
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("only what is signed or listed", policy),
    ("nothing, if so the administrator says", nothing_is_granted),
    ("a mount whose flags are taken away", flags),
    ("descriptors that are not what they should be", descriptors),
    ("objects that the caller may not read", objects_of_others),
    ("user namespaces of others", namespaces),
    ("what is no call", protocol),
    ("too much", limits),
    ("an image that changes meanwhile", changing),
    ("a file system that does not answer", hanging),
    ("workers are not their callers'", workers),
    ("the service is killed", killed),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
