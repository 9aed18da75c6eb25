// SPDX-License-Identifier: GPL-2.0-only

//! What every file system must provide.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    context::{Log, Param, Parsed},
    named::NamedFile,
    stacking::Registered,
    superblock::{NewSuper, SuperBlock},
};
use kernel::{prelude::*, seq_file::SeqFile};

/// A read-only file system whose superblocks have no block device.
pub(crate) trait FileSystem: Sized + 'static {
    /// What `mount -t` and `/proc/filesystems` call it.
    const NAME: &'static CStr;

    /// What all superblocks share, from the registration of the type on.
    type Shared: Send + Sync + 'static;

    /// What the mount options say, collected before there is a superblock.
    type Options: Send + 'static;

    /// What belongs to a superblock.
    type Super: Send + Sync + 'static;

    /// What belongs to an inode. It is part of the same slab object.
    type Inode: Send + Sync + 'static;

    /// What all superblocks will share.
    fn shared() -> Result<Self::Shared>;

    /// The options of a mount that gives none.
    fn options() -> Result<Self::Options>;

    /// Takes one mount option. Errors are described in `log`.
    fn parse_param(options: &mut Self::Options, param: &Param<'_>, log: &Log<'_>)
        -> Result<Parsed>;

    /// Makes what becomes a superblock of `source`, what is mounted: the first argument of `mount`,
    /// or a file that is open. All that has to be opened and read for a mount is opened and read
    /// here, with the credentials of whoever has opened the context. Errors are described in `log`.
    fn prepare(
        shared: &Self::Shared,
        registered: Registered<Self>,
        options: &mut Self::Options,
        source: Option<NamedFile>,
        log: &Log<'_>,
    ) -> Result<NewSuper<Self>>;

    /// Applies the options of a remount.
    fn reconfigure(sb: &SuperBlock<Self>, options: &mut Self::Options, log: &Log<'_>) -> Result;

    /// Writes the options in force, as `/proc/mounts` shows them.
    fn show_options(sb: &SuperBlock<Self>, seq: &SeqFile) -> Result;

    /// Fails if a superblock that is mounted is of no use any more, for a reason that is the same
    /// for all that is on it. Asked before anything is read from it, so it should be quick.
    fn check_usable(sb: &SuperBlock<Self>) -> Result;

    /// Whether no file that gets its content from elsewhere can have fs-verity.
    fn lacks_verity(sb: &SuperBlock<Self>) -> bool;
}
