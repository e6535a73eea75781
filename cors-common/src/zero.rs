//! A zero that nobody can see: how a loop is kept cheap for the verifier.
//!
//! The verifier walks a bounded loop turn by turn, and leaves a path where it meets a state that
//! it knows. A register of which it knows too much (that it is 17 here, and 25 on the other
//! path) makes every state a new one, and the work grows with the product of all paths. A value
//! that starts from memory, where neither the verifier nor the compiler looks, and is masked at
//! every turn, is any value to it from the first turn to the last.

/// Always zero.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Zero(u32);

impl Zero {
    /// The only value there is; memory that was never written to holds it as well.
    pub const NEW: Self = Self(0);

    /// The same value, of which nothing is known any more.
    #[inline(always)]
    pub const fn blur(self, value: usize) -> usize {
        value.wrapping_add(self.0 as usize)
    }

    /// Makes all of it zero, eight bytes at a time; of a length that is no multiple of 8 the rest
    /// stays.
    ///
    /// What is known to be zero becomes a call of `memset`, which for eBPF is a loop over bytes.
    #[inline(always)]
    pub fn fill(self, bytes: &mut [u8]) {
        for word in bytes.as_chunks_mut().0 {
            *word = u64::from(self.0).to_le_bytes();
        }
    }

    /// `len` if it is from 1 to `max`, in the form that a helper's argument must have: one register
    /// that was compared itself, not a value that was made from it.
    #[inline(always)]
    pub const fn bounded(self, len: usize, max: usize) -> Option<usize> {
        let less = (len as u32).wrapping_sub(1) | self.0;
        if less >= max as u32 { None } else { Some(less as usize + 1) }
    }
}

/// A word in memory that the compiler neither keeps in a register nor sees through.
///
/// A mask alone does not always do: where only the low bits of a counter are used, the compiler
/// may move the mask to the uses, and the counter itself grows from turn to turn.
#[derive(Clone, Debug)]
#[repr(transparent)]
pub struct Word(u32);

impl Word {
    /// A word with a value.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// Its value, of which nothing is known.
    #[inline(always)]
    #[allow(unsafe_code, reason = "there is no safe volatile read")]
    pub fn get(&self) -> u32 {
        // SAFETY: a reference is valid, aligned and initialised.
        unsafe { (&raw const self.0).read_volatile() }
    }

    /// Changes it.
    #[inline(always)]
    #[allow(unsafe_code, reason = "there is no safe volatile write")]
    pub fn set(&mut self, value: u32) {
        // SAFETY: a unique reference is valid and aligned.
        unsafe { (&raw mut self.0).write_volatile(value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_become_zero() {
        let mut bytes = [7; 19];
        Zero::NEW.fill(&mut bytes);
        assert_eq!(bytes[..16], [0; 16]);
        assert_eq!(bytes[16..], [7; 3]);
    }

    #[test]
    fn bounds_are_inclusive() {
        assert_eq!(Zero::NEW.bounded(0, 5), None);
        assert_eq!(Zero::NEW.bounded(1, 5), Some(1));
        assert_eq!(Zero::NEW.bounded(5, 5), Some(5));
        assert_eq!(Zero::NEW.bounded(6, 5), None);
    }
}
