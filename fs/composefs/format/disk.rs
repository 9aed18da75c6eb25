// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The numbers and names of the format, for the parser and for writers.
//!
//! After `fs/erofs/erofs_fs.h` and `fs/overlayfs/overlayfs.h` of the kernel, and composefs 1.0 for
//! its header. What is not here is not used by composefs.

pub use super::field::Field;

/// Binary logarithm of [`BLOCK_SIZE`].
pub const BLOCK_BITS: u8 = 12;
/// Size of a block in bytes. EROFS knows others; composefs images always use this one.
pub const BLOCK_SIZE: u64 = 1 << BLOCK_BITS;
/// Inodes start at multiples of this, and their numbers count it.
pub const SLOT_SIZE: u64 = 32;

/// The composefs header, at the start of an image.
pub mod header {
    use super::Field;

    /// The first four bytes.
    pub const MAGIC: u32 = 0xd078_629a;
    /// Version of the header.
    pub const VERSION: u32 = 1;
    /// Flag: some file has a POSIX ACL.
    pub const HAS_ACL: u32 = 1;
    /// The newest version of the format that composefs 1.0 knows.
    pub const NEWEST_C_FORMAT: u32 = 1;
    /// The newest version of the format, which is composefs-rs's.
    pub const NEWEST_FORMAT: u32 = 2;

    /// The fields.
    pub mod at {
        use super::Field;

        /// [`MAGIC`](super::MAGIC).
        pub const MAGIC: Field<u32> = Field::at(0);
        /// [`VERSION`](super::VERSION).
        pub const VERSION: Field<u32> = Field::at(4);
        /// Flags.
        pub const FLAGS: Field<u32> = Field::at(8);
        /// Version of the format.
        pub const FORMAT: Field<u32> = Field::at(12);
    }
}

/// The EROFS superblock.
pub mod superblock {
    use super::Field;

    /// Where it is.
    pub const OFFSET: usize = 1024;
    /// Its size in bytes.
    pub const SIZE: usize = 128;
    /// First byte after it; no inode starts before.
    pub const END: u64 = (OFFSET + SIZE) as u64;

    /// Its first four bytes.
    pub const MAGIC: u32 = 0xe0f5_e1e2;
    /// Compatible feature: there is a checksum.
    pub const COMPAT_CHECKSUM: u32 = 0x1;
    /// Compatible feature: times of inodes are those of modification.
    pub const COMPAT_MTIME: u32 = 0x2;
    /// Compatible feature: inodes have filters of attribute names.
    pub const COMPAT_XATTR_FILTER: u32 = 0x4;
    /// Incompatible feature: some files are in chunks. The writers of composefs use them, yet do
    /// not set this bit.
    pub const INCOMPAT_CHUNKED_FILE: u32 = 0x4;

    /// The fields, counted from [`OFFSET`].
    pub mod at {
        use super::Field;

        /// [`MAGIC`](super::MAGIC).
        pub const MAGIC: Field<u32> = Field::at(0);
        /// Compatible features.
        pub const COMPAT: Field<u32> = Field::at(8);
        /// [`BLOCK_BITS`](super::super::BLOCK_BITS).
        pub const BLOCK_BITS: Field<u8> = Field::at(12);
        /// Size of an extension of the superblock.
        pub const EXTENSION: Field<u8> = Field::at(13);
        /// Number of the root's inode.
        pub const ROOT_NID: Field<u16> = Field::at(14);
        /// How many inodes there are.
        pub const INOS: Field<u64> = Field::at(16);
        /// The time of compact inodes: seconds since 1970, signed.
        pub const BUILD_TIME: Field<u64> = Field::at(24);
        /// Nanoseconds of it.
        pub const BUILD_TIME_NSEC: Field<u32> = Field::at(32);
        /// Size of the image in blocks.
        pub const BLOCKS: Field<u32> = Field::at(36);
        /// Block that inode numbers count from.
        pub const META_BLOCK: Field<u32> = Field::at(40);
        /// Block that numbers of shared attributes count from.
        pub const XATTR_BLOCK: Field<u32> = Field::at(44);
        /// UUID of the file system.
        pub const UUID: Field<[u8; 16]> = Field::at(48);
        /// Incompatible features.
        pub const INCOMPAT: Field<u32> = Field::at(80);
        /// Algorithms of compression.
        pub const COMPRESSION: Field<u16> = Field::at(84);
        /// How many more devices there are.
        pub const DEVICES: Field<u16> = Field::at(86);
        /// Binary logarithm of the size of a directory block in blocks.
        pub const DIRECTORY_BLOCK_BITS: Field<u8> = Field::at(90);
        /// How many long prefixes of attribute names there are.
        pub const XATTR_PREFIXES: Field<u8> = Field::at(91);
        /// Number of the inode that fragments are packed into.
        pub const PACKED_NID: Field<u64> = Field::at(96);
        /// Other than 0, if filters of attribute names mean something else (`fs/erofs/xattr.c`).
        pub const XATTR_FILTER_RESERVED: Field<u8> = Field::at(104);
    }
}

