/**
 * No server outlives the process that started it, however that ends: SIGKILL, a crash, `process.exit()`.
 *
 * One small shell process holds the read end of a pipe. Its write end is ours alone, so when we are gone, in whatever
 * way, the shell reads the end of the pipe and kills every server it was told about. A server announces itself: it is
 * started through a shell that writes its own process ID to the pipe, closes it, and becomes the server. So there is no
 * instant at which a server lives and the reaper does not know it, and the process ID stays the server's own.
 *
 * A shell and not a Node script: it starts in a millisecond, takes 1 MB, and no NODE_OPTIONS reaches it.
 */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import type { Socket } from 'node:net';

/**
 * A process ID alone is not enough, it may have been given to somebody else since: what is killed must also have been
 * born at the same time. Directories are removed only when they carry the prefix of the harness's own temporary ones.
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

/** Prefix of the temporary directories the reaper is willing to remove. */
export const TEMPORARY_PREFIX = 'resilient-stan-';

/** Announces itself on descriptor 3, gives that up (else the pipe would never end), and becomes the server. */
const LAUNCH_SCRIPT = 'echo "server $$" >&3 && exec "$0" "$@" 3>&-';

class Reaper {
  readonly #servers = new Set<number>();
  readonly #dirs = new Set<string>();
  #shell: ChildProcess | undefined;

  /** Starts a server that dies with us. Its group and session are its own, so a Ctrl-C at our terminal is ours to answer. */
  launch(file: string, args: readonly string[], cwd: string): ChildProcess {
    const stdio: StdioOptions = ['ignore', 'pipe', 'pipe', this.#pipe()];
    const child = spawn('/bin/sh', ['-c', LAUNCH_SCRIPT, file, ...args], { cwd, detached: true, stdio });
    this.#watch(child);
    child.unref();
    (child.stdout as Socket | null)?.unref();
    (child.stderr as Socket | null)?.unref();
    return child;
  }

  /** Kills a process that was started in another way, should we die before it. */
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

  /** Removes `dir` should we die before {@link release}. */
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
    // Bun has none, and needs none.
    stdin.unref?.();
    stdin.on('error', () => {}); // it was killed: 'exit' tells
    shell.on('error', () => this.#lost(shell));
    shell.once('exit', () => this.#lost(shell));
    return stdin;
  }

  /** Somebody killed the reaper itself: its successor hears of everything again. */
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

/** One for the whole process: every cluster of it shares the shell. */
export const reaper = new Reaper();
