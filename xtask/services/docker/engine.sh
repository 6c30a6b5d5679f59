#!/bin/sh
# One Docker engine in namespaces of its own: engine.sh FOLDER LAYERS
#
# Its processes, mounts and network are seen by nobody else and end with it, however it ends: no bridge, no
# packet filter and no mount of the machine is touched. Its programs are those of LAYERS, folders that stand
# in the place of /usr.
set -eu
folder=$1 layers=$2

if [ "${3-}" = inside ]; then
    mount -t tmpfs run /run
    # What /sys tells of networks is that of the network it was mounted in.
    mkdir /run/cgroup
    mount --rbind /sys/fs/cgroup /run/cgroup
    mount -t sysfs sysfs /sys
    mount --move /run/cgroup /sys/fs/cgroup
    mount -t overlay engine -o "lowerdir=$layers" /usr
    ip link set lo up
    exec tini -- dockerd --config-file "$folder/daemon.json"
fi

# As a service manager would, where that is allowed: no container is given more than its engine has.
ulimit -n "$(cat /proc/sys/fs/nr_open)" 2> /dev/null || ulimit -n "$(ulimit -H -n)"

setpriv --pdeathsig KILL \
    unshare --mount --propagation slave --net --pid --fork --kill-child --mount-proc \
    sh "$0" "$folder" "$layers" inside &
outer=$!
# The outer process hears no signals; its only child is the first process inside.
trap 'kill -TERM "$(tr -d " " < "/proc/$outer/task/$outer/children")"' INT TERM
while kill -0 "$outer" 2> /dev/null; do
    wait "$outer" || status=$?
done
exit "${status-0}"
