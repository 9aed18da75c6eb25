// SPDX-License-Identifier: GPL-2.0-only
//! Takes connections, gives each to a worker, and keeps to the limits. It reads nothing that a caller
//! sends and opens nothing of theirs, so that nothing of theirs can hold it up.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use composefs_tools::journal;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{socketpair, AddressFamily, SocketFlags, SocketType};
use rustix::process::{pidfd_open, Pid, PidfdFlags};

use crate::config::{Config, Limits};
use crate::control::{self, Answer, Said};
use crate::mounts::Mounts;
use crate::user::User;

/// As many connections as are taken before something else is looked at.
const AT_ONCE: usize = 16;
/// How soon it is tried again when there are no processes to be had.
const SOON: Duration = Duration::from_millis(100);
/// How soon a process that does not end is killed again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a worker is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// To serve a caller.
    Serve,
    /// To tell one that there is too much.
    Refuse,
}

/// A worker, as the service sees it.
struct Worker {
    child: Child,
    /// Tells that it has ended.
    process: OwnedFd,
    control: OwnedFd,
    user: User,
    task: Task,
    deadline: Instant,
    killed: bool,
}

/// The service.
pub struct Service {
    limits: Limits,
    /// What workers are started with.
    command: Box<dyn Fn(Task) -> Command>,
    listener: UnixListener,
    mounts: Mounts,
    workers: Vec<Worker>,
    /// A connection that waits for a process. The service itself closes none: that may take as long
    /// as a caller likes who has sent files along.
    waiting: Option<UnixStream>,
}

impl Service {
    /// A service at a socket that listens. What `command` gives runs what
    /// [`crate::worker`] has for the task.
    ///
    /// # Errors
    /// If the kernel lacks something.
    pub fn new(
        config: &Config,
        listener: UnixListener,
        command: impl Fn(Task) -> Command + 'static,
    ) -> Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            limits: config.limits.clone(),
            command: Box::new(command),
            listener,
            mounts: Mounts::default(),
            workers: Vec::new(),
            waiting: None,
        })
    }

    /// Serves for ever.
    ///
    /// # Errors
    /// If that cannot go on.
    pub fn run(mut self) -> Result<()> {
        loop {
            self.wait()?;
            self.hear();
            self.reap();
            self.accept();
        }
    }

    /// Waits until something happens, or somebody has taken too long.
    fn wait(&self) -> Result<()> {
        let mut all = Vec::new();
        if self.has_room() && self.waiting.is_none() {
            all.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        for worker in &self.workers {
            all.push(PollFd::new(&worker.process, PollFlags::IN));
            all.push(PollFd::new(&worker.control, PollFlags::IN));
        }
        let mut next = self.workers.iter().map(|worker| worker.deadline).min();
        if self.waiting.is_some() && self.has_room() {
            next = next.into_iter().chain([Instant::now() + SOON]).min();
        }
        let left = next.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut all, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait"),
        }
    }

    /// Hears of mounts that workers are to make, and of what they decide.
    fn hear(&mut self) {
        for worker in &self.workers {
            let answer = match control::hear(&worker.control) {
                Ok(Some(Said::Session(session))) => {
                    self.mounts.add(session, worker.user, &self.limits)
                }
                Ok(Some(Said::Decision(text))) => {
                    journal::notice(&text);
                    Answer::Yes
                }
                _ => continue,
            };
            // A worker that has gone wants no answer.
            let _ = control::answer(&worker.control, answer);
        }
    }

    /// Whether there may be one more worker. Those that were killed and cannot end do not count, for
    /// the user has them, but nobody else is to do without.
    fn has_room(&self) -> bool {
        let busy = self.workers.iter().filter(|worker| !worker.killed).count();
        busy < self.limits.calls && self.workers.len() < 4 * self.limits.calls
    }

    /// Takes leave of workers that have ended, and ends those that have taken too long.
    fn reap(&mut self) {
        let now = Instant::now();
        self.workers.retain_mut(|worker| {
            if !matches!(worker.child.try_wait(), Ok(None)) {
                return false;
            }
            if worker.deadline <= now {
                if !worker.killed {
                    let user = worker.user.0;
                    journal::warning(&format!("user {user}: a call took too long, and was ended"));
                }
                // What waits for a file system of the caller's may not even end now; it goes on being
                // counted as a call of that user, and is tried again.
                worker.killed |= worker.child.kill().is_ok();
                worker.deadline = now + AGAIN;
            }
            true
        });
    }

    fn accept(&mut self) {
        for _ in 0..AT_ONCE {
            if !self.has_room() {
                return;
            }
            let stream = match self.waiting.take() {
                Some(stream) => stream,
                None => match self.listener.accept() {
                    Ok((stream, _)) => stream,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                    // Of that connection alone, or for want of something that comes back.
                    Err(error) => return journal::warning(&format!("cannot take a call: {error}")),
                },
            };
            if let Err(error) = self.give(&stream) {
                journal::warning(&format!("cannot serve a call: {error:#}"));
                self.waiting = Some(stream);
                return;
            }
        }
    }

    /// Gives a connection to a worker.
    fn give(&mut self, stream: &UnixStream) -> Result<()> {
        let user = User::of(&socket_peercred(stream)?);
        let serves = |worker: &&Worker| worker.user == user && worker.task == Task::Serve;
        let task = match self.workers.iter().filter(serves).count() < self.limits.calls_of_user {
            true => Task::Serve,
            false => Task::Refuse,
        };
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let mut command = (self.command)(task);
        command
            .stdin(Stdio::from(stream.as_fd().try_clone_to_owned()?))
            .stdout(Stdio::from(theirs));
        let mut child = command.spawn().context("cannot start a worker")?;
        let pid = Pid::from_child(&child);
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(error) => {
                let _ = child.kill();
                child.wait()?;
                return Err(error).context("cannot follow a worker");
            }
        };
        self.workers.push(Worker {
            child,
            process,
            control: ours,
            user,
            task,
            deadline: Instant::now() + Duration::from_secs(self.limits.seconds),
            killed: false,
        });
        Ok(())
    }
}
