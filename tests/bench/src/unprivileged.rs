// SPDX-License-Identifier: GPL-2.0-only
//! What users have who are not root: a mount that composefs-mountd made for them, and the FUSE server
//! of composefs-rs; and the same mount as root makes it, which is what mapping owners costs by itself.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use composefs_mount::detached::map_owners;
use composefs_mountd::client::{self, Request};
use composefs_selftests::mount_service::MountService;
use composefs_selftests::setup;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

use crate::detached;
use crate::meter::{all_of, count_server};
use crate::recorder::Recorder;
use crate::system::{Subject, System};
use crate::tree::Paths;

const USER: u32 = 1000;
/// How often a mount is asked for; the cheapest counts.
const ROUNDS: usize = 20;
/// How long a process may take to be where it is waited for.
const START: Duration = Duration::from_secs(60);

/// The service, and a user with a namespace.
struct User<'a> {
    subject: &'a Subject,
    service: MountService,
    namespace: File,
}

impl<'a> User<'a> {
    fn new(subject: &'a Subject) -> Result<Self> {
        let config = format!("[grant]\ndigests = [\"{}\"]\n", subject.digest);
        Ok(Self {
            subject,
            service: MountService::start(Path::new("/tmp/bench-service"), &config)?,
            namespace: namespace()?,
        })
    }

    /// A mount that is nowhere yet, as the user gets it.
    fn mount(&self) -> Result<OwnedFd> {
        let (image, objects) = detached::files(self.subject)?;
        let request = Request {
            image: image.as_fd(),
            basedirs: &[objects.as_fd()],
            signature: None,
            digest: Some(self.subject.digest.clone()),
            verity: true,
            namespace: self.namespace.as_fd(),
        };
        // Only this thread becomes the user.
        let asked = thread::scope(|scope| {
            let ask = || -> Result<OwnedFd> {
                let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
                set_thread_res_gid(gid, gid, gid)?;
                set_thread_res_uid(uid, uid, uid)?;
                client::mount(&self.service.socket(), &request)
            };
            scope.spawn(ask).join()
        });
        asked.ok().context("the caller panicked")?
    }
}

/// The mount that the service would make, by root.
fn mapped(subject: &Subject, namespace: &File) -> Result<OwnedFd> {
    let mount = detached::mount(subject, None)?;
    map_owners(&mount, namespace)?;
    Ok(mount)
}

/// A user namespace of the user's, in which they are root.
fn namespace() -> Result<File> {
    let mut child = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", "echo; read wait"])
        .uid(USER)
        .gid(USER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("unshare")?;
    let mut ready = [0];
    child
        .stdout
        .take()
        .context("a pipe")?
        .read_exact(&mut ready)?;
    let namespace = File::open(format!("/proc/{}/ns/user", child.id()))?;
    drop(child.stdin.take());
    child.wait()?;
    Ok(namespace)
}

/// composefs-rs' server. It is told what it serves as systemd tells services.
fn serve(subject: &Subject) -> Result<Child> {
    setup::modprobe("fuse")?;
    setup::create_dir(&subject.target)?;
    let repository = subject.objects.parent().context("a repository")?;
    let script = "exec 3<\"$1\" 4<\"$2\" 5>&1 && LISTEN_PID=$$ LISTEN_FDS=3 \
                  LISTEN_FDNAMES=image:repo:ready exec \"$4\" --internal-fuse-serve --mode fuse \
                  --mountpoint \"$3\"";
    let mut server = Command::new("bash")
        .args(["-c", script, "bash"])
        .args([&subject.image, repository, &subject.target].map(Path::as_os_str))
        .arg(setup::cfsctl()?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("composefs-rs' server")?;
    let mut ready = [0];
    let said = server.stdout.take().context("a pipe")?.read(&mut ready)?;
    ensure!(said == 1, "composefs-rs' server does not start");
    Ok(server)
}

/// Records what a user's mount costs from the call on, all that the service does for it included;
/// and root's by its helper, in the same way.
fn mounting(user: &User) -> Result<()> {
    let helper = || {
        let mut helper = Command::new(setup::mount_helper());
        helper.args(user.subject.helper_arguments());
        let (time, status) = all_of(|| Ok(helper.stdin(Stdio::null()).status()?))?;
        ensure!(status.success(), "the mount helper has failed");
        user.subject.unmount()?;
        Ok(time)
    };
    let service = || {
        let (time, mount) = all_of(|| user.mount())?;
        drop(mount);
        // It takes leave of whoever served.
        thread::sleep(Duration::from_millis(100));
        Ok(time)
    };
    let least = |once: &dyn Fn() -> Result<u64>| -> Result<u64> {
        let times = (0..ROUNDS).map(|_| once()).collect::<Result<Vec<_>>>()?;
        times.into_iter().min().context("no rounds")
    };
    Recorder::new(System::Composefs).per_operation("mount_call", least(&helper)?, 1);
    Recorder::new(System::Service).per_operation("mount_call", least(&service)?, 1);
    Ok(())
}

/// Records all of it; nothing is mounted when this begins.
pub fn measure(subject: &Subject, paths: &Paths, device: &str) -> Result<()> {
    let user = User::new(subject)?;
    mounting(&user)?;
    detached::attach(mapped(subject, &user.namespace)?, subject)?;
    detached::operations(System::Mapped, subject, paths, device)?;
    detached::attach(user.mount()?, subject)?;
    detached::operations(System::Service, subject, paths, device)?;
    drop(user);

    let mut server = serve(subject)?;
    count_server(server.id());
    let measured = detached::operations(System::Fuse, subject, paths, device);
    count_server(0);
    // It ends when it has nothing to serve.
    let begin = Instant::now();
    while server.try_wait()?.is_none() {
        if begin.elapsed() > START {
            server.kill()?;
        }
        thread::sleep(Duration::from_millis(20));
    }
    measured
}
