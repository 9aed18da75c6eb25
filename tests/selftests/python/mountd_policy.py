# SPDX-License-Identifier: GPL-2.0-only
# What must not be granted, by a service that grants what is signed and listed. Arguments: a signed
# image, its store, its signature, a signature by a stranger, a listed image, its store, its digest,
# an image that is neither, its digest.

image, store, signature, strange, listed, others, digest, neither, its = argument[1:]
files = {name: read_only(path) for name, path in (
    ("image", image), ("signature", signature), ("strange", strange), ("listed", listed),
    ("neither", neither), ("garbage", "/usr/bin/id"),
)}
stores, ours = [read_only(store)], namespace()
empty = read_only("/dev/null")

def attempt(name, *rest, **more):
    return ask(files[name], stores, ours, *rest, **more)

# Only what is meant to be granted is.
os.close(granted(attempt("image", files["signature"])))
os.close(granted(attempt("listed", digest=digest)))

refused(attempt("image"), "NotPermitted", "without signature")
refused(attempt("neither"), "NotPermitted", "without signature")
refused(attempt("neither", digest=its), "NotPermitted", its)
refused(attempt("neither", digest=its.upper()), "NotPermitted")
refused(attempt("image", files["strange"]), "NotPermitted")
# Signatures, but not of that image; and what is none.
refused(attempt("neither", files["signature"]), "NotPermitted", "is no valid signature")
refused(attempt("listed", files["signature"]), "NotPermitted", "is no valid signature")
refused(attempt("image", files["garbage"]), "InvalidImage")
refused(attempt("image", files["image"]), "InvalidImage")
refused(attempt("image", empty), "InvalidFile", "signatureFileDescriptor is not a regular file")
# A digest that is listed, but of another image.
refused(attempt("neither", digest=digest), "InvalidImage")
refused(attempt("image", files["signature"], digest=digest), "InvalidImage")
refused(attempt("image", files["strange"], digest=digest), "InvalidImage")
for text in "", "0", digest[:-1], digest + "0", digest[:-1] + "g", "sha1:" + digest:
    refused(attempt("listed", digest=text), "org.varlink.service.InvalidParameter")
refused(attempt("garbage", digest=digest), "InvalidImage")
