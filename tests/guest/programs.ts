// What real programs must find on a share, as bash scripts for the Debian guest. Each runs in an empty directory of its own,
// named by its key, with `set -ex`. `again` runs there in a second guest, on a fresh daemon: what the programs left must be
// the same, attributes too. The prelude's function: same FROM TO succeeds if rsync would have nothing to do.

export interface Program {
  readonly title: string
  readonly script: string
  readonly again: string
}

export const PROGRAM_PRELUDE = `
git config --file /tmp/.gitconfig user.name guest
git config --file /tmp/.gitconfig user.email guest@example.org
git config --file /tmp/.gitconfig init.defaultBranch main
git config --file /tmp/.gitconfig safe.directory '*'
same() {
  differences=$(rsync -a --checksum --modify-window=-1 --itemize-changes --dry-run --delete "$1/" "$2/")
  echo "$differences"
  [ -z "$differences" ]
}
`

/** A tree with what archives keep: modes, times, links, empty and odd names. */
const SOURCE_TREE = `
tree=$(mktemp -d)
mkdir -p $tree/deep/er/est $tree/empty $tree/private "$tree/ odd name "
for n in 1 2 3 4 5 6 7 8; do head -c $((n * n * 3000)) /dev/urandom >$tree/deep/file-$n; done
: >$tree/empty-file
echo hidden >$tree/.hidden
echo odd >"$tree/ odd name /trailing "
printf '#!/bin/sh\\necho ran\\n' >$tree/program
ln -s program $tree/link
ln -s /nowhere/at/all $tree/deep/dangling
ln -s ../deep/er $tree/private/directory
chmod 755 $tree/program
chmod 4711 $tree/deep/file-1
chmod 400 $tree/deep/file-2
chmod 700 $tree/private
chmod 2775 $tree/empty
chown 1000:1001 $tree/deep/file-3
touch -d '2001-02-03 04:05:06.789012345Z' $tree/deep/file-4
touch -h -d '1999-12-31 23:59:59.5Z' $tree/link
find $tree -depth -type d -exec touch -d '2010-10-10 10:10:10.25Z' {} +
`

