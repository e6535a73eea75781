//! The shell.

mod client;
mod frame;
mod maps;
mod seed;
mod transmit;

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // The verifier refuses a program that can reach an endless loop: this is never linked in.
    loop {}
}
