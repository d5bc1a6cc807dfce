//! A PostgreSQL server for tests, from the binaries of this machine, and pgbouncer in front of it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The password of the user `nextrun`, who owns the database `nextrun`.
pub(crate) const PASSWORD: &str = "a secret of the tests";

/// How long a server may take to start or stop on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    folder: tempfile::TempDir,
    binaries: PathBuf,
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts a server with an empty database.
    ///
    /// # Panics
    /// There are no binaries (Debian: `postgresql`), or it does not start. Who calls this is an ignored test.
    pub(crate) fn start() -> Server {
        let binaries = binaries().expect("the package `postgresql` is installed");
        let folder = tempfile::tempdir().unwrap();
        give(folder.path());
        let mut server = Server { folder, binaries, port: free_port(), child: None };
        let password = server.private("password", PASSWORD);
        let data = server.path("data");
        let made = server
            .command("initdb")
            .args(["--auth=scram-sha-256", "--username=nextrun", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"])
            .arg(format!("--pwfile={}", password.display()))
            .arg("-D")
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.resume();
        server.sql("postgres", "CREATE DATABASE nextrun");
        server
    }

    /// Starts the stopped server again, with the same data on the same port.
    pub(crate) fn resume(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.path("data")).args(["-p", &self.port.to_string()]);
        let folder = self.folder.path().display();
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", &format!("unix_socket_directories={folder}")] {
            command.args(["-c", setting]);
        }
        self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let until = Instant::now() + PATIENCE;
        while !self.psql("postgres", "SELECT 1").status.success() {
            assert!(Instant::now() < until, "{}", fs::read_to_string(self.path("log")).unwrap_or_default());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the server without a checkpoint, as if the machine had failed.
    pub(crate) fn crash(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = rustix::process::Pid::from_child(&child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        drop(child.wait());
    }

    /// The address of the database, through another port if one is given.
    pub(crate) fn address(&self, port: Option<u16>) -> String {
        format!("postgres://nextrun@127.0.0.1:{}/nextrun", port.unwrap_or(self.port))
    }

    /// Runs statements; what they print.
    pub(crate) fn sql(&self, database: &str, text: &str) -> String {
        let output = self.psql(database, text);
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn psql(&self, database: &str, text: &str) -> std::process::Output {
        Command::new(self.binaries.join("psql"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "nextrun", "-d", database])
            .args(["-v", "ON_ERROR_STOP=1", "-X", "-A", "-t", "-q", "-c", text])
            .env("PGPASSWORD", PASSWORD)
            .output()
            .unwrap()
    }

    /// A file that only the server can read.
    pub(crate) fn private(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        give(&path);
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, name: &str) -> Command {
        as_someone(Command::new(self.binaries.join(name)), self.folder.path())
    }

    /// Starts pgbouncer in front of the server, in transaction mode with two connections.
    pub(crate) fn pooler(&self) -> Pooler {
        let port = free_port();
        let (users, file) = (self.path("users.txt"), self.path("pgbouncer.ini"));
        fs::write(&users, format!("\"nextrun\" \"{PASSWORD}\"\n")).unwrap();
        let settings = format!(
            "[databases]\nnextrun = host=127.0.0.1 port={} dbname=nextrun\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\n\
             pool_mode = transaction\ndefault_pool_size = 2\nlogfile = {}\n",
            self.port,
            users.display(),
            self.path("pgbouncer.log").display()
        );
        fs::write(&file, settings).unwrap();
        let program = find("pgbouncer", &["/usr/sbin"]).expect("the package `pgbouncer` is installed");
        let mut command = as_someone(Command::new(program), self.folder.path());
        let child = command.arg("-q").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "pgbouncer does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Pooler { port, child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}

/// pgbouncer, which ends with this value.
#[derive(Debug)]
pub(crate) struct Pooler {
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    child: Child,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A command that runs as a user who may start a server, because root may not.
fn as_someone(mut command: Command, folder: &Path) -> Command {
    if let Some((user, group)) = someone() {
        command.uid(user).gid(group);
    }
    command.current_dir(folder);
    command
}

/// Another user and group than root; `None` if this process is not root.
fn someone() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let user = ["postgres", "nobody"].iter().find_map(uzers::get_user_by_name).expect("a user other than root");
    Some((user.uid(), user.primary_group_id()))
}

fn give(folder: &Path) {
    if let Some((user, group)) = someone() {
        std::os::unix::fs::chown(folder, Some(user), Some(group)).unwrap();
    }
}

/// The directory with the newest version of the server.
fn binaries() -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = debian.map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    let on_path = find("initdb", &[]).and_then(|program| program.parent().map(Path::to_owned));
    folders.into_iter().rev().chain(on_path).find(|folder| folder.join("initdb").exists())
}

fn find(program: &str, besides: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(besides.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|program| program.exists())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
