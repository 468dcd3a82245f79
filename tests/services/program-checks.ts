// What programs do on a share, beside the checks of the guest and in the same form. What a check leaves behind must be the same
// after a restart of the daemon; `after` then runs in the same directory. Besides the prelude's functions:
//   outside VERB ..   is `host` on the check's own directory
//   same_tree A B     compares contents, modes, links and the times of files of two trees
//   soon COMMAND..    waits for what another client did until it is seen

import type { BatteryCheck } from './all-checks.ts'

export const PROGRAM_PRELUDE = `
md5() { md5sum <"$1" | cut -d ' ' -f 1; }
host() { echo "$*" >&9; read -r answer <&9; [ "$answer" = ok ] || { echo "host $*: $answer"; return 1; }; }
remount() { cd /; host remount; cd $share/$check; }
drop() { remount; }
outside() { verb=$1; shift; host $verb $check/"$@"; }
soon() { tries=0; until "$@"; do tries=$((tries + 1)); [ $tries -lt $patience ]; sleep 0.2; done 2>/dev/null; }
tree_of() (
  set +x
  cd "$1"
  find . -type d -printf '%p %y %m\\n' -o -printf '%p %y %m %s %l %Ts\\n' | sort
  find . -type f -exec md5sum {} + | sort
)
same_tree() { diff <(tree_of "$1") <(tree_of "$2"); }
make_tree() {
  mkdir -p "$1/src/deep/er" "$1/empty"
  for n in 1 2 3 4 5 6 7 8; do echo "source $n" >"$1/src/file-$n.c"; head -c $((n * 3000)) /dev/urandom >"$1/src/deep/er/data-$n"; done
  printf '#!/bin/sh\\necho it runs\\n' >"$1/run.sh"
  chmod 755 "$1/run.sh"; chmod 600 "$1/src/file-1.c"; chmod 750 "$1/src/deep"
  : >"$1/nothing"
  ln -s src/file-2.c "$1/link"; ln -s nowhere "$1/dangling"
  touch -d '2001-02-03 04:05:06 UTC' "$1/src/file-3.c" "$1/empty"
}
`

