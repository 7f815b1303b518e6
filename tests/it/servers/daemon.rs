//! A server as a process of its own, which ends when the tests do.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to be ready; a cold disk and two busy cores are no failure.
const PATIENCE: Duration = Duration::from_mins(2);

/// The shell between us and a server. Its standard input closes when this process ends, in whatever way, a kill included:
/// then the server is ended, and what it wrote is removed. It ends itself as soon as the server does, so that we see it.
const WATCHDOG: &str = r#"
folder=$1; shift
exec 3<&0
"$@" </dev/null 3<&- >"$folder/log" 2>&1 &
server=$!
{
  trap '' INT TERM HUP
  while read -r _ <&3; do :; done
  kill "$server"
  for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$server" || break; sleep 0.2; done
  kill -9 "$server"
  rm -rf "$folder"
  rmdir "$(dirname "$folder")"
} 2>/dev/null &
wait "$server"
"#;

/// A running server.
#[derive(Debug)]
pub(super) struct Daemon {
    name: &'static str,
    folder: PathBuf,
    /// Dropping it closes its standard input, which ends the server.
    watchdog: Child,
}

impl Daemon {
    /// Starts a program with this environment and no other, its output in `log` in its folder.
    pub(super) fn start(
        name: &'static str,
        folder: &Path,
        program: &Path,
        arguments: &[String],
        environment: &[(&str, &str)],
    ) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let errors = File::create(folder.join("watchdog")).unwrap();
        let watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(folder)
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", folder)
            .env("TMPDIR", folder)
            .envs(environment.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .unwrap();
        Self {
            name,
            folder: folder.to_owned(),
            watchdog,
        }
    }

    /// Waits until a question is answered; tells what the server wrote where it never is.
    pub(super) fn wait_until<T>(
        &mut self,
        what: &str,
        mut ask: impl FnMut() -> Result<T, String>,
    ) -> T {
        let start = now();
        loop {
            let error = match ask() {
                Ok(answer) => return answer,
                Err(error) => error,
            };
            let gone = self.watchdog.try_wait().unwrap().is_some();
            assert!(
                !gone && start.elapsed() < PATIENCE,
                "{} is not {what} after {:?}: {error}; it wrote:\n{}",
                self.name,
                start.elapsed(),
                self.log_tail()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read(self.folder.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a real server takes is real time"
)]
fn now() -> Instant {
    Instant::now()
}

/// Ports of this machine that nobody listens at, all different.
pub(super) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
