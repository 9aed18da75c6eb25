// SPDX-License-Identifier: GPL-2.0-only
/* C functions for keyrings, and for signatures by the keys in them. */
#include <linux/cred.h>
#include <linux/key.h>
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
