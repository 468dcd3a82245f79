// What is checked of `ovfs serve` as a service of systemd, in bash, one after the other in one guest: the share `vm` is worked on
// while its daemon is killed, restarted and stopped.

/** Daemons that are killed one after the other. */
const KILLS = Number(process.env.OVFS_SYSTEMD_KILLS ?? 2)

// A start of the daemon takes seconds here, so each check makes do with what there is.
export const SYSTEMD_PRELUDE = `
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_PAGER= SYSTEMD_COLORS=0
# As a user would install them.
ln -s /opt/bin/node /usr/local/bin/node
ln -s /opt/node_modules/@ovfs/cli/dist/main.js /usr/local/bin/ovfs
install -m 644 -t /etc/systemd/system /opt/node_modules/@ovfs/cli/systemd/*
mkdir -p /etc/ovfs /srv/share
# Under emulation threads cost more than they give, and a quarter of the time that it takes Node to load the daemon.
export UV_THREADPOOL_SIZE=1
systemctl import-environment UV_THREADPOOL_SIZE

show() { systemctl show -P $2 ovfs@$1; }
said() { journalctl -t ovfs -u ovfs@$1 -o cat; }
succeeded() { [ "$(show $1 ActiveState) $(show $1 Result) $(show $1 ExecMainStatus)" = 'inactive success 0' ]; }
working() { kill -0 $(cat /run/front-end.pid); }
# Until the front-end has done some more.
goes_on() {
  local done=$(stat -c %s /run/progress)
  until [ $(stat -c %s /run/progress) -gt $((done + 20)) ]; do
    working || { cat /run/front-end.log; return 1; }
    sleep 0.5
  done
}
`

interface Check {
  readonly title: string
  readonly script: string
}

