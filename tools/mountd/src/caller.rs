// SPDX-License-Identifier: GPL-2.0-only
//! Who calls, and how this process comes to have no more rights than they.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io;
use rustix::process::{set_parent_process_death_signal, Gid, Signal, Uid};
use rustix::thread::{
    move_into_link_name_space, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid, CapabilitySet, CapabilitySets, LinkNameSpaceType,
};
use zlink::connection::Credentials;

/// Whoever opened the connection.
pub struct Caller {
    pub uid: Uid,
    pub gid: Gid,
    groups: Vec<Gid>,
}

/// What this process may still need before it is done.
const PERMITTED: CapabilitySet = CapabilitySet::SYS_ADMIN;

impl Caller {
    pub fn of(credentials: &Credentials) -> Self {
        Self {
            uid: credentials.unix_user_id(),
            gid: credentials.unix_primary_group_id(),
            groups: credentials.unix_supplementary_group_ids().to_vec(),
        }
    }

    /// From now on files are opened as the caller would: what the driver opens in the name of this
    /// process, for as long as the mount is there, included. Mounting is still allowed.
    pub fn act_as(&self) -> io::Result<()> {
        set_thread_groups(&self.groups)?;
        set_thread_res_gid(self.gid, self.gid, self.gid)?;
        // The other two stay: the kernel lets no user touch a process that is not all theirs.
        set_thread_res_uid(None, self.uid, None)?;
        set(CapabilitySet::empty(), PERMITTED)?;
        // The kernel forgets that when rights change.
        end_with_service()
    }

    /// Becomes the caller for good, without any privilege, and enters the user namespace: whether a
    /// caller may do that is for the kernel to say. It says so of who owns the namespace, or one that
    /// it is in.
    pub fn enter(&self, namespace: impl AsFd) -> io::Result<()> {
        set_thread_res_uid(self.uid, self.uid, self.uid)?;
        set(CapabilitySet::empty(), CapabilitySet::empty())?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))
    }
}

/// This process ends when the service does.
pub fn end_with_service() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))
}

/// Runs what needs to mount, though this process acts as the caller.
pub fn mounting<T>(run: impl FnOnce() -> T) -> io::Result<T> {
    set(PERMITTED, PERMITTED)?;
    let result = run();
    set(CapabilitySet::empty(), PERMITTED)?;
    Ok(result)
}

fn set(effective: CapabilitySet, permitted: CapabilitySet) -> io::Result<()> {
    let sets = CapabilitySets {
        effective,
        permitted,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)
}

/// Whether the process that a descriptor pins is still there.
pub fn is_there(process: BorrowedFd) -> bool {
    let mut ended = [rustix::event::PollFd::new(
        &process,
        rustix::event::PollFlags::IN,
    )];
    let now = rustix::event::Timespec::default();
    rustix::event::poll(&mut ended, Some(&now)) == Ok(0)
}
