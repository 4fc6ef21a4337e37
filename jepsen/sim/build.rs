//! Lets libraries that look `getrandom` up at run time find the simulation's own.

fn main() {
    println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol=getrandom");
}