export const SYSTEMD_CHECKS: Readonly<Record<string, Check>> = {
  verified: {
    title: 'systemd has nothing to say against the units',
    script: `
      [ -z "$(systemd-analyze verify --man=no ovfs@vm.service ovfs@vm.socket 2>&1 | tee /dev/stderr)" ]`,
  },
  confined: {
    title: 'the daemon is confined to what it needs',
    script: `
      systemd-analyze security --threshold=40 ovfs@vm.service >/tmp/security || { cat /tmp/security; false; }
      tail -1 /tmp/security`,
  },
  mistaken: {
    title: 'a share that nobody has configured fails with a clear line, and is not tried again',
    script: `
      if systemctl start ovfs@nobody; then exit 1; fi
      [ "$(show nobody ActiveState) $(show nobody ExecMainStatus) $(show nobody NRestarts)" = 'failed 78 0' ]
      [ "$(said nobody)" = 'ovfs: URI is missing: see ovfs help serve' ]
      journalctl -u ovfs@nobody -o cat | grep 'Failed to start .*/etc/ovfs/nobody.conf'`,
  },
  ready: {
    title: 'it has started when a front-end can connect, and says what it does',
    script: `
      echo OVFS_ARGS=fs:///srv/share >/etc/ovfs/vm.conf
      systemctl start ovfs@vm
      [ -S /run/ovfs/vm.sock ]
      systemctl status ovfs@vm | tee /dev/stderr | grep -F 'Status: "serving fs:///srv/share, no front-end is connected"'
      : >/run/progress
      node /opt/tests/guest/systemd-front-end.js /run/ovfs/vm.sock /run/progress >/run/front-end.log 2>&1 &
      echo $! >/run/front-end.pid
      goes_on
      [ "$(show vm StatusText)" = 'serving fs:///srv/share, a front-end is connected' ]
      [ "$(show vm NFileDescriptorStore)" -gt 5 ]`,
  },
  killed: {
    title: 'kill -9: the front-end keeps its connection, and every answer is right',
    script: `
      for kill in $(seq ${KILLS}); do
        systemctl kill -s KILL ovfs@vm
        goes_on
      done
      [ $(said vm | grep -cx 'front-end taken over from the last daemon') = ${KILLS} ]`,
  },
  restarted: {
    title: 'systemctl restart: likewise',
    script: `
      # For the next check.
      mkdir -p /run/systemd/system/ovfs@vm.service.d
      printf '[Service]\nWatchdogSec=10\n' >/run/systemd/system/ovfs@vm.service.d/watchdog.conf
      systemctl daemon-reload
      systemctl restart ovfs@vm
      goes_on
      said vm | grep -x 'ending because=SIGTERM'
      said vm | grep -x ended`,
  },
  hung: {
    title: 'a daemon that hangs is replaced',
    script: `
      kill -STOP $(show vm MainPID)
      goes_on
      journalctl -u ovfs@vm -o cat | grep -F 'Watchdog timeout'`,
  },
  mended: {
    title: 'a mistake at a restart is waited for until it is mended, and so does the front-end',
    script: `
      echo OVFS_ARGS=memroy:// >/etc/ovfs/vm.conf
      if systemctl restart ovfs@vm; then exit 1; fi
      working
      echo OVFS_ARGS=fs:///srv/share >/etc/ovfs/vm.conf
      goes_on
      systemctl is-active ovfs@vm`,
  },
  finished: {
    title:
      'each request was answered once, every file is whole, and nothing of the front-end stays in the store',
    script: `
      kill $(cat /run/front-end.pid)
      while working; do sleep 0.5; done
      cat /run/front-end.log
      grep -x '{"requests":\\([0-9]*\\),"answers":\\1}' /run/front-end.log
      until [ "$(show vm NFileDescriptorStore)" = 0 ]; do sleep 0.5; done
      [ "$(show vm StatusText)" = 'serving fs:///srv/share, no front-end is connected' ]`,
  },
  stopped: {
    title: 'systemctl stop: the daemon ends well',
    script: `
      systemctl stop ovfs@vm
      succeeded vm
      [ ! -e /run/ovfs/vm.sock ]`,
  },
  logged: {
    title: 'the journal has a line for each event, at the level that it deserves',
    script: `
      said vm
      said vm | grep -x 'serving storage=fs:///srv/share socket=/run/ovfs/vm.sock access=read-write'
      said vm | grep -x 'front-end connected'
      journalctl -t ovfs -u ovfs@vm -p warning -o cat >/tmp/warnings
      grep -xF 'unknown service "memroy": did you mean memory://?' /tmp/warnings
      if grep -E '^(serving|front-end|ending)' /tmp/warnings; then exit 1; fi
      [ $(journalctl -t ovfs -u ovfs@vm -p info -o cat | wc -l) -gt 10 ]`,
  },
  activated: {
    title:
      'a connection to the socket of the socket unit starts the daemon and outlives it; systemctl stop ends it',
    script: `
      echo OVFS_ARGS=memory:// >/etc/ovfs/socket.conf
      # As the unit says of a share that is no folder.
      mkdir -p /run/systemd/system/ovfs@socket.service.d
      printf '%s\\n' '[Service]' ProtectSystem=strict ProtectHome=yes PrivateTmp=yes CapabilityBoundingSet= \\
        >/run/systemd/system/ovfs@socket.service.d/confined.conf
      systemctl daemon-reload
      systemctl start ovfs@socket.socket
      [ "$(show socket ActiveState) $(stat -c %a /run/ovfs/socket.sock)" = 'inactive 600' ]
      python3 /guest/monitor.py /run/ovfs/socket.sock
      systemctl stop ovfs@socket.socket ovfs@socket
      succeeded socket
      [ ! -e /run/ovfs/socket.sock ]`,
  },
}

/** A front-end that only asks for features (GET_FEATURES of the vhost-user protocol), over and over, on one connection. */
export const MONITOR = `
import socket, struct, subprocess, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
def ask():
    connection.sendall(struct.pack('<III', 1, 1, 0))
    answer = connection.recv(20, socket.MSG_WAITALL)
    assert struct.unpack('<III', answer[:12]) == (1, 5, 8), answer
    return answer
def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
features = ask()
assert 'socket=ovfs@socket.socket' in run('journalctl', '-u', 'ovfs@socket', '-o', 'cat')
run('systemctl', 'kill', '-s', 'KILL', 'ovfs@socket')
assert ask() == features
assert 'taken over' in run('journalctl', '-u', 'ovfs@socket', '-o', 'cat')
run('systemctl', 'stop', 'ovfs@socket')
assert connection.recv(1) == b''
assert run('systemctl', 'show', '-P', 'NFileDescriptorStore', 'ovfs@socket') == '0\\n'
`
