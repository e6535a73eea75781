//! Packets through the loaded programs without any interface: `BPF_PROG_TEST_RUN`
//! (Linux 4.12; of XDP programs with a packet out of another length, 5.2).
//!
//! The packet seems to come in on the loopback of the calling process's network namespace, and
//! sockets are looked up there. For tests and benchmarks; the agent's own use of it is
//! [`super::rehearsal`].

use aya::{
    TestRun as _, TestRunOptions,
    programs::{Program, ProgramError},
};
use thiserror::Error;

use super::Programs;

/// How much longer a packet may become.
pub(super) const GROWTH: usize = 2048;

/// Why there is no result.
#[derive(Debug, Error)]
pub enum TestRunError {
    /// There is no such program.
    #[error("there is no program {0}")]
    Unknown(String),
    /// The kernel does not run it.
    #[error("the kernel does not run the program: {0}")]
    Kernel(#[from] ProgramError),
}

/// What a program made of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// The `XDP_*` or `TC_ACT_*` code.
    pub verdict: u32,
    /// The packet afterwards.
    pub packet_out: Vec<u8>,
    /// Mean time of a run, in nanoseconds.
    pub duration_ns: u64,
}

impl Programs {
    /// Runs `edge`, `handover` or `pass` on an Ethernet frame.
    ///
    /// With `repeat` above 1 the program runs that often *on the same memory*: what one run wrote
    /// into the packet, the next one reads. Maps and counters change as they would in earnest.
    pub fn test_run(
        &self,
        program: &str,
        packet: &[u8],
        repeat: u32,
    ) -> Result<TestRun, TestRunError> {
        let mut packet_out = vec![0; packet.len() + GROWTH];
        let options = TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut packet_out),
            repeat,
            ..TestRunOptions::new()
        };
        let result = match self.ebpf.program(program) {
            Some(Program::Xdp(xdp)) => xdp.test_run(options),
            Some(Program::SchedClassifier(tc)) => tc.test_run(options),
            _ => return Err(TestRunError::Unknown(program.to_owned())),
        }?;
        packet_out.truncate(result.data_size_out as usize);
        Ok(TestRun {
            verdict: result.return_value,
            packet_out,
            duration_ns: u64::try_from(result.duration.as_nanos()).unwrap_or(u64::MAX),
        })
    }
}
