/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libcomposefs.so.1: mounting composefs images.
 *
 * The interface is that of composefs 1.0. The kernel's own composefs is used if it
 * has that, else EROFS and overlayfs.
 */
#ifndef _LCFS_MOUNT_H
#define _LCFS_MOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#ifndef LCFS_EXTERN
#define LCFS_EXTERN extern
#endif

/* Errors about digests. */
#define ENOVERITY ENOTTY
#define EWRONGVERITY EILSEQ
#define ENOSIGNATURE EBADMSG

enum lcfs_mount_flags_t {
	LCFS_MOUNT_FLAGS_NONE = 0,
	/* All files must have their digest; else what the objects are is not asked. */
	LCFS_MOUNT_FLAGS_REQUIRE_VERITY = 1 << 0,
	LCFS_MOUNT_FLAGS_READONLY = 1 << 1,
	LCFS_MOUNT_FLAGS_IDMAP = 1 << 3,
	/* The same, where that can be. */
	LCFS_MOUNT_FLAGS_TRY_VERITY = 1 << 4,

	LCFS_MOUNT_FLAGS_MASK = (1 << 5) - 1,
};

struct lcfs_mount_options_s {
	const char **objdirs; /* where objects are, in this order */
	size_t n_objdirs; /* one or more */
	const char *workdir; /* with upperdir, or NULL */
	const char *upperdir;
	const char *expected_fsverity_digest; /* of the image, in hex, or NULL */
	uint32_t flags;
	int idmap_fd; /* a user namespace, with LCFS_MOUNT_FLAGS_IDMAP */
	const char *image_mountdir; /* for EROFS on the way, or NULL */

	uint32_t reserved[4];
	void *reserved2[4];
};

LCFS_EXTERN int lcfs_mount_image(const char *path, const char *mountpoint,
				 struct lcfs_mount_options_s *options);
LCFS_EXTERN int lcfs_mount_fd(int fd, const char *mountpoint,
			      struct lcfs_mount_options_s *options);

#endif
