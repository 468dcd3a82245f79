// The guest's /init. Two serial lines lead to the host: the kernel's console, and $SCRIPT_LINE, which belongs to the script
// alone. What /init itself has to say goes through the kernel log, whose lines nothing can interleave:
//   ovfs-guest: boot          user space runs
//   ovfs-guest: fail TEXT     something before the script went wrong
//   ovfs-guest: call TEXT     the script asks the host to do something (`host TEXT`) and waits for a line on $SCRIPT_LINE
//   ovfs-guest: exit N        the script's exit status

/** Prefix of every line in the kernel log that is meant for the host. */
export const SAYS = 'ovfs-guest: '

/** A share's line in /guest/shares is `tag mountpoint`. A file /guest/shell, with the terminal's size as stty takes it, asks for a
 * shell instead of the script; a file /guest/init is read by this shell, which can then become another /init. */
export const INIT = `#!/bin/busybox sh
export PATH=/bin HOME=/ TERM=linux
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
say() { echo "<1>${SAYS}$*" >/dev/kmsg; }
stop() { poweroff -f; }
fail() { say "fail $*"; stop; }
say boot
for module in /modules/*; do
  # Without modules the pattern stands for itself.
  [ -e "$module" ] || break
  insmod "$module" || fail "insmod $module"
done
stty -F /dev/$SCRIPT_LINE raw -echo
while read -r tag point; do
  mkdir -p "$point"
  mount -t virtiofs "$tag" "$point" 2>/tmp/mount || fail "mount $tag: $(cat /tmp/mount)"
done </guest/shares
# It knows its line by itself: who calls it may have another environment.
cat >/bin/host <<HOST
#!/bin/sh
echo "<1>${SAYS}call \\$*" >/dev/kmsg
read -r answer </dev/$SCRIPT_LINE
[ "\\$answer" = ok ] || { echo "host \\$*: \\$answer" >&2; exit 1; }
HOST
chmod +x /bin/host
[ -e /guest/init ] && . /guest/init
if [ -e /guest/shell ]; then
  export PS1='guest:\\w# ' ENV=/guest/welcome
  # The window's size is forgotten when the line is closed, so it is set on the line that the shell gets.
  { stty sane -onlcr $(cat /guest/shell); setsid -c /bin/sh; } <>/dev/$SCRIPT_LINE >&0 2>&1
else
  sh /guest/script </dev/null >/dev/$SCRIPT_LINE 2>&1
fi
status=$?
cd /
while read -r tag point; do umount "$point"; done </guest/shares
say "exit $status"
stop
`