/// Inodes.
pub mod inode {
    use super::Field;

    /// Size of a compact inode.
    pub const COMPACT_SIZE: usize = 32;
    /// Size of an extended inode.
    pub const EXTENDED_SIZE: usize = 64;

    /// Bit of the format: the inode is an extended one.
    pub const EXTENDED: u16 = 0x1;
    /// Bits of the format: the layout of the data.
    pub const LAYOUT: u16 = 0xe;
    /// Layout: whole blocks.
    pub const PLAIN: u16 = 0;
    /// Layout: whole blocks, and the last one behind the inode.
    pub const INLINE: u16 = 2 << 1;
    /// Layout: chunks whose addresses are behind the inode.
    pub const CHUNKS: u16 = 4 << 1;

    /// Lower half of the address field of a file in chunks: as binary logarithm, how many blocks a
    /// chunk has.
    pub const CHUNK_BITS: u16 = 0x1f;
    /// Size of the address of a chunk.
    pub const CHUNK_ADDRESS_SIZE: usize = 4;
    /// Address of a chunk that the image does not hold.
    pub const NULL_CHUNK: u32 = u32::MAX;

    /// Fields that compact and extended inodes have in common.
    pub mod at {
        use super::Field;

        /// Format: [`EXTENDED`](super::EXTENDED), and a layout.
        pub const FORMAT: Field<u16> = Field::at(0);
        /// Size of the attribute area: 0, or 1 and its words of 4 bytes after the header.
        pub const XATTR_COUNT: Field<u16> = Field::at(2);
        /// Type and permissions.
        pub const MODE: Field<u16> = Field::at(4);
        /// Number of a device, first block of the data, or the size of chunks.
        pub const ADDRESS: Field<u32> = Field::at(16);
        /// A number of the inode that is of use to the 32-bit `stat` only.
        pub const INO: Field<u32> = Field::at(20);
    }

    /// Fields of compact inodes.
    pub mod compact {
        use super::Field;

        /// Number of links.
        pub const NLINK: Field<u16> = Field::at(6);
        /// Size of the file.
        pub const SIZE: Field<u32> = Field::at(8);
        /// Seconds to add to the time of the superblock. The writers of composefs store 0.
        pub const MTIME: Field<u32> = Field::at(12);
        /// Owner.
        pub const UID: Field<u16> = Field::at(24);
        /// Group.
        pub const GID: Field<u16> = Field::at(26);
    }

    /// Fields of extended inodes.
    pub mod extended {
        use super::Field;

        /// High bits of the address.
        pub const ADDRESS_HIGH: Field<u16> = Field::at(6);
        /// Size of the file.
        pub const SIZE: Field<u64> = Field::at(8);
        /// Owner.
        pub const UID: Field<u32> = Field::at(24);
        /// Group.
        pub const GID: Field<u32> = Field::at(28);
        /// Time of modification: seconds since 1970, signed.
        pub const MTIME: Field<u64> = Field::at(32);
        /// Nanoseconds of it.
        pub const MTIME_NSEC: Field<u32> = Field::at(40);
        /// Number of links.
        pub const NLINK: Field<u32> = Field::at(44);
    }
}

/// Types of files in the mode of an inode, and in an entry of a directory.
pub mod file_type {
    /// Bits of the mode that are the type.
    pub const MASK: u16 = 0o170_000;

    /// Types in the mode: `S_IF*` of `linux/stat.h`.
    pub mod mode {
        /// Named pipe.
        pub const FIFO: u16 = 0o010_000;
        /// Character device.
        pub const CHAR_DEVICE: u16 = 0o020_000;
        /// Directory.
        pub const DIRECTORY: u16 = 0o040_000;
        /// Block device.
        pub const BLOCK_DEVICE: u16 = 0o060_000;
        /// Regular file.
        pub const REGULAR: u16 = 0o100_000;
        /// Symbolic link.
        pub const SYMLINK: u16 = 0o120_000;
        /// Socket.
        pub const SOCKET: u16 = 0o140_000;
    }

    /// Types in a directory entry: `FT_*` of `linux/fs_types.h`.
    pub mod entry {
        /// Regular file.
        pub const REGULAR: u8 = 1;
        /// Directory.
        pub const DIRECTORY: u8 = 2;
        /// Character device.
        pub const CHAR_DEVICE: u8 = 3;
        /// Block device.
        pub const BLOCK_DEVICE: u8 = 4;
        /// Named pipe.
        pub const FIFO: u8 = 5;
        /// Socket.
        pub const SOCKET: u8 = 6;
        /// Symbolic link.
        pub const SYMLINK: u8 = 7;
    }
}

/// Entries of directories. Each block has a table of them, and their names after it.
pub mod dirent {
    use super::Field;