export const PROGRAM_CHECKS: Readonly<Record<string, BatteryCheck>> = {
  empty: {
    title: 'an empty file is there',
    script: `
      : >first
      touch second
      [ -f first ] && [ ! -s first ]
      outside size first 0
    `,
    after: '[ -f second ] && [ ! -s second ]',
  },
  shrink: {
    title: 'a file that is written again is as short as its last content',
    script: `
      for bytes in 100000 10 70000 1 0 5; do
        head -c $bytes /dev/zero | tr '\\0' x >file
        remount
        [ "$(stat -c %s file)" = $bytes ]
        outside size file $bytes
      done
    `,
    after: '[ "$(cat file)" = xxxxx ]',
  },
  'append-slowly': {
    title: 'a log that stays open is appended to by and by',
    script: `
      exec 7>>log
      echo one >&7
      sleep 2.2
      echo two >&7
      exec 7>&-
      [ "$(cat log)" = "$(printf 'one\\ntwo')" ]
      remount
      [ "$(cat log)" = "$(printf 'one\\ntwo')" ]
    `,
    after: 'echo three >>log; [ "$(cat log)" = "$(printf \'one\\ntwo\\nthree\')" ]',
  },
  'rename-over': {
    title: 'a file is replaced the way editors do it, many times',
    script: `
      for n in 1 2 3 4 5 6; do
        echo "version $n" >.file.tmp
        sync .file.tmp
        mv .file.tmp file
        [ "$(cat file)" = "version $n" ]
      done
      sed -i 's/version/the version/' file
      outside text file 'the version 6'
      [ "$(ls -A)" = file ]
    `,
    after: '[ "$(cat file)" = "the version 6" ]',
  },
  'rename-tree': {
    title: 'a directory with a tree below it is renamed',
    script: `
      make_tree before
      cp -a before $TMPDIR/$check
      mv before after
      absent before
      same_tree $TMPDIR/$check after
      mkdir elsewhere
      mv after elsewhere/again
      remount
      absent after
      same_tree $TMPDIR/$check elsewhere/again
      rm -r $TMPDIR/$check
    `,
    after: '[ "$(elsewhere/again/run.sh)" = "it runs" ]',
  },
  'rename-large': {
    title: 'a file of 9 MiB is renamed within its directory and into another',
    script: `
      head -c 9437184 /dev/urandom >one
      sum=$(md5 one)
      mv one two
      [ "$(md5 two)" = $sum ]
      mkdir directory
      mv two directory/three
      remount
      [ "$(md5 directory/three)" = $sum ]
      outside same directory/three $sum
    `,
  },
  'rename-case': {
    title: 'names that differ in case only are two names, for files and for directories',
    script: `
      mkdir Docs docs
      echo upper >Docs/file
      echo lower >docs/file
      echo a >readme
      mv readme README
      absent readme
      echo b >readme
      remount
      [ "$(cat Docs/file docs/file README readme)" = "$(printf 'upper\\nlower\\na\\nb')" ]
      rm -r Docs
      [ "$(cat docs/file)" = lower ]
    `,
    after: 'absent Docs; [ "$(cat docs/file README)" = "$(printf \'lower\\na\')" ]',
  },
  wildcards: {
    title: 'names that a database might take for patterns are names',
    script: `
      for name in my-pkg my_pkg my%pkg 'my*pkg' 'my?pkg' 'my[a]pkg'; do
        mkdir "$name"
        echo "$name" >"$name/file"
      done
      rm -r my_pkg
      remount
      absent my_pkg
      for name in my-pkg my%pkg 'my*pkg' 'my?pkg' 'my[a]pkg'; do [ "$(cat "$name/file")" = "$name" ]; done
    `,
    after: '[ "$(ls | wc -l)" = 5 ]; [ "$(cat my%pkg/file)" = "my%pkg" ]',
  },
  'odd-names': {
    title: 'odd names are kept, for files, for directories and through a rename',
    script: `
      newline=$(printf 'two\\nlines')
      tab=$(printf 'a\\ttab')
      for name in 'my file' 'a+b' '%41' '%2F' 'ä' 'trailing ' ' leading' 'back\\slash' "$newline" "$tab" '#?&;=' '~' '-x' '@:' 'a.' '文'; do
        printf %s "$name" >"./$name"
        mkdir "dir $name"
        printf %s "$name" >"dir $name/$name"
      done
      remount
      [ "$(find . -type f -print0 | tr -dc '\\0' | wc -c)" = 32 ]
      for name in *; do
        [ -d "$name" ] || [ "$(cat "./$name")" = "$name" ]
        mv "./$name" "./moved $name"
      done
      remount
      for name in 'my file' 'a+b' '%41' 'trailing ' 'back\\slash' "$newline" '文'; do
        [ "$(cat "moved $name")" = "$name" ]
        [ "$(cat "moved dir $name/$name")" = "$name" ]
      done
    `,
    after: '[ "$(ls -A | grep -c "^moved")" = 32 ]; rm -r -- *; [ -z "$(ls -A)" ]',
  },
  'dot-names': {
    title: 'names that begin with a dot are kept, and keep their directory from removal',
    script: `
      mkdir project
      echo secret >project/.env
      mkdir project/.config
      echo x >project/.config/.inner
      refused 'not empty' rmdir project
      remount
      refused 'not empty' rmdir project
      [ "$(cat project/.env)" = secret ]
      [ "$(ls -A project | tr '\\n' ' ')" = '.config .env ' ]
    `,
    after: 'rm -r project/.config; refused "not empty" rmdir project; rm project/.env; rmdir project',
  },
  'long-path': {
    title: 'a name of 200 bytes, and a path of 700',
    script: `
      name=$(head -c 200 /dev/zero | tr '\\0' n)
      echo long >$name
      mkdir -p $name-d/$name/$name
      echo deep >$name-d/$name/$name/file
      remount
      [ "$(cat $name $name-d/$name/$name/file)" = "$(printf 'long\\ndeep')" ]
    `,
    after:
      'name=$(head -c 200 /dev/zero | tr "\\0" n); [ "$(cat $name-d/$name/$name/file)" = deep ]; rm -r ./*',
  },
  attributes: {
    title: 'modes, owners and times are kept, of files and directories',
    script: `
      echo x >file
      mkdir directory
      chmod 640 file
      chown 1234:5678 file directory
      chmod 3770 directory
      touch -d '1999-12-31 23:59:58.25 UTC' file directory
      shows() { [ "$(stat -c '%a %u %g %.2Y' file directory | tr '\\n' ' ')" = '640 1234 5678 946684798.25 3770 1234 5678 946684798.25 ' ]; }
      shows
      remount
      shows
    `,
    after: `[ "$(stat -c '%a %u %g %.2Y' file directory | tr '\\n' ' ')" = '640 1234 5678 946684798.25 3770 1234 5678 946684798.25 ' ]`,
  },
  execute: {
    title: 'a script that was made executable runs',
    script: `
      printf '#!/bin/sh\\necho "it runs with $1"\\n' >script
      chmod +x script
      [ "$(./script me)" = 'it runs with me' ]
    `,
    after: '[ "$(./script me)" = "it runs with me" ]',
  },
  symlinks: {
    title: 'symbolic links lead where they say',
    script: `
      mkdir directory
      echo target >directory/file
      ln -s directory/file to-file
      ln -s directory to-directory
      ln -s 'no where' dangling
      [ "$(cat to-file to-directory/file)" = "$(printf 'target\\ntarget')" ]
      refused 'No such file' cat dangling
      remount
      [ "$(readlink dangling)" = 'no where' ]
      ln -sfn directory/file to-directory
      [ "$(cat to-directory)" = target ]
    `,
    after: '[ "$(cat to-directory)" = target ]; [ "$(readlink dangling)" = "no where" ]',
  },
  exclusive: {
    title: 'what exists is not made again',
    script: `
      echo first >file
      refused 'exist' bash -c 'set -C; echo second >file'
      mkdir directory
      refused 'exists' mkdir directory
      refused 'exists' mkdir file
      refused 'Is a directory' bash -c 'set -C; echo second >directory'
      [ "$(cat file)" = first ]
      mkdir $TMPDIR/won
      for n in 1 2 3 4 5 6 7 8; do (mkdir contended && touch $TMPDIR/won/$n) 2>/dev/null & done
      wait
      [ "$(ls $TMPDIR/won | wc -l)" = 1 ]
    `,
  },
  'made-by-others': {
    title: 'what another client has made is not made again, though nobody has looked at it',
    script: `
      outside put theirs content
      refused 'exist' bash -c 'set -C; echo mine >theirs'
      outside text theirs content
    `,
  },
  'change-kind': {
    title: 'a name is a file, then a directory, then a file again',
    script: `
      echo file >name
      rm name
      mkdir name
      echo inside >name/file
      remount
      [ "$(cat name/file)" = inside ]
      rm -r name
      echo again >name
      remount
      [ "$(cat name)" = again ]
    `,
    after: '[ "$(cat name)" = again ]',
  },
  deep: {
    title: 'a tree that is twenty directories deep is made and removed',
    script: `
      path=a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t
      mkdir -p $path
      echo bottom >$path/file
      remount
      [ "$(cat $path/file)" = bottom ]
      rm -r a/b/c/d/e/f
      [ "$(find . | wc -l)" = 6 ]
    `,
    after: '[ -d a/b/c/d/e ]; absent a/b/c/d/e/f; rm -r a',
  },
  many: {
    title: 'a hundred files are made, moved with their directory, and removed',
    script: `
      mkdir files
      for n in $(seq 100); do echo $n >files/$n; done
      mv files moved
      remount
      [ "$(cat moved/* | sort -n | tr '\\n' ' ')" = "$(seq 100 | tr '\\n' ' ')" ]
      rm -r moved
      remount
      [ -z "$(ls -A)" ]
    `,
    after: '[ -z "$(ls -A)" ]',
  },
  sparse: {
    title: 'a file with holes reads as zeros, and copies as such',
    script: `
      truncate -s 5000000 file
      printf middle | dd of=file bs=1 seek=2500000 conv=notrunc
      cp --sparse=always file copy
      remount
      [ "$(stat -c %s file copy | tr '\\n' ' ')" = '5000000 5000000 ' ]
      [ "$(tr -d '\\0' <copy)" = middle ]
      cmp file copy
    `,
  },
  'cp-a': {
    title: 'cp -a keeps everything of a tree',
    script: `
      make_tree tree
      cp -a tree copy
      same_tree tree copy
      remount
      same_tree tree copy
    `,
    after: 'same_tree tree copy',
  },
  tar: {
    title: 'tar reads a tree without a change under its hands, and unpacks it as it was',
    script: `
      make_tree tree
      tar cf all.tar tree
      # The guest asks for attributes again after a second.
      sleep 1.2
      tar cf $TMPDIR/again.tar tree
      remount
      ls -lR tree
      tar cf $TMPDIR/again.tar tree 2>$TMPDIR/said || { cat $TMPDIR/said; false; }
      [ ! -s $TMPDIR/said ]
      mkdir unpacked
      tar xf all.tar -C unpacked
      same_tree tree unpacked/tree
      tar df all.tar -C unpacked
    `,
    after: 'tar df all.tar; tar df all.tar -C unpacked; same_tree tree unpacked/tree',
  },
  git: {
    title: 'git commits, clones, collects its garbage and finds nothing damaged',
    script: `
      export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null HOME=$TMPDIR
      git init -q repository
      cd repository
      git config user.email test@example.org
      git config user.name Test
      for n in 1 2 3 4 5; do echo "line $n" >file-$n; done
      git add .
      git commit -qm first
      echo more >>file-1
      git commit -qam second
      git mv file-2 renamed
      git commit -qm third
      [ -z "$(git status --porcelain)" ]
      git gc -q
      git fsck --strict
      cd ..
      git clone -q repository clone
      [ "$(git -C clone log --oneline | wc -l)" = 3 ]
    `,
    after: `
      export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null HOME=$TMPDIR
      cd repository
      [ -z "$(git status --porcelain)" ]
      git fsck --strict
      git checkout -q HEAD~1
      [ -f file-2 ]
    `,
  },
  database: {
    title: 'an SQLite database in a file is whole after many transactions',
    script: `
      sqlite3 database 'CREATE TABLE numbers (n INTEGER PRIMARY KEY, word TEXT)'
      for n in 1 2 3 4 5; do sqlite3 database "WITH RECURSIVE c(i) AS (SELECT $n * 1000 UNION ALL SELECT i + 1 FROM c LIMIT 200) INSERT INTO numbers SELECT i, hex(randomblob(20)) FROM c"; done
      sqlite3 database 'DELETE FROM numbers WHERE n % 2 = 0'
      remount
      [ "$(sqlite3 database 'PRAGMA integrity_check; SELECT count(*) FROM numbers')" = "$(printf 'ok\\n500')" ]
    `,
    after: `[ "$(sqlite3 database 'PRAGMA integrity_check; SELECT count(*) FROM numbers')" = "$(printf 'ok\\n500')" ]`,
  },
  gzip: {
    title: 'gzip replaces a file by its compressed form and back',
    script: `
      seq 20000 >file
      sum=$(md5 file)
      gzip file
      absent file
      remount
      gunzip file.gz
      [ "$(md5 file)" = $sum ]
    `,
  },
  'truncated-open': {
    title: 'a file that is emptied while it is open goes on from nothing',
    script: `
      exec 7>>file
      echo before >&7
      : >file
      echo after >&7
      exec 7>&-
      [ "$(cat file)" = after ]
      outside text file after
    `,
  },
  'changed-outside': {
    title: 'a file that another client adds, changes or deletes is found by its name',
    script: `
      mkdir directory
      echo mine >directory/mine
      absent directory/theirs
      outside put directory/theirs first
      soon grep -qx first directory/theirs
      outside put directory/theirs second-and-longer
      soon grep -qx second-and-longer directory/theirs
      outside delete directory/mine
      soon absent directory/mine
      outside delete directory/theirs
      soon absent directory/theirs
      rmdir directory
    `,
  },
  'listed-outside': {
    title: 'what another client adds or deletes in a directory is listed, with new directories',
    script: `
      mkdir directory
      echo mine >directory/mine
      ls directory
      trap 'outside delete directory/theirs; outside delete directory/below/file' EXIT
      outside put directory/theirs new
      outside put directory/below/file new
      listed() { [ "$(ls directory | tr '\\n' ' ')" = "$*" ]; }
      soon listed 'below mine theirs '
      [ "$(cat directory/below/file)" = new ]
      outside delete directory/mine
      outside delete directory/theirs
      soon listed 'below '
      outside delete directory/below/file
      rm -r directory
    `,
  },
  'replaced-outside': {
    title: 'a file that another client replaced is not half old and half new',
    script: `
      yes old | head -c 3000000 >file
      cat file >/dev/null
      outside put file new
      soon grep -qx new file
      [ "$(cat file)" = new ]
      [ "$(stat -c %s file)" = 3 ]
    `,
  },
  'extended-attributes': {
    title: 'extended attributes are kept',
    script: `
      : >file
      python3 -c "import os; os.setxattr('file', 'user.note', b'a value'); assert os.listxattr('file') == ['user.note']"
      remount
      python3 -c "import os; assert os.getxattr('file', 'user.note') == b'a value'"
    `,
    after: `python3 -c "import os; assert os.getxattr('file', 'user.note') == b'a value'"`,
  },
}
