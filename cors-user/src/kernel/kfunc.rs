//! Makes the program's call of a marker a call of a kernel function.
//!
//! This aya resolves no kernel functions (0.15 does, by `.ksyms`), so the object is changed
//! before it is loaded: the one `call` instruction whose immediate is [`kfunc::MARKER`] gets
//! `src_reg = BPF_PSEUDO_KFUNC_CALL` and the function's BTF id. When aya is replaced by a newer
//! one, this file and the marker go.

use aya::Btf;
use aya_obj::{
    btf::{BtfError, BtfKind},
    generated::bpf_insn,
};
use cors_common::kfunc;
use object::{Object as _, ObjectSection as _, SectionFlags, elf::SHF_EXECINSTR};
use thiserror::Error;

/// Why the kernel function cannot be called.
#[derive(Debug, Error)]
pub enum KfuncError {
    /// The kernel's BTF cannot be read.
    #[error("the kernel's type information cannot be read: {0}")]
    Btf(#[from] BtfError),
    /// The embedded object is not what this agent was built with.
    #[error("the embedded object cannot be read: {0}")]
    Object(#[from] object::Error),
    /// The marker is not there exactly once.
    #[error("the embedded object calls {name} {found} times instead of once")]
    Calls {
        /// Its name.
        name: &'static str,
        /// How often the marker was found.
        found: usize,
    },
}

/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_LD | BPF_IMM | BPF_DW`, the one instruction of two slots.
const LOAD_IMM64: u8 = 0x18;
/// `BPF_PSEUDO_KFUNC_CALL`.
const PSEUDO_KFUNC_CALL: u8 = 2;

const INSN: usize = size_of::<bpf_insn>();

/// The BTF id of the function in the running kernel; nothing where it has none (before Linux 6.9).
pub fn id(btf: &Btf) -> Result<Option<u32>, KfuncError> {
    match btf.id_by_type_name_kind(kfunc::NAME, BtfKind::Func) {
        Ok(id) => Ok(Some(id)),
        Err(BtfError::UnknownBtfTypeName { .. }) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// Rewrites the call in an object.
pub fn resolve(elf: &mut [u8], id: u32) -> Result<(), KfuncError> {
    let mut calls = Vec::new();
    for section in object::File::parse(&*elf)?.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        let Some((at, len)) = section.file_range() else { continue };
        if sh_flags & u64::from(SHF_EXECINSTR) != 0 {
            let (at, len) = (at as usize, len as usize);
            calls.extend(marked_calls(&elf[at..at + len]).into_iter().map(|call| at + call));
        }
    }
    let [call] = calls[..] else {
        return Err(KfuncError::Calls { name: kfunc::NAME, found: calls.len() });
    };
    // Byte 1 holds the destination register in its low half and the source register in its high.
    elf[call + 1] = elf[call + 1] & 0x0f | PSEUDO_KFUNC_CALL << 4;
    elf[call + 4..call + 8].copy_from_slice(&id.to_le_bytes());
    Ok(())
}

/// Offsets of the calls of the marker in a section's code.
fn marked_calls(code: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + INSN <= code.len() {
        let insn = &code[at..at + INSN];
        let imm = i32::from_le_bytes([insn[4], insn[5], insn[6], insn[7]]);
        if insn[0] == CALL && insn[1] >> 4 == 0 && imm == kfunc::MARKER {
            found.push(at);
        }
        // The second half of a wide load is data, whatever it looks like.
        at += if insn[0] == LOAD_IMM64 { 2 * INSN } else { INSN };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insn(code: u8, regs: u8, imm: i32) -> [u8; 8] {
        let i = imm.to_le_bytes();
        [code, regs, 0, 0, i[0], i[1], i[2], i[3]]
    }

    #[test]
    fn finds_calls_of_the_marker_only() {
        let code = [
            insn(CALL, 0, 99),               // a helper
            insn(LOAD_IMM64, 1, 0),          // a wide load …
            insn(CALL, 0, kfunc::MARKER),    // … whose second half looks like the call
            insn(CALL, 0x10, kfunc::MARKER), // a call of another function of the program
            insn(CALL, 0, kfunc::MARKER),
            insn(0x95, 0, 0),
        ]
        .concat();
        assert_eq!(marked_calls(&code), [32]);
    }

    /// Type information without the function stands for an older kernel's.
    #[test]
    fn a_kernel_without_the_function_is_told_from_a_broken_one() {
        assert_eq!(id(&Btf::new()).expect("type information"), None);
    }

    #[test]
    fn the_embedded_object_has_exactly_one() {
        let mut elf = super::super::object::EMBEDDED.to_vec();
        resolve(&mut elf, 0x1234_5678).expect("resolved");
        assert_ne!(elf, super::super::object::EMBEDDED);
        let again = resolve(&mut elf, 1).expect_err("nothing is left to resolve");
        assert!(matches!(again, KfuncError::Calls { found: 0, .. }), "{again}");
    }
}