    /// Size of an entry without its name.
    pub const SIZE: usize = 12;
    /// Longest name.
    pub const NAME_MAX: usize = 255;

    /// The fields.
    pub mod at {
        use super::Field;

        /// Number of the inode.
        pub const NID: Field<u64> = Field::at(0);
        /// Where the name is in the block.
        pub const NAME: Field<u16> = Field::at(8);
        /// Type of the file.
        pub const FILE_TYPE: Field<u8> = Field::at(10);
    }
}

/// Extended attributes: the header of an inode's, then numbers of shared ones, then its own.
pub mod xattr {
    use super::Field;

    /// Size of the header in front of an inode's attributes.
    pub const HEADER_SIZE: usize = 12;
    /// Size of the number of a shared attribute.
    pub const REFERENCE_SIZE: usize = 4;
    /// The number of a shared attribute.
    pub const REFERENCE: Field<u32> = Field::at(0);
    /// Size of the header of an attribute.
    pub const ENTRY_SIZE: usize = 4;
    /// Attributes start at multiples of this, and numbers of shared ones count it.
    pub const ALIGNMENT: usize = 4;
    /// Longest name after its prefix.
    pub const NAME_MAX: usize = 255;

    /// Added to the number of the prefix, this is the seed of the hash that picks the bit of a name
    /// in the filter.
    pub const FILTER_SEED: u32 = 0x25bb_e08f;
    /// How many bits a filter has.
    pub const FILTER_BITS: u32 = 32;

    /// Fields of the header in front of an inode's attributes.
    pub mod at {
        use super::Field;

        /// Filter: a bit is clear if there is an attribute whose name has that bit.
        pub const FILTER: Field<u32> = Field::at(0);
        /// How many shared attributes follow by their numbers.
        pub const SHARED: Field<u8> = Field::at(4);
    }

    /// Fields of the header of an attribute, which the name and the value follow.
    pub mod entry {
        use super::Field;

        /// Length of the name after its prefix.
        pub const NAME_LEN: Field<u8> = Field::at(0);
        /// Number of the prefix.
        pub const PREFIX: Field<u8> = Field::at(1);
        /// Length of the value.
        pub const VALUE_LEN: Field<u16> = Field::at(2);
    }
}

/// Attributes that mean something to overlayfs, by their whole names.
///
/// In the image, what the source has of `trusted.overlay.*` is escaped, so that the names here are
/// free.
pub mod overlay {
    /// What overlayfs keeps to itself begins with this.
    pub const PRIVATE: &[u8] = b"trusted.overlay.";
    /// What it shows of that to those above begins with this.
    pub const ESCAPED: &[u8] = b"trusted.overlay.overlay.";

    /// The digest of a file whose content is in the store, see [`metacopy`](super::metacopy).
    pub const METACOPY: &[u8] = b"trusted.overlay.metacopy";
    /// The path of the content below the store, with a slash in front.
    pub const REDIRECT: &[u8] = b"trusted.overlay.redirect";
    /// Longest path, the slash included: `PATH_MAX` less the final NUL.
    pub const REDIRECT_MAX: usize = 4095;
    /// Mark of a root that hides what is below it.
    pub const OPAQUE: &[u8] = b"trusted.overlay.opaque";

    /// A whiteout of the source is an empty regular file with these: the first for an overlayfs
    /// that is mounted as usual, the second for one with `userxattr`.
    pub const WHITEOUT: [&[u8]; 2] = [
        b"trusted.overlay.overlay.whiteout",
        b"user.overlay.whiteout",
    ];
    /// Marks of a directory that holds such files.
    pub const WHITEOUTS: [&[u8]; 2] = [
        b"trusted.overlay.overlay.whiteouts",
        b"user.overlay.whiteouts",
    ];
    /// The same marks, as overlayfs reads them since Linux 6.8; format version 1 has both.
    pub const OPAQUE_WHITEOUTS: [&[u8]; 2] =
        [b"trusted.overlay.overlay.opaque", b"user.overlay.opaque"];
}

/// The value of [`overlay::METACOPY`]: a header, and the digest (`struct ovl_metacopy`).
pub mod metacopy {
    use super::Field;

    /// Size of the header.
    pub const HEADER_SIZE: usize = 4;
    /// The version that there is.
    pub const VERSION: u8 = 0;
    /// The flags that there are.
    pub const FLAGS: u8 = 0;

    /// The fields.
    pub mod at {
        use super::Field;

        /// [`VERSION`](super::VERSION).
        pub const VERSION: Field<u8> = Field::at(0);
        /// Length of the value.
        pub const LEN: Field<u8> = Field::at(1);
        /// [`FLAGS`](super::FLAGS).
        pub const FLAGS: Field<u8> = Field::at(2);
        /// Algorithm of the digest.
        pub const ALGORITHM: Field<u8> = Field::at(3);
    }
}
