//! Prints the option table as a page of markdown.

use std::fmt::Write as _;

use super::options::{Kind, OPTIONS, SOURCE_FLAGS, Setting, State};

/// The reference page of every option and flag of `agent`, in markdown.
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration reference\n\nPrinted from the option table. Later sources win: defaults, \
         `-dev`, files in the order given, `-hcl` pieces, flags. Lists append, maps merge.\n\n\
         ## Where values come from\n\n| flag | meaning |\n|---|---|\n",
    );
    for (name, argument, help) in SOURCE_FLAGS {
        let value = if argument.is_empty() { String::new() } else { format!(" <{argument}>") };
        push_line(&mut page, format_args!("| `-{name}{value}` | {} |", cell(help)));
    }
    for (title, state) in [
        ("Options in use", State::Used),
        ("Accepted without effect", State::Quiet),
        ("Accepted with a warning", State::Warned),
        ("Refused unless empty or off", State::Refused),
    ] {
        push_line(&mut page, format_args!("\n## {title}\n"));
        push_line(&mut page, format_args!("| key | type | default | flag | reload | meaning |"));
        push_line(&mut page, format_args!("|---|---|---|---|---|---|"));
        for setting in OPTIONS.iter().filter(|setting| setting.state == state) {
            push_line(&mut page, format_args!("{}", row(setting)));
        }
    }
    page
}

fn row(setting: &Setting) -> String {
    let default = match setting.default {
        "" => String::new(),
        text => format!("`{text}`"),
    };
    let flags: Vec<_> = setting.flags.iter().map(|flag| format!("`-{flag}`")).collect();
    let reload = if setting.reloadable { "yes" } else { "" };
    let (key, kind) = (setting.key, kind_name(setting.kind));
    let help = cell(setting.help);
    format!("| `{key}` | {kind} | {default} | {} | {reload} | {help} |", flags.join(" "))
}

fn kind_name(kind: Kind) -> String {
    match kind {
        Kind::Text => "string".to_owned(),
        Kind::Switch => "bool".to_owned(),
        Kind::Number(i64::MIN, i64::MAX) => "int".to_owned(),
        Kind::Number(min, i64::MAX) => format!("int, from {min}"),
        Kind::Number(min, max) => format!("int, {min} to {max}"),
        Kind::Duration => "duration".to_owned(),
        Kind::List => "list of strings".to_owned(),
        Kind::Map => "map of strings".to_owned(),
        Kind::Definitions => "definitions".to_owned(),
        Kind::Watches => "list of watches".to_owned(),
        Kind::Opaque => "any".to_owned(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn push_line(page: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(page, "{line}").expect("a String takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_has_its_row() {
        let page = reference();
        for setting in OPTIONS {
            assert!(page.contains(&format!("| `{}` |", setting.key)), "{}", setting.key);
        }
        let row = "| `ports.http` | int, -1 to 65535 | `8500` | `-http-port` |  | \
                   port of the HTTP door; -1 is off |";
        assert!(page.contains(row));
        assert!(page.contains("| `-config-format <hcl\\|json>` |") || page.contains("hcl|json"));
    }
}
