// SPDX-License-Identifier: GPL-2.0-only
/*
 * C functions for keyrings, signatures and the audit log.
 */
#include <linux/audit.h>
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/key.h>
#include <linux/string.h>
#include <linux/verification.h>

#include "helpers.h"

/*
 * The permissions are those of ".fs-verity": the kernel searches it, and root
 * may fill, restrict and look at it.
 */
struct key *rust_vfs_keyring_alloc(const char *name)
{
	return keyring_alloc(name, GLOBAL_ROOT_UID, GLOBAL_ROOT_GID,
			     current_cred(),
			     KEY_POS_SEARCH | KEY_USR_VIEW | KEY_USR_READ |
				     KEY_USR_WRITE | KEY_USR_SEARCH |
				     KEY_USR_SETATTR,
			     KEY_ALLOC_NOT_IN_QUOTA, NULL, NULL);
}

bool rust_vfs_keyring_is_empty(const struct key *keyring)
{
	return READ_ONCE(keyring->keys.nr_leaves_on_tree) == 0;
}

/* A @keyring of NULL stands for the built-in and secondary ones. */
int rust_vfs_verify_pkcs7(const void *data, size_t len, const void *signature,
			  size_t signature_len, struct key *keyring)
{
	return verify_pkcs7_signature(data, len, signature, signature_len,
				      keyring ?: VERIFY_USE_SECONDARY_KEYRING,
				      VERIFYING_UNSPECIFIED_SIGNATURE, NULL,
				      NULL);
}

/*
 * Reads @file from its beginning to its end, or until @buf is full.
 * Return: how many bytes those are, or an error.
 */
ssize_t rust_vfs_read_whole(struct file *file, void *buf, size_t size)
{
	loff_t pos = 0;
	ssize_t n;

	do {
		n = kernel_read(file, buf + pos, size - pos, &pos);
	} while (n > 0 && pos < size);
	return n < 0 ? n : pos;
}

struct audit_buffer *rust_vfs_audit_begin(const char *operation)
{
	struct audit_buffer *ab;

	/* Without this, it would be written to the kernel log. */
	if (!audit_enabled)
		return NULL;

	ab = audit_log_start(audit_context(), GFP_KERNEL, AUDIT_INTEGRITY_DATA);
	if (ab) {
		audit_log_format(ab, "op=%s", operation);
		audit_log_task_info(ab);
	}
	return ab;
}

/* As audit_log_untrustedstring() does it, which is not for modules. */
void rust_vfs_audit_field(struct audit_buffer *ab, const char *name,
			  const char *value)
{
	const char *p;

	for (p = value; *p; p++) {
		if (*p == '"' || (u8)*p < 0x21 || (u8)*p > 0x7e) {
			audit_log_format(ab, " %s=", name);
			for (p = value; *p; p++)
				audit_log_format(ab, "%02X", (u8)*p);
			return;
		}
	}
	audit_log_format(ab, " %s=\"%s\"", name, value);
}

void rust_vfs_audit_result(struct audit_buffer *ab, int err)
{
	audit_log_format(ab, " res=%d errno=%d", err == 0, err);
}

void rust_vfs_audit_end(struct audit_buffer *ab)
{
	audit_log_end(ab);
}
