//! Cuts the power of real servers: `power ours|etcd PROGRAM NODES CUTS MODE SEED [lies|nosync]`.

use std::path::PathBuf;

use portolan_jepsen::power::{Control, Mode, Options, System, run};

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [system, program, nodes, cuts, mode, seed, rest @ ..] = arguments.as_slice() else {
        return Err("power ours|etcd PROGRAM NODES CUTS MODE SEED [lies|nosync]".to_owned());
    };
    let odd = |what: &str| format!("{what}: not understood");
    let options = Options {
        system: match system.as_str() {
            "ours" => System::Ours,
            "etcd" => System::Etcd,
            _ => return Err(odd(system)),
        },
        program: PathBuf::from(program),
        nodes: nodes.parse().map_err(|_why| odd(nodes))?,
        cuts: cuts.parse().map_err(|_why| odd(cuts))?,
        mode: Mode::named(mode).ok_or_else(|| odd(mode))?,
        seed: seed.parse().map_err(|_why| odd(seed))?,
        control: match rest {
            [] => Control::Honest,
            [lies] if lies == "lies" => Control::DiskLies,
            [nosync] if nosync == "nosync" => Control::NoSync,
            _ => return Err(odd(&rest.join(" "))),
        },
        folder: std::env::temp_dir().join(format!("portolan-power-{}", std::process::id())),
    };
    let report = run(&options).map_err(|error| error.to_string())?;
    println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
    println!("logs in {}", options.folder.display());
    if report.is_valid() { Ok(()) } else { Err("invalid".to_owned()) }
}
