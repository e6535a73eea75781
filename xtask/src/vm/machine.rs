//! One machine: started, listened to, and ended in time.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::setup::emulator::Emulator;

/// What a machine is made of.
pub(super) struct Machine<'a> {
    pub(super) emulator: &'a Emulator,
    pub(super) kernel: &'a Path,
    pub(super) initramfs: &'a Path,
    /// Arguments of its first process.
    pub(super) arguments: &'a str,
    /// Where all that it says is kept.
    pub(super) log: &'a Path,
    /// It is ended after this at the latest.
    pub(super) patience: Duration,
    /// Run on the processor instead of on an emulated one.
    pub(super) kvm: bool,
}

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine<'_> {
    /// Lets it run to its end, and gives each line that it says to `hear`.
    pub(super) fn run(&self, mut hear: impl FnMut(&str)) -> Result<()> {
        let accelerator = if self.kvm { "kvm" } else { "tcg,thread=multi" };
        let child = self
            .emulator
            .command()
            .args(["-accel", accelerator, "-cpu", "max", "-smp", "2", "-m", "3072"])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initramfs)
            .arg("-append")
            .arg(format!("console=ttyS0 quiet panic=-1 mitigations=off -- {}", self.arguments))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the emulator")?;
        let mut running = Running(child);
        let console = running.0.stdout.take().context("the emulator has no console")?;
        let mut log = File::create(self.log)?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut console = BufReader::new(console);
            let mut line = Vec::new();
            // Not all that a machine says when it starts is text.
            while console.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        let end = Instant::now() + self.patience;
        loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    writeln!(log, "{line}")?;
                    hear(&line);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    bail!("not at its end after {} s", self.patience.as_secs());
                }
            }
        }
        Ok(())
    }
}
