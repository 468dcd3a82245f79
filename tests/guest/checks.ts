// What a mounted share must do, as shell scripts for the guest. Each runs in an empty directory of its own on the share,
// named by its key, with `set -e`. `$longest` is the length of the longest name, `$large` the MiB of a large file, `$entries` the
// length of a long directory. The prelude's functions:
//   md5 FILE     prints the checksum
//   drop         empties the guest's page and name caches
//   remount      unmounts and mounts again: whatever is read now comes from the daemon
//   host VERB .. asks the host to look at or change the storage (host-calls.ts); fails if the host disagrees
//   absent PATH  succeeds if there is nothing (`set -e` ignores a plain `! [ -e PATH ]`)
//   refused WORDS COMMAND..   the command must fail and say WORDS

export const PRELUDE = `
share=/mnt/ovfs
md5() { md5sum <"$1" | cut -d ' ' -f 1; }
drop() { sync; echo 3 >/proc/sys/vm/drop_caches; }
remount() { cd /; umount $share; mount -t virtiofs ovfs $share; cd $share/$check; }
absent() { ! [ -e "$1" ]; }
refused() {
  words=$1; shift
  if "$@" 2>/tmp/refused; then echo "not refused: $*"; return 1; fi
  grep -q "$words" /tmp/refused || { cat /tmp/refused; return 1; }
}
`

