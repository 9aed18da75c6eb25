// SPDX-License-Identifier: GPL-2.0-only

//! Mounting: from the options of a mount to a superblock, and changing it.

use crate::{
    image::{self, Image, Manifest},
    inode::{self, InodeData},
    options::Options,
    policy,
    shown::Shown,
    signature::TrustedKeys,
    store::Store,
    superblock::Super,
    trust, uuid,
    vfs::{
        context::{errorf, Log, Param, Parsed},
        credential,
        filesystem::FileSystem,
        frozen_file::FrozenFile,
        log::RateLimit,
        named::NamedFile,
        once::Once,
        readable_file::ReadableFile,
        stacking::Registered,
        superblock::{NewSuper, SuperBlock},
    },
    Composefs,
};
use kernel::{alloc::flags::GFP_KERNEL_ACCOUNT, prelude::*, seq_file::SeqFile, str::CString};

/// What `statfs(2)` calls the file system: the magic of an image's header.
const MAGIC: u32 = 0xd078_629a;

impl FileSystem for Composefs {
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
        source: Option<NamedFile>,
        log: &Log<'_>,
    ) -> Result<NewSuper<Self>> {
        let verity = options.verity(log)?;
        let mut image_file = source.ok_or_else(|| {
            errorf!(log, "no image was given to mount");
            EINVAL
        })?;
        let file = ReadableFile::open(&mut image_file, registered);
        let source = image_file.name();
        let file = file.inspect_err(|error| match *error {
            EINVAL => errorf!(log, "{source}: not a regular file that can be read"),
            error => errorf!(log, "{source}: image cannot be opened: {error:?}"),
        })?;
        let provenance = trust::check_image(&file, source, options, keys, log)?;
        let depth = file.stack_depth().inspect_err(|_| {
            errorf!(log, "{source}: image is on too many stacked file systems");
        })?;
        // Not before: whoever may not mount it should not keep its writers from it, either.
        let file = FrozenFile::new(file).inspect_err(|error| match *error {
            ETXTBSY => errorf!(log, "{source}: image is open for writing"),
            error => errorf!(log, "{source}: image cannot be used: {error:?}"),
        })?;

        let describe = |error: image::Error| {
            errorf!(log, "{source}: {error}");
            error.at_mount()
        };
        let image = Image::open(Manifest::new(file)).map_err(describe)?;
        let uuid = uuid::of(image.source()).map_err(describe)?;

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
            named: Once::new(),
            source: CString::try_from(source)?,
            shown,
            is_signed: provenance.signer.is_some(),
            messages: RateLimit::new()?,
        };
        let new = NewSuper {
            magic: MAGIC,
            uuid,
            // Whoever gets a mount may change its flags, but not who has made it.
            has_devices: credential::may_make_devices(),
            stack_depth: depth.max(above),
            root: inode::read_root(&this)?,
            data: KBox::new(this, GFP_KERNEL_ACCOUNT)?,
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

    fn show_options(sb: &SuperBlock<Self>, seq: &SeqFile) -> Result {
        let this = sb.data();

        this.shown.write(this.store.level().get(), seq)
    }

    #[inline]
    fn check_usable(sb: &SuperBlock<Self>) -> Result {
        if !policy::requires_signatures() {
            return Ok(());
        }
        let this = sb.data();
        policy::check_may_use(this)
    }

    fn lacks_verity(sb: &SuperBlock<Self>) -> bool {
        let this = sb.data();
        this.store.lacks_verity(this.image.source().file())
    }
}
