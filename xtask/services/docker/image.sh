#!/bin/sh
# Packages that were unpacked in ROOT become the file system of an image: image.sh ROOT TAR
#
# No script of a package is run. What a shell needs comes from busybox; where a package has a program of the
# same name, that one stays.
set -eu
root=$1 tar=$2
cd "$root"

for top in bin sbin lib lib64; do
    [ ! -d "usr/$top" ] || ln -s "usr/$top" "$top"
done
rm -rf var/lib/apt var/cache usr/share/doc usr/share/man usr/share/locale usr/share/info usr/share/lintian \
    usr/share/bash-completion
mkdir -p dev etc proc root run sys tmp var/tmp
chmod 1777 tmp var/tmp

for name in $(usr/bin/busybox --list); do
    [ -e "usr/bin/$name" ] || [ -e "usr/sbin/$name" ] || ln -s busybox "usr/bin/$name"
done
[ ! -e usr/bin/python3 ] || ln -sf python3 usr/bin/python
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' > etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' > etc/group

tar --numeric-owner --owner=0 --group=0 -cf "$tar" .
