//! A host: a network namespace (and a mount namespace, for its own `/sys` and bpffs) that has no
//! name and lives as long as somebody holds it.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    os::unix::process::CommandExt as _,
    panic::resume_unwind,
    process::{self, Command},
    sync::Arc,
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::{prctl, signal::Signal},
};

use crate::process::Process;

/// A namespace. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Netns(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    name: String,
    net: File,
    mnt: File,
}

impl Netns {
    /// A new host with nothing but `lo`, which is up. The name is for messages.
    pub fn new(name: &str) -> Self {
        let handles = thread::scope(|scope| {
            let made = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
                    .expect("make a network namespace (the tests must run as root)");
                private_mounts().expect("mount /sys and a bpffs for the namespace");
                let open = |kind| File::open(format!("/proc/thread-self/ns/{kind}"));
                Handles {
                    name: name.to_owned(),
                    net: open("net").expect("open the network namespace"),
                    mnt: open("mnt").expect("open the mount namespace"),
                }
            });
            made.join().unwrap_or_else(|panic| resume_unwind(panic))
        });
        let namespace = Self(Arc::new(handles));
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A path to it that other processes can open, as long as this process lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.net.as_raw_fd())
    }

    /// Runs a closure in a thread inside. Sockets that it makes belong to this host for good.
    ///
    /// Do not start a child process there: it would be killed with the thread; see
    /// [`Self::spawn`].
    pub fn enter<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                // The root directory is shared between threads, and cannot be while the mount
                // namespace changes.
                unshare(CloneFlags::CLONE_FS).expect("have a root directory of its own");
                self.join_this_thread().expect("enter the namespaces");
                run()
            });
            inside.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// The same in a thread that may outlive the caller.
    pub fn enter_detached<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let inside = self.clone();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_FS).expect("have a root directory of its own");
            inside.join_this_thread().expect("enter the namespaces");
            run()
        })
    }

    fn join_this_thread(&self) -> nix::Result<()> {
        join(self.0.net.as_fd(), self.0.mnt.as_fd())
    }

    /// Makes a command run inside and die with the thread that starts it.
    pub fn prepare(&self, command: &mut Command) {
        let handles = Arc::clone(&self.0);
        // SAFETY: between fork and exec this makes three system calls and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                // Not SIGKILL: masters must end their workers.
                prctl::set_pdeathsig(Signal::SIGTERM)?;
                join(handles.net.as_fd(), handles.mnt.as_fd()).map_err(io::Error::from)
            });
        }
    }

    /// Starts a child inside; it ends when the result is dropped, or with this thread.
    pub fn spawn(&self, mut command: Command) -> Process {
        self.prepare(&mut command);
        Process::spawn(command)
    }

    /// Runs a command inside to its end; it must succeed. Returns what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(arguments);
        self.prepare(&mut command);
        let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(
            output.status.success(),
            "{}: {program} {}: {}\n{}",
            self.name(),
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs iproute2's `ip` inside.
    pub fn ip(&self, arguments: &[&str]) -> String {
        self.run("ip", arguments)
    }

    /// Sets a variable below `/proc/sys`, such as `net/ipv4/ip_forward`.
    pub fn sysctl(&self, name: &str, value: &str) {
        self.enter(|| {
            std::fs::write(format!("/proc/sys/{name}"), value)
                .unwrap_or_else(|error| panic!("{name} = {value}: {error}"));
        });
    }
}

fn join(net: BorrowedFd<'_>, mnt: BorrowedFd<'_>) -> nix::Result<()> {
    setns(net, CloneFlags::CLONE_NEWNET)?;
    setns(mnt, CloneFlags::CLONE_NEWNS)
}

fn private_mounts() -> nix::Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    // sysfs shows the interfaces of the namespace in which it was mounted.
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none)?;
    mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), none)
}
