"""One repository on its way into the bucket: unchanged or cloned, uploaded, with its LFS objects, releases and wiki."""
