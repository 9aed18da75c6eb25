# SPDX-License-Identifier: GPL-2.0-only
# Switches audit on or off.

import socket
enabled, = argument
NETLINK_AUDIT, AUDIT_SET, AUDIT_STATUS_ENABLED, REQUEST_AND_ACK = 9, 1001, 1, 5
status = struct.pack("=11I", AUDIT_STATUS_ENABLED, int(enabled), *[0] * 9)
header = struct.pack("=IHHII", 16 + len(status), AUDIT_SET, REQUEST_AND_ACK, 1, 0)
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT) as audit:
    audit.sendto(header + status, (0, 0))
    answer = audit.recv(4096)
error, = struct.unpack_from("=i", answer, 16)
assert error == 0, os.strerror(-error)
