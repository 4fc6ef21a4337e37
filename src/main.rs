//! The program: everything is in the library, so that tests and benches can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    portolan::cli::run(&args, |config| {
        portolan::node::run(config, args.get(2..).unwrap_or_default())
    })
}