export const PROGRAMS: Readonly<Record<string, Program>> = {
  git: {
    title: 'git: init, add, commit, merge, gc, clone and checkout leave repositories that fsck finds clean',
    script: `
      git init -q repository
      cd repository
      for n in 1 2 3 4 5 6 7 8 9 10 11 12; do mkdir -p part-$((n % 3)); seq $((n * 40)) >part-$((n % 3))/file-$n; done
      ln -s part-1 link
      printf '#!/bin/sh\\n' >run
      chmod +x run
      git add .
      git commit -qm first
      git checkout -qb side
      echo side >side
      git add side
      git commit -qm side
      git checkout -q main
      sed -i s/7/seven/ part-*/*
      git commit -qam second
      git merge -q --no-edit side
      git gc -q
      git fsck --full --strict
      [ -z "$(git status --porcelain)" ]
      git clone -q . ../clone
      cd ../clone
      git checkout -q HEAD~1
      [ ! -e side ]
      git checkout -q main
      [ -e side ]
      git fsck --full --strict
      [ -z "$(git status --porcelain)" ]
    `,
    again: `
      for each in repository clone; do
        git -C $each fsck --full --strict
        [ -z "$(git -C $each status --porcelain)" ]
        [ -x $each/run ]
        [ "$(readlink $each/link)" = part-1 ]
      done
      [ "$(git -C repository rev-parse HEAD)" = "$(git -C clone rev-parse HEAD)" ]
    `,
  },
  sqlite: {
    title:
      'SQLite: two processes write, with a rollback journal and with a write-ahead log, and lose nothing',
    script: `
      for mode in delete wal; do
        sqlite3 $mode.db "PRAGMA journal_mode = $mode; CREATE TABLE rows(writer TEXT, data BLOB);"
        writer() {
          for n in 1 2 3 4 5; do
            sqlite3 -cmd '.timeout 60000' $mode.db "BEGIN IMMEDIATE; INSERT INTO rows VALUES('$1', randomblob(9000)); COMMIT;"
          done
        }
        writer first & first=$!
        writer second & second=$!
        wait $first
        wait $second
        sqlite3 $mode.db "BEGIN; DELETE FROM rows; ROLLBACK;"
        [ "$(sqlite3 $mode.db 'SELECT count(*), count(DISTINCT data) FROM rows')" = '10|10' ]
        [ "$(sqlite3 $mode.db 'PRAGMA integrity_check')" = ok ]
      done
    `,
    again: `
      for mode in delete wal; do
        [ "$(sqlite3 $mode.db 'PRAGMA journal_mode')" = $mode ]
        [ "$(sqlite3 $mode.db 'PRAGMA integrity_check')" = ok ]
        [ "$(sqlite3 $mode.db 'SELECT writer, count(*) FROM rows GROUP BY writer' | tr '\\n' ' ')" = 'first|5 second|5 ' ]
      done
    `,
  },
  archives: {
    title:
      'tar, rsync -a and cp -a keep contents, modes, owners, times and links, so that rsync finds nothing to do',
    script: `
      ${SOURCE_TREE}
      tar -C $tree --format=posix -cf archive.tar .
      mkdir untarred
      tar -C untarred -xpf archive.tar
      tar -C untarred -df archive.tar
      same $tree untarred
      rsync -a $tree/ synced
      same $tree synced
      cp -a $tree copied
      same $tree copied
    `,
    again: `
      tar -C untarred -df archive.tar
      same untarred synced
      same untarred copied
      [ "$(stat -c %y untarred/deep/file-4)" = '2001-02-03 04:05:06.789012345 +0000' ]
      [ "$(stat -c %a:%u:%g untarred/deep/file-1 untarred/deep/file-3 untarred/empty | tr '\\n' ' ')" = '4711:0:0 644:1000:1001 2775:0:0 ' ]
      [ "$(untarred/link)" = ran ]
    `,
  },
  editors: {
    title:
      'sed -i, vim and programs that write a new file and rename it replace a file, keep its mode and leave nothing else',
    script: `
      printf 'one\\ntwo\\nthree\\n' >text
      chmod 640 text
      sed -i s/one/1/ text
      vim.tiny -u NONE -e -s -c 'set backupcopy=no' -c '%s/two/2/' -c wq text </dev/null
      vim.tiny -u NONE -e -s -c 'set backupcopy=yes' -c '$s/$/!/' -c wq text </dev/null
      python3 - <<'PYTHON'
import os
with open('text.new', 'x') as new:
    new.write(open('text').read().replace('three', '3'))
    new.flush()
    os.fchmod(new.fileno(), os.stat('text').st_mode & 0o7777)
    os.fsync(new.fileno())
os.rename('text.new', 'text')
folder = os.open('.', os.O_RDONLY)
os.fsync(folder)
PYTHON
      [ "$(cat text)" = "$(printf '1\\n2\\n3!')" ]
      [ "$(stat -c %a text)" = 640 ]
      [ "$(ls -A)" = text ]
    `,
    again: `
      [ "$(cat text)" = "$(printf '1\\n2\\n3!')" ]
      [ "$(stat -c %a text)" = 640 ]
      [ "$(ls -A)" = text ]
    `,
  },
  packages: {
    title: 'dpkg builds a package from a tree on the share and unpacks it to the same tree',
    script: `
      ${SOURCE_TREE}
      mkdir -p $tree/DEBIAN
      printf 'Package: example\\nVersion: 1\\nArchitecture: all\\nMaintainer: guest\\nDescription: example\\n' >$tree/DEBIAN/control
      rsync -a $tree/ source
      dpkg-deb --build source example.deb
      dpkg -x example.deb unpacked
      rm -r source/DEBIAN
      touch -d '2010-10-10 10:10:10Z' source unpacked
      [ "$(dpkg -f example.deb Version)" = 1 ]
      diff -r --no-dereference source unpacked
      [ "$(stat -c '%a %u %F' source/deep/file-1)" = "$(stat -c '%a %u %F' unpacked/deep/file-1)" ]
    `,
    again: `
      diff -r --no-dereference source unpacked
      [ "$(stat -c %a unpacked/deep/file-1)" = 4711 ]
      dpkg-deb --contents example.deb | grep -q 'dangling -> /nowhere/at/all'
    `,
  },
  fio: {
    title: 'fio: random reads and writes, direct calls and mappings, all verify',
    script: `
      job="--size=1M --bs=4k --verify=crc32c --verify_fatal=1 --randseed=7"
      fio --name=calls --filename=calls --rw=randwrite --ioengine=psync --fsync=256 $job
      fio --name=mapped --filename=mapped --rw=randwrite --ioengine=mmap $job
      fio --name=mixed --filename=mixed --rw=randrw --bsrange=512-64k --bs_unaligned --size=1M --ioengine=psync --verify=md5 --verify_fatal=1
    `,
    again: `
      job="--size=1M --bs=4k --verify=crc32c --verify_fatal=1 --randseed=7 --verify_only"
      fio --name=calls --filename=calls --rw=randwrite --ioengine=psync $job
      fio --name=mapped --filename=mapped --rw=randwrite --ioengine=psync $job
    `,
  },
}
