// SPDX-License-Identifier: GPL-2.0-only
/* C functions for the audit log. */
#include <linux/audit.h>
#include <linux/string.h>

#include "helpers.h"

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
