// SPDX-License-Identifier: GPL-2.0-only

//! The superblock: an image, a store, and what they must prove.

use crate::{
    export::Named,
    image::{self, Image, Manifest},
    inode::{self, InodeData},
    options::Options,
    shown::Shown,
    signature::TrustedKeys,
    store::{self, Store},
    trust, uuid, vfs,
    vfs::{
        backing::BackingFile,
        context::{errorf, Log, Param, Parsed},
        frozen_file::FrozenFile,
        inode::{Inode, NewInode},
        log::pr_err_ratelimited,
        parameters,
        stacking::Registered,
        superblock::{NewSuper, OptionWriter, SuperBlock},
        xattr::{List, Namespace},
    },
    Composefs,
};
use kernel::{prelude::*, str::CString};

/// What `statfs(2)` calls the file system: the magic of an image's header.
const MAGIC: u32 = 0xd078_629a;

/// What belongs to a mounted image.
pub(crate) struct Super {
    pub(crate) image: Image,
    pub(crate) store: Store,
    /// What file handles may lead to.
    pub(crate) named: Named,
    /// The name of the image file, for messages.
    source: CString,
    shown: Shown,
    is_signed: bool,
}

impl Super {
    /// Says in the kernel log what is wrong with inode `nid` of the image, and
    /// gives the error for the system call that met it.
    pub(crate) fn report(&self, nid: u64, error: image::Error) -> Error {
        if !matches!(error, image::Error::Read(error) if store::is_transient(error)) {
            pr_err_ratelimited!("{}: inode {nid}: {error}\n", &*self.source);
        }
        error.at_use()
    }
}

impl vfs::FileSystem for Composefs {
    const NAME: &'static CStr = c"composefs";

    type Shared = TrustedKeys;
    type Options = Options;
    type Super = Super;
    type Inode = InodeData;

    fn shared() -> Result<TrustedKeys> {
        TrustedKeys::new()
    }

    fn options() -> Result<Options> {
        Ok(Options::new())
    }

    fn parse_param(options: &mut Options, param: &Param<'_>, log: &Log<'_>) -> Result<Parsed> {
        options.parse(param, log)
    }

    fn prepare(
        keys: &TrustedKeys,
        registered: Registered<Self>,
        options: &mut Options,
        source: Option<&CStr>,
        log: &Log<'_>,
    ) -> Result<NewSuper<Self>> {
        let verity = options.verity(log)?;
        let source = source.ok_or_else(|| {
            errorf!(log, "no image was given to mount");
            EINVAL
        })?;

        let file = FrozenFile::open(source, registered).inspect_err(|error| match *error {
            EINVAL => errorf!(log, "{source}: not a regular file that can be read"),
            ETXTBSY => errorf!(log, "{source}: image is open for writing"),
            error => errorf!(log, "{source}: image cannot be opened: {error:?}"),
        })?;
        let provenance = trust::check_image(&file, source, options, keys, log)?;
        let depth = file.stack_depth().inspect_err(|_| {
            errorf!(log, "{source}: image is on too many stacked file systems");
        })?;

        let image = Image::open(Manifest::new(file)).map_err(|error| {
            errorf!(log, "{source}: {error}");
            error.at_mount()
        })?;

        let uuid = uuid::of(image.source()).map_err(|error| {
            errorf!(log, "{source}: {error}");
            error.at_mount()
        })?;

        let shown = Shown::new(options, provenance.digest.as_ref())?;
        let (store, above) = Store::new(
            &mut options.basedirs,
            verity,
            image.source().file(),
            registered,
            log,
        )?;

        let this = Super {
            image,
            store,
            named: Named::new(),
            source: CString::try_from(source)?,
            shown,
            is_signed: provenance.signer.is_some(),
        };
        let new = NewSuper {
            magic: MAGIC,
            uuid,
            stack_depth: depth.max(above),
            root: inode::read_root(&this)?,
            data: KBox::new(this, GFP_KERNEL)?,
        };
        provenance.check_policy(source, log)?;
        provenance.announce(source);
        Ok(new)
    }

    fn reconfigure(sb: &SuperBlock<Self>, options: &mut Options, log: &Log<'_>) -> Result {
        let this = sb.data();

        this.shown.check_unchanged(options, log)?;
        options.verity.map_or(Ok(()), |level| {
            let image = this.image.source().file();
            this.store.raise_level(level, image, log)
        })
    }

    fn show_options(sb: &SuperBlock<Self>, writer: &OptionWriter<'_>) -> Result {
        let this = sb.data();

        this.shown.write(this.store.level().get(), writer)
    }

    #[inline]
    fn check_usable(sb: &SuperBlock<Self>) -> Result {
        if !parameters::require_signatures() {
            return Ok(());
        }
        let this = sb.data();
        trust::check_signed(this.is_signed, &this.source)
    }

    fn lacks_verity(sb: &SuperBlock<Self>) -> bool {
        let this = sb.data();
        this.store.lacks_verity(this.image.source().file())
    }

    fn read_inode(sb: &SuperBlock<Self>, ino: u64) -> Result<NewInode<Self>> {
        inode::read(sb.data(), ino)
    }

    fn backing(inode: &Inode<Self>) -> Option<&BackingFile> {
        inode.data().object().backing.get()
    }

    fn find_backing(inode: &Inode<Self>) -> Result<Option<&BackingFile>> {
        crate::file::find(inode)
    }

    fn damaged(inode: &Inode<Self>, what: &'static str) -> Error {
        let error = crate::format::Error::Corrupt(what).into();
        inode.super_block().data().report(inode.number(), error)
    }

    fn parent(dir: &Inode<Self>) -> Result<u64> {
        crate::export::parent(dir)
    }

    fn is_named(sb: &SuperBlock<Self>, ino: u64) -> Result<bool> {
        crate::export::is_named(sb.data(), ino)
    }

    fn get_xattr(
        inode: &Inode<Self>,
        namespace: Namespace,
        name: &[u8],
        value: &mut [u8],
    ) -> Result<usize> {
        crate::xattr::get(inode, namespace, name, value)
    }

    fn list_xattrs(inode: &Inode<Self>, list: &mut List<'_>) -> Result {
        crate::xattr::list(inode, list)
    }
}