export const CHECKS: Readonly<Record<string, { title: string; script: string }>> = {
  'large-file': {
    title: 'a large file keeps its checksum through dropped caches, a remount, and seen from the host',
    script: `
      dd if=/dev/urandom of=file bs=1M count=$large
      sum=$(md5 file)
      drop
      [ "$(md5 file)" = $sum ]
      remount
      [ "$(stat -c %s file)" = $((large * 1048576)) ]
      [ "$(md5 file)" = $sum ]
      host same $check/file $sum
    `,
  },
  'host-file': {
    title: 'a file that the host puts, replaces and deletes is seen in the guest after the time-out',
    script: `
      : >mine
      refused 'No such file' cat theirs
      soon() { tries=0; until "$@"; do tries=$((tries + 1)); [ $tries -lt \${patience:-150} ]; sleep 0.2; done 2>/dev/null; }
      holds() { [ "$(cat theirs)" = "$1" ]; }
      host put $check/theirs first
      soon holds first
      ls | grep -qx theirs
      host put $check/theirs the second
      soon holds 'the second'
      host delete $check/theirs
      soon absent theirs
    `,
  },
  tree: {
    title: 'mkdir -p, mv of a file and of a directory, and rm -r',
    script: `
      mkdir -p a/b/c
      echo leaf >a/b/c/leaf
      echo other >a/other
      mv a/other a/b/moved
      absent a/other
      mv a z
      absent a
      [ "$(cat z/b/c/leaf z/b/moved)" = "$(printf 'leaf\\nother')" ]
      host text $check/z/b/c/leaf leaf
      host gone $check/a/b/c/leaf
      remount
      [ "$(find . -type f | sort | tr '\\n' ' ')" = './z/b/c/leaf ./z/b/moved ' ]
      refused 'not empty' rmdir z
      rm -r z
      [ -z "$(ls -A)" ]
      host gone $check/z/b/c/leaf
      remount
      [ -z "$(ls -A)" ]
    `,
  },
  listing: {
    title: 'a long directory lists complete and without doubles, in a second listing too',
    script: `
      host fill $check/many $((entries - 100))
      cd many
      seq 1 100 | sed s/^/guest-/ | xargs touch
      complete() {
        ls -lA | grep '^-' | sed 's/.* //' >/tmp/names
        [ "$(wc -l </tmp/names)" = $entries ]
        [ "$(sort -u /tmp/names | wc -l)" = $entries ]
      }
      complete
      complete
      remount
      cd many
      complete
    `,
  },
  overwrite: {
    title: 'overwriting 100 bytes in the middle of a 10 MiB file changes those bytes only',
    script: `
      dd if=/dev/urandom of=/tmp/expected bs=1M count=10
      cp /tmp/expected file
      remount
      head -c 100 /dev/zero | tr '\\0' x >/tmp/patch
      for file in file /tmp/expected; do dd if=/tmp/patch of=$file bs=100 seek=50000 conv=notrunc; done
      sum=$(md5 /tmp/expected)
      [ "$(md5 file)" = $sum ]
      remount
      [ "$(md5 file)" = $sum ]
      host same $check/file $sum
      rm /tmp/expected
    `,
  },
  flags: {
    title: 'O_DIRECT, O_DIRECTORY and O_APPEND mean the same whatever their numbers are on the processor',
    script: `
      dd if=/dev/urandom of=/tmp/expected bs=4096 count=64
      dd if=/tmp/expected of=file bs=4096 oflag=direct
      dd if=/tmp/expected of=file bs=4096 oflag=direct,append conv=notrunc
      dd if=file of=/tmp/read bs=4096 iflag=direct
      cat /tmp/expected /tmp/expected | cmp - /tmp/read
      host same $check/file $(md5 /tmp/read)
      mkdir directory
      [ -z "$(ls -A directory)" ]
      ln -s directory link
      refused 'Not a directory' rmdir link
      [ "$(find . | sort | tr '\\n' ' ')" = '. ./directory ./file ./link ' ]
      rm /tmp/expected /tmp/read
    `,
  },
  append: {
    title: 'appending adds at the end, also to a file that was closed and to one that another wrote',
    script: `
      printf one >file
      printf two >>file
      (printf three; printf four) >>file
      [ "$(cat file)" = onetwothreefour ]
      remount
      printf five >>file
      [ "$(cat file)" = onetwothreefourfive ]
      host text $check/file onetwothreefourfive
    `,
  },
  truncate: {
    title: 'truncating down cuts, truncating up adds zeros',
    script: `
      head -c 100000 /dev/urandom >/tmp/expected
      cp /tmp/expected file
      for size in 70001 123456 4096 4097 0 10; do
        truncate -s $size file
        truncate -s $size /tmp/expected
        [ "$(stat -c %s file)" = $size ]
        cmp file /tmp/expected
        remount
        cmp file /tmp/expected
        host same $check/file $(md5 /tmp/expected)
      done
    `,
  },
  hole: {
    title: 'a write far beyond the end leaves zeros between',
    script: `
      printf start >file
      printf end | dd of=file bs=1 seek=3000000 conv=notrunc
      [ "$(stat -c %s file)" = 3000003 ]
      remount
      [ "$(head -c 5 file)" = start ]
      [ "$(tail -c 3 file)" = end ]
      [ "$(tr -d '\\0' <file)" = startend ]
      host size $check/file 3000003
    `,
  },
  space: {
    title: 'df and stat -f give numbers that fit together',
    script: `
      df -k $share
      df -k $share | tail -n 1 | {
        read -r name blocks used free rest
        [ $blocks -gt 0 ]
        [ $free -gt 0 ]
        [ $used -ge 0 ]
        [ $((used + free)) -le $blocks ]
      }
      set -- $(stat -f -c '%S %b %f %a %l' .)
      [ $1 -ge 512 ]
      [ $2 -ge $3 ]
      [ $3 -ge $4 ]
      [ $5 -ge 255 ]
    `,
  },
  replace: {
    title: 'a file renamed over another replaces it, a directory that is not empty is not replaced',
    script: `
      echo old >target
      echo new >source
      mv source target
      [ "$(cat target)" = new ]
      absent source
      mkdir -p left/inner right/inner
      refused 'not empty' mv -T left right
      remount
      [ "$(ls | tr '\\n' ' ')" = 'left right target ' ]
      host text $check/target new
    `,
  },
  unlinked: {
    title: 'an open file stays readable and writable after its name is gone',
    script: `
      echo before >file
      exec 3>>file 4<file
      rm file
      absent file
      echo after >&3
      [ "$(cat <&4)" = "$(printf 'before\\nafter')" ]
      exec 3>&- 4<&-
      host gone $check/file
      [ -z "$(ls -A)" ]
    `,
  },
  names: {
    title:
      'names with white space, quotes, backslashes and other scripts survive, the longest do, and 256 bytes are refused',
    script: `
      long=$(head -c $longest /dev/zero | tr '\\0' n)
      for name in ' leading' 'trailing ' 'in side' 'back\\slash' "quo'te\\"s" 'hash#?&%41' 'ünïcödé 文件' .hidden '...' "$long"; do
        printf %s "$name" >"$name"
      done
      remount
      [ "$(ls -A | wc -l)" = 10 ]
      for name in *; do [ "$(cat "$name")" = "$name" ]; done
      refused 'name too long' touch $(head -c 256 /dev/zero | tr '\\0' n)
      rm -- * .hidden ...
      [ -z "$(ls -A)" ]
    `,
  },
  parallel: {
    title: 'eight writers at once do not mix their files',
    script: `
      for n in 1 2 3 4 5 6 7 8; do
        (yes "line of writer $n" | head -n 5000 >file-$n) &
      done
      wait
      remount
      for n in 1 2 3 4 5 6 7 8; do
        [ "$(sort -u file-$n)" = "line of writer $n" ]
        [ "$(wc -l <file-$n)" = 5000 ]
      done
    `,
  },
}
