//! The operating system's randomness, replaced by a seed.
//!
//! A program that links this crate and calls [`seed`] has its own `getrandom`: the keys of hash
//! maps, the choices of the runtime, ids and shuffles of every library come from the seed, so that
//! a run can be repeated. Never link it to a program that keeps a secret.
//!
//! Why a symbol of libc: several crates below the simulation ask for randomness, each in its own
//! way, and all of them end here. `cargo`'s flag for the linker (see `sim/build.rs`)
//! lets those find it that look the symbol up at run time.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where the sequence stands. Any first value does: what is asked for before [`seed`] must be the
/// same each time too.
static STATE: AtomicU64 = AtomicU64::new(0x9e37_79b9_7f4a_7c15);

/// Begins the sequence of this seed.
pub fn seed(seed: u64) {
    STATE.store(seed, Ordering::SeqCst);
}

/// The next number. Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators"
/// (2014), SplitMix64.
fn next() -> u64 {
    let state = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// As libc's: fills `length` bytes at `buffer` and returns how many that were.
///
/// # Safety
///
/// `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    // SAFETY: the caller's promise, which is that of libc's function.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    for part in bytes.chunks_mut(8) {
        part.copy_from_slice(&next().to_le_bytes()[..part.len()]);
    }
    length.cast_signed()
}
