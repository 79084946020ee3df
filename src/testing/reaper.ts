/**
 * Kills servers when the process that started them ends, in whatever way: SIGKILL, a crash, `process.exit()`.
 *
 * One small shell, the reaper, holds the read end of a pipe, and only we hold the write end. When we are gone, the shell reads
 * the end of the pipe and kills every server that it knows. A server is started through another shell, which writes its own
 * process ID to the pipe, closes it, and becomes the server. So the reaper knows each server from the beginning, and the
 * process ID is the server's.
 *
 * The reaper is a shell and not a Node script, because a shell starts in a millisecond, takes 1 MB, and ignores NODE_OPTIONS.
 */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import type { Socket } from 'node:net';

/**
 * The script of the reaper. Another process may have got the ID of a server that has ended, so a process is killed only if it
 * was also started at the known time. A directory is removed only if it has the prefix of the harness's temporary ones.
 */
const REAPER_SCRIPT = `
trap '' HUP INT TERM QUIT
born() {
  if [ -r "/proc/$1/stat" ]; then
    read -r stat <"/proc/$1/stat" || return
    set -- \${stat##*) }
    case $1 in Z | X) ;; *) echo "\${20}" ;; esac # the dead who were not yet waited for are dead
  else
    ps -o lstart= -p "$1" </dev/null 2>/dev/null | tr -s ' ' '_'
  fi
}
same() { [ -n "\${1#*:}" ] && [ "$(born "\${1%%:*}")" = "\${1#*:}" ]; }
servers=
dirs=
while IFS=' ' read -r word rest; do
  case $word in
    server) servers="$servers $rest:$(born "$rest")" ;;
    gone)
      left=
      for s in $servers; do case $s in "$rest":*) ;; *) left="$left $s" ;; esac; done
      servers=$left ;;
    dir) dirs="$dirs$rest
" ;;
    undir)
      dirs=$(printf '%s' "$dirs" | grep -Fxv -e "$rest")
      [ -z "$dirs" ] || dirs="$dirs
" ;;
  esac
done
for s in $servers; do ! same "$s" || kill -KILL "\${s%%:*}" 2>/dev/null; done
tries=0
for s in $servers; do
  while same "$s" && [ $tries -lt 20 ]; do tries=$((tries + 1)); sleep 0.05; done
done
printf '%s' "$dirs" | while IFS= read -r dir; do
  case $dir in */resilient-stan-*) rm -rf -- "$dir" ;; esac
done
`;

/** Prefix of the temporary directories that the reaper may remove. */
export const TEMPORARY_PREFIX = 'resilient-stan-';

/** Writes its process ID to descriptor 3, closes it (else the pipe would never end), and becomes the server. */
const LAUNCH_SCRIPT = 'echo "server $$" >&3 && exec "$0" "$@" 3>&-';

class Reaper {
  readonly #servers = new Set<number>();
  readonly #dirs = new Set<string>();
  #shell: ChildProcess | undefined;

  /** Starts a server that ends with this process. It has a group and session of its own, so Ctrl-C reaches only this process. */
  launch(file: string, args: readonly string[], cwd: string): ChildProcess {
    const stdio: StdioOptions = ['ignore', 'pipe', 'pipe', this.#pipe()];
    const child = spawn('/bin/sh', ['-c', LAUNCH_SCRIPT, file, ...args], { cwd, detached: true, stdio });
    this.#watch(child);
    child.unref();
    (child.stdout as Socket | null)?.unref();
    (child.stderr as Socket | null)?.unref();
    return child;
  }

  /** Kills a process that was started in another way, if this process ends before it. */
  adopt(child: ChildProcess): void {
    this.#pipe();
    this.#watch(child);
    if (child.pid !== undefined) this.#tell(`server ${child.pid}`);
  }

  #watch(child: ChildProcess): void {
    const { pid } = child;
    if (pid === undefined) {
      child.once('error', () => this.#endIfIdle());
      return;
    }
    this.#servers.add(pid);
    child.once('exit', () => {
      this.#servers.delete(pid);
      this.#tell(`gone ${pid}`);
      this.#endIfIdle();
    });
  }

  /** Removes `dir` if this process ends before {@link release}. */
  guard(dir: string): void {
    this.#dirs.add(dir);
    this.#pipe();
    this.#tell(`dir ${dir}`);
  }

  release(dir: string): void {
    this.#dirs.delete(dir);
    this.#tell(`undir ${dir}`);
    this.#endIfIdle();
  }

  #pipe(): Socket {
    if (this.#shell) return this.#shell.stdin as Socket;
    const shell = spawn('/bin/sh', ['-c', REAPER_SCRIPT], {
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    this.#shell = shell;
    shell.unref();
    const stdin = shell.stdin as Socket;
    // Bun has no such method, and needs none.
    stdin.unref?.();
    stdin.on('error', () => {}); // the reaper was killed, which 'exit' tells
    shell.on('error', () => this.#lost(shell));
    shell.once('exit', () => this.#lost(shell));
    return stdin;
  }

  /** The reaper itself was killed: starts another one, and tells it everything again. */
  #lost(shell: ChildProcess): void {
    if (this.#shell !== shell) return;
    this.#shell = undefined;
    if (this.#servers.size === 0 && this.#dirs.size === 0) return;
    this.#pipe();
    for (const pid of this.#servers) this.#tell(`server ${pid}`);
    for (const dir of this.#dirs) this.#tell(`dir ${dir}`);
  }

  #tell(line: string): void {
    const stdin = this.#shell?.stdin;
    if (stdin?.writable) stdin.write(`${line}\n`);
  }

  #endIfIdle(): void {
    if (this.#servers.size > 0 || this.#dirs.size > 0) return;
    const shell = this.#shell;
    this.#shell = undefined;
    shell?.stdin?.end();
  }
}

/** The reaper of this process. All its clusters share the shell. */
export const reaper = new Reaper();
