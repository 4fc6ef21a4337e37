//! The table, in Markdown.

use std::fmt::Write as _;

use crate::figures::{Spread, float, per, short, spread, whole};
use crate::load::Sample;
use crate::machine::{Disk, Memory};
use crate::rows::{OPEN_CONNECTIONS, SERVICE_INSTANCES};
use crate::run::Turn;
use crate::steps::{Size, Step};

/// Share of its threads that the load generator may be busy before it is called the limit.
const CLIENT_BUSY_MAX: f64 = 0.9;
/// Processors that other programs may keep busy before a row is called disturbed.
const OTHERS_BUSY_MAX: f64 = 0.1;
/// Bytes in a MiB.
const BYTES_PER_MIB: f64 = 1024.0 * 1024.0;
/// Stands where a system cannot do the work of a row.
const NOT_TAKEN: &str = "–";

/// Under which circumstances the table came about.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Processors, memory, kernel, load.
    pub(crate) machine: String,
    /// One line for each system.
    pub(crate) versions: Vec<String>,
    /// File system under the data.
    pub(crate) disk: String,
    /// The sizes that the data had, one after another.
    pub(crate) sizes: Vec<Size>,
    /// Runs of each system.
    pub(crate) runs: u32,
    /// Seconds measured for each row.
    pub(crate) seconds: f64,
    /// Seconds before that.
    pub(crate) warmup: f64,
    /// Threads of the load generator.
    pub(crate) client_threads: usize,
    /// Whether only the leader was asked.
    pub(crate) leader_only: bool,
}

/// A system's name and its turns, in the order of the runs.
type Result = (&'static str, Vec<Turn>);
/// Takes one figure out of a sample.
type Pick = fn(&Sample) -> f64;

/// Everything as one Markdown text. Ratios are of the first system over each other one.
pub(crate) fn table(setting: &Setting, steps: &[Step], results: &[Result]) -> String {
    let sections = [
        heading(setting, results),
        speed(steps, results),
        latency(steps, results),
        cost(steps, results),
        work(steps, results),
        beside(steps, results),
        growth(steps, results),
        memory(setting, results),
        notes(setting, steps, results),
    ];
    let said: Vec<_> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    said.join("\n")
}

/// A sample in one line, for the progress.
pub(crate) fn one_line(sample: &Sample) -> String {
    let verdict = if sample.is_valid() { "" } else { ", INVALID" };
    let due =
        if sample.due > 0.0 { format!(" of {} due", short(sample.due)) } else { String::new() };
    format!(
        "{} a second{due}, p50 {} ms, p99 {} ms, {} errors{verdict}",
        short(sample.rate),
        short(sample.p50),
        short(sample.p99),
        sample.failed()
    )
}

fn heading(setting: &Setting, results: &[Result]) -> String {
    let alone = match results {
        [(name, _)] => format!("\n**Only {name} was measured: there are no ratios.**\n"),
        _ => String::new(),
    };
    let goal = if setting.leader_only { "the leader" } else { "all three servers evenly" };
    format!(
        "Machine: {}; data on {}.\n{}.\n\
         Three servers on loopback, one system at a time, {} runs in turn from empty disks, each \
         row {} s after {} s of warm-up, {} keys of 128 B and {} instances in \
         services of ten, over {goal}, {} client thread(s) \
         on the same machine. Closed loop, but for the rows at a share of the own peak: there \
         requests are due evenly over {OPEN_CONNECTIONS} connections, and latencies count from \
         when they were due. Medians, in brackets least to greatest; ratios: the first \
         system over each other one, whose range is that of neighbouring runs (rate: more is \
         better; everything else: less is better). etcd is asked over gRPC, its default and \
         its `?consistent` GET are one and the same linearizable range, `?stale` is its \
         serializable one; unbound is a single server with one thread that \
         has the service as local data; {NOT_TAKEN} where a system cannot do \
         such work.\n{alone}",
        setting.machine,
        setting.disk,
        setting.versions.join("; "),
        setting.runs,
        setting.seconds,
        setting.warmup,
        of_sizes(setting, |size| whole(size.keys)),
        of_sizes(setting, |size| whole(size.instances)),
        setting.client_threads,
    )
}

/// One figure of all sizes, each said once.
fn of_sizes(setting: &Setting, pick: impl Fn(&Size) -> String) -> String {
    let mut all: Vec<_> = setting.sizes.iter().map(pick).collect();
    all.dedup();
    all.join(", then ")
}

fn speed(steps: &[Step], results: &[Result]) -> String {
    let mut out = head("requests a second", &with_ratios(results));
    for (at, step) in steps.iter().enumerate() {
        let mut cells = cells(results, at, |sample| sample.rate);
        for ratio in cells.iter_mut().skip(results.len()).filter(|cell| *cell != NOT_TAKEN) {
            *ratio = format!("**{ratio}**");
        }
        line(&mut out, &step.title(), &cells);
    }
    out
}

fn latency(steps: &[Step], results: &[Result]) -> String {
    let mut out = head("latency, p50 / p99 ms", &with_ratios(results));
    let p50: Pick = |sample| sample.p50;
    let p99: Pick = |sample| sample.p99;
    let both = |first, second| format!("{} / {}", middle(first), range(second));
    for (at, step) in steps.iter().enumerate() {
        let own = results.iter().map(|(_, turns)| {
            taken(turns, at, || both(row_spread(turns, at, p50), row_spread(turns, at, p99)))
        });
        let ratios = pairs(results).map(|(first, second)| {
            let (p50, p99) = (ratios(first, second, at, p50), ratios(first, second, at, p99));
            taken(first, at, || taken(second, at, || both(p50, p99)))
        });
        line(&mut out, &step.title(), &own.chain(ratios).collect::<Vec<_>>());
    }
    out
}

fn cost(steps: &[Step], results: &[Result]) -> String {
    let mut out = head("servers' CPU s for 1,000", &with_ratios(results));
    for (at, step) in steps.iter().enumerate() {
        line(&mut out, &step.title(), &cells(results, at, |sample| sample.servers.cpu * 1e3));
    }
    out
}

/// The quiet figures beside processor time: what a change removes shows here first.
fn work(steps: &[Step], results: &[Result]) -> String {
    let what = "work for each request: servers' write calls / thread switches; bytes to the disk / \
                flushes of it, by everybody; client's switches";
    let mut out = head(what, &names(results));
    for (at, step) in steps.iter().enumerate() {
        let cells = results.iter().map(|(_, turns)| {
            let of = |pick| middle(row_spread(turns, at, pick));
            let (writes, switches) = (of(|one| one.servers.writes), of(|one| one.servers.switches));
            let client = of(|one| one.client.switches);
            let samples = turns.iter().filter_map(|turn| turn.samples[at].as_ref());
            let disks = samples.filter(|one| one.is_valid()).filter_map(|one| one.disk);
            let disk = |pick: fn(Disk) -> f64| {
                let spread = spread(disks.clone().map(pick));
                spread.map_or_else(|| NOT_TAKEN.to_owned(), |spread| short(spread.median))
            };
            let (bytes, flushes) = (disk(|disk| disk.written), disk(|disk| disk.flushes));
            taken(turns, at, || format!("{writes} / {switches}; {bytes} / {flushes}; {client}"))
        });
        line(&mut out, &step.title(), &cells.collect::<Vec<_>>());
    }
    out
}

/// What tells whether a row was measured fairly.
fn beside(steps: &[Step], results: &[Result]) -> String {
    let what = "client's / other programs' cores, bytes an answer";
    let mut out = head(what, &names(results));
    for (at, step) in steps.iter().enumerate() {
        let cells = results.iter().map(|(_, turns)| {
            let of = |pick| middle(row_spread(turns, at, pick));
            let (client, other) = (of(|one| one.client_cores), of(|one| one.other_cores));
            taken(turns, at, || format!("{client} / {other}, {}", of(|one| one.bytes)))
        });
        line(&mut out, &step.title(), &cells.collect::<Vec<_>>());
    }
    out
}

/// Cost against size: for each row that ran at several sizes, all of them and how much the last
/// costs more than the first.
fn growth(steps: &[Step], results: &[Result]) -> String {
    let mut out = String::new();
    let mut told = Vec::new();
    for step in steps.iter().filter(|step| step.size.is_some()) {
        let title = step.without_size();
        if told.contains(&title) {
            continue;
        }
        if out.is_empty() {
            let what = "growth: servers' CPU s for 1,000 at each size, last over first";
            out = head(what, &names(results));
        }
        let same = steps.iter().enumerate().filter(|(_, other)| other.without_size() == title);
        let (places, sizes): (Vec<_>, Vec<_>) =
            same.map(|(at, step)| (at, step.size.clone().unwrap_or_default())).unzip();
        let cells = results
            .iter()
            .map(|(_, turns)| taken(turns, places[0], || grown(turns, &places)))
            .collect::<Vec<_>>();
        line(&mut out, &format!("{title}: {}", sizes.join(" / ")), &cells);
        told.push(title);
    }
    out
}

fn grown(turns: &[Turn], places: &[usize]) -> String {
    let spreads: Vec<_> =
        places.iter().map(|at| row_spread(turns, *at, |one| one.servers.cpu * 1e3)).collect();
    let all = spreads.iter().copied().map(middle).collect::<Vec<_>>().join(" / ");
    match (spreads.first(), spreads.last()) {
        (Some(Some(first)), Some(Some(last))) => {
            format!("{all}, × {}", short(per(last.median, first.median)))
        }
        _ => all,
    }
}

fn memory(setting: &Setting, results: &[Result]) -> String {
    let mut out = head("memory of the servers, MiB", &with_ratios(results));
    memory_lines(&mut out, "idle", results, |turn| &turn.idle);
    for (stage, size) in setting.sizes.iter().enumerate() {
        let (keys, instances) = (whole(size.keys), whole(size.instances));
        let moment = format!("with {keys} keys and {instances} instances");
        memory_lines(&mut out, &moment, results, |turn| &turn.filled[stage]);
    }
    memory_lines(&mut out, "after all rows", results, |turn| &turn.loaded);
    let peak = |turn: &Turn| most(&turn.loaded, |server| server.peak);
    line(&mut out, "peak of the largest", &turn_cells(results, peak));
    memory_lines(&mut out, "after the restart", results, |turn| &turn.restarted);
    let keys = setting.sizes.last().map_or(0, |size| size.keys);
    let each = |turn: &Turn| {
        let last = most(turn.filled.last()?, |server| server.resident)?;
        let more = last - most(&turn.idle, |server| server.resident)?;
        Some(per(more.max(0.0) * BYTES_PER_MIB, f64::from(keys)))
    };
    let what = format!("bytes a key: the largest with {} keys less the largest idle", whole(keys));
    line(&mut out, &what, &turn_cells(results, each));
    let start = |turn: &Turn| Some(turn.start_seconds);
    line(&mut out, "start to first writes, s", &turn_cells(results, start));
    let again = "kill -9 of all, start to first writes with all data, s";
    line(&mut out, again, &turn_cells(results, |turn| turn.restart_seconds));
    out
}

fn memory_lines(
    out: &mut String,
    moment: &str,
    results: &[Result],
    of: impl Fn(&Turn) -> &[Memory],
) {
    let sum = |turn: &Turn| {
        let servers = of(turn);
        (!servers.is_empty()).then(|| servers.iter().map(|server| server.resident).sum())
    };
    let max = |turn: &Turn| most(of(turn), |server| server.resident);
    line(out, &format!("{moment}, all servers"), &turn_cells(results, sum));
    line(out, &format!("{moment}, the largest"), &turn_cells(results, max));
}

fn most(servers: &[Memory], pick: fn(&Memory) -> f64) -> Option<f64> {
    servers.iter().map(pick).reduce(f64::max)
}

/// All that a reader must know before he believes the figures.
fn notes(setting: &Setting, steps: &[Step], results: &[Result]) -> String {
    let mut out = String::new();
    for (name, turns) in results {
        for (run, turn) in turns.iter().enumerate() {
            let run = run + 1;
            if turn.leader_changes > 0 {
                note(&mut out, &format!("{name}, run {run}: the leader changed under load"));
            }
            for (step, sample) in steps.iter().zip(&turn.samples) {
                let place = format!("{name}, run {run}, {}", step.title());
                if let Some(sample) = sample {
                    note_sample(&mut out, &place, sample, setting.client_threads);
                }
            }
        }
    }
    let all = results.iter().flat_map(|(_, turns)| turns).flat_map(|turn| &turn.samples).flatten();
    let disturbed = all.filter(|sample| sample.other_cores > OTHERS_BUSY_MAX).count();
    if disturbed > 0 {
        let what = "other programs kept more than";
        note(
            &mut out,
            &format!(
                "DISTURBED: in {disturbed} measurements {what} {OTHERS_BUSY_MAX} processors busy; \
             do not quote rates and latencies of this table"
            ),
        );
    }
    if out.is_empty() {
        "No errors, no change of leader, whole DNS answers, no other programs.\n".to_owned()
    } else {
        out
    }
}

fn note_sample(out: &mut String, place: &str, sample: &Sample, client_threads: usize) {
    note_errors(out, place, sample);
    if sample.late > 0 {
        let late = short(100.0 * per(float(sample.late), float(sample.good)));
        note(out, &format!("{place}: {late} % of the requests found every connection busy"));
    }
    let share = per(sample.client_cores, float(client_threads as u64));
    if share > CLIENT_BUSY_MAX {
        note(out, &format!("{place}: the client was the limit"));
    }
    if sample.records > 0.0 && sample.records < f64::from(SERVICE_INSTANCES) {
        let records = short(sample.records);
        note(out, &format!("{place}: {records} records an answer, not all"));
    }
}

fn note_errors(out: &mut String, place: &str, sample: &Sample) {
    if sample.good == 0 {
        note(out, &format!("{place}: INVALID, not one good answer"));
    }
    if sample.failed() == 0 {
        return;
    }
    let kinds = sample.errors.iter().map(|(kind, count)| format!("{count} × {kind}"));
    let kinds = kinds.collect::<Vec<_>>().join(", ");
    let verdict = if sample.is_valid() { "errors" } else { "INVALID, left out of the medians" };
    note(out, &format!("{place}: {verdict}: {kinds}; {} good", short(float(sample.good))));
}

fn note(out: &mut String, text: &str) {
    writeln!(out, "- {text}").expect("writing into a string cannot fail");
}

/// A column for each system.
fn names(results: &[Result]) -> Vec<String> {
    results.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// A column for each system, and one for the first over each other.
fn with_ratios(results: &[Result]) -> Vec<String> {
    let mut columns = names(results);
    if let [(first, _), others @ ..] = results {
        columns.extend(others.iter().map(|(name, _)| format!("{first} / {name}")));
    }
    columns
}

/// The first system's turns with those of each other.
fn pairs(results: &[Result]) -> impl Iterator<Item = (&[Turn], &[Turn])> {
    let first = results.first().map_or(&[][..], |(_, turns)| turns);
    results.iter().skip(1).map(move |(_, turns)| (first, &turns[..]))
}

/// What `cell` says, unless the system cannot do the work of this row.
fn taken(turns: &[Turn], at: usize, cell: impl FnOnce() -> String) -> String {
    if turns.iter().any(|turn| turn.samples[at].is_some()) { cell() } else { NOT_TAKEN.to_owned() }
}

fn head(first: &str, columns: &[String]) -> String {
    let mut out = String::new();
    line(&mut out, first, columns);
    line(&mut out, "---", &vec!["---:".to_owned(); columns.len()]);
    out
}

fn line(out: &mut String, first: &str, cells: &[String]) {
    writeln!(out, "| {first} | {} |", cells.join(" | "))
        .expect("writing into a string cannot fail");
}

/// One figure of one row for each system, and the ratios.
fn cells(results: &[Result], at: usize, pick: Pick) -> Vec<String> {
    let own =
        results.iter().map(|(_, turns)| taken(turns, at, || range(row_spread(turns, at, pick))));
    let ratios = pairs(results).map(|(first, second)| {
        taken(first, at, || taken(second, at, || range(ratios(first, second, at, pick))))
    });
    own.chain(ratios).collect()
}

fn turn_cells(results: &[Result], pick: impl Fn(&Turn) -> Option<f64>) -> Vec<String> {
    let of = |turns: &[Turn]| spread(turns.iter().filter_map(&pick));
    let told = |spread: Option<Spread>| spread.map_or_else(|| NOT_TAKEN.to_owned(), in_full);
    let own = results.iter().map(|(_, turns)| told(of(turns)));
    let ratios = pairs(results).map(|(first, second)| {
        let both = of(first).zip(of(second));
        let ratio = both.map(|(first, second)| short(per(first.median, second.median)));
        ratio.unwrap_or_else(|| NOT_TAKEN.to_owned())
    });
    own.chain(ratios).collect()
}

/// The valid samples of one row.
fn row_spread(turns: &[Turn], at: usize, pick: Pick) -> Option<Spread> {
    let samples = turns.iter().filter_map(|turn| turn.samples[at].as_ref());
    spread(samples.filter(|one| one.is_valid()).map(pick))
}

/// The ratio of the medians; its range is that of the runs compared one by one, each with its
/// neighbour in time.
fn ratios(first: &[Turn], second: &[Turn], at: usize, pick: Pick) -> Option<Spread> {
    let pairs = first.iter().zip(second);
    let pairs = pairs.filter_map(|(a, b)| a.samples[at].as_ref().zip(b.samples[at].as_ref()));
    let pairs = pairs.filter(|(a, b)| a.is_valid() && b.is_valid());
    let range = spread(pairs.map(|(a, b)| per(pick(a), pick(b))))?;
    let of = |turns: &[Turn]| row_spread(turns, at, pick).map(|spread| spread.median);
    Some(Spread { median: per(of(first)?, of(second)?), ..range })
}

fn range(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "invalid".to_owned(), in_full)
}

fn in_full(Spread { median, min, max }: Spread) -> String {
    if min.total_cmp(&max).is_eq() {
        short(median)
    } else {
        format!("{} ({}–{})", short(median), short(min), short(max))
    }
}

fn middle(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "invalid".to_owned(), |spread| short(spread.median))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Effort;
    use crate::rows::ROWS;
    use crate::steps::{sizes, steps};

    fn sample(rate: f64, errors: u64) -> Sample {
        let kinds = if errors > 0 { vec![("status 500".to_owned(), errors)] } else { Vec::new() };
        Sample {
            rate,
            p50: 1e3 / rate,
            p99: 4e3 / rate,
            servers: Effort { cpu: 0.1 / rate, writes: 3.0, switches: 0.5 },
            client: Effort { switches: 0.25, ..Effort::default() },
            disk: Some(Disk { written: 512.0, flushes: 0.125 }),
            client_cores: 0.25,
            bytes: 4.0,
            good: 10_000,
            errors: kinds.into_iter().collect(),
            ..Sample::default()
        }
    }

    fn turn(rate: f64, errors: u64) -> Turn {
        let server = |resident| Memory { resident, peak: resident + 1.0 };
        let two = |resident| vec![server(resident), server(resident + 1.0)];
        Turn {
            samples: vec![Some(sample(rate, errors))],
            idle: two(10.0),
            filled: vec![two(20.0), two(25.0)],
            loaded: two(30.0),
            restarted: two(15.0),
            restart_seconds: Some(3.0),
            start_seconds: 2.0,
            leader_changes: 0,
        }
    }

    fn setting() -> Setting {
        Setting {
            machine: "2 processors".to_owned(),
            versions: vec!["ours: 1".to_owned(), "Consul: 2".to_owned()],
            disk: "ext4".to_owned(),
            sizes: sizes(&[100_000], &[10]),
            runs: 3,
            seconds: 5.0,
            warmup: 1.0,
            client_threads: 1,
            leader_only: false,
        }
    }

    #[test]
    fn ratios_stand_on_medians_and_on_neighbours() {
        let ours = vec![turn(1_000.0, 0), turn(3_000.0, 0), turn(2_000.0, 0)];
        let consul = vec![turn(100.0, 0), turn(150.0, 0), turn(400.0, 0)];
        let text = table(
            &setting(),
            &steps(&ROWS[..1], &[], &setting().sizes),
            &[("ours", ours), ("Consul", consul)],
        );
        for line in [
            "| requests a second | ours | Consul | ours / Consul |",
            "| PUT 128 B, 1 connection | 2,000 (1,000–3,000) | 150 (100–400) | **13.3 (5.00–20.0)** |",
            "| PUT 128 B, 1 connection | 0.500 / 2.00 (1.33–4.00) | 6.67 / 26.7 (10.0–40.0) | \
             0.075 / 0.075 (0.050–0.200) |",
            "| PUT 128 B, 1 connection | 0.250 / 0.00, 4.00 | 0.250 / 0.00, 4.00 |",
            "| PUT 128 B, 1 connection | 3.00 / 0.500; 512 / 0.125; 0.250 | 3.00 /",
            "| PUT 128 B, 1 connection | 0.050 (0.033–0.100) | 0.667 (0.250–1.00) |",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(text.contains("| idle, all servers | 21.0 | 21.0 | 1.00 |"), "{text}");
        for line in [
            "| with 100,000 keys and 10 instances, the largest | 21.0 | 21.0 | 1.00 |",
            "| peak of the largest | 32.0 | 32.0 | 1.00 |",
            "| after the restart, all servers | 31.0 | 31.0 | 1.00 |",
            "| kill -9 of all, start to first writes with all data, s | 3.00 | 3.00 | 1.00 |",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(
            text.ends_with(
                "No errors, no change of leader, whole DNS answers, no other programs.\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_third_system_has_its_own_ratio_and_gaps_where_it_cannot() {
        let mut etcd = turn(500.0, 0);
        etcd.samples.push(None);
        let two = |rate| {
            let mut turn = turn(rate, 0);
            turn.samples.push(Some(sample(rate, 0)));
            vec![turn]
        };
        let results = [("ours", two(1_000.0)), ("Consul", two(100.0)), ("etcd", vec![etcd])];
        let text = table(&setting(), &steps(&ROWS[..2], &[], &setting().sizes), &results);
        for line in [
            "| latency, p50 / p99 ms | ours | Consul | etcd | ours / Consul | ours / etcd |",
            "| PUT 128 B, 1 connection | 1,000 | 100 | 500 | **10.0** | **2.00** |",
            "| PUT 128 B, 64 connections | 1,000 | 100 | – | **10.0** | – |",
            "| PUT 128 B, 64 connections | 1.00 / 4.00 | 10.0 / 40.0 | – | 0.100 / 0.100 | – |",
            "| idle, all servers | 21.0 | 21.0 | 21.0 | 1.00 | 1.00 |",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(text.ends_with("no other programs.\n"), "{text}");
    }

    #[test]
    fn a_run_with_too_many_errors_is_left_out_and_told() {
        let turns = vec![turn(100.0, 11), turn(200.0, 10)];
        let text = table(&setting(), &steps(&ROWS[..1], &[], &setting().sizes), &[("ours", turns)]);
        assert!(text.contains("| PUT 128 B, 1 connection | 200 |"), "{text}");
        assert!(text.contains("| PUT 128 B, 1 connection | 5.00 / 20.0 |"), "{text}");
        assert!(text.contains("run 1, PUT 128 B, 1 connection: INVALID, left out"), "{text}");
        assert!(text.contains("run 2, PUT 128 B, 1 connection: errors: 10 × status 500"), "{text}");
        assert!(!text.contains("ours /"), "{text}");
        assert!(text.contains("**Only ours was measured: there are no ratios.**"), "{text}");
    }

    #[test]
    fn a_row_without_a_valid_run_says_so() {
        let text = table(
            &setting(),
            &steps(&ROWS[..1], &[], &setting().sizes),
            &[("ours", vec![turn(100.0, 5_000)])],
        );
        assert!(text.contains("| PUT 128 B, 1 connection | invalid |"), "{text}");
        assert!(text.contains("| PUT 128 B, 1 connection | invalid / invalid |"), "{text}");
    }

    #[test]
    fn growth_is_told_for_rows_at_several_sizes() {
        let sizes = sizes(&[1_000, 1_000_000], &[10]);
        let setting = Setting { sizes: sizes.clone(), ..setting() };
        let steps = steps(&ROWS[..1], &[], &sizes);
        let mut one = turn(1_000.0, 0);
        one.samples.push(Some(sample(500.0, 0)));
        let text = table(&setting, &steps, &[("ours", vec![one])]);
        for line in [
            "1,000, then 1,000,000 keys of 128 B and 10 instances",
            "| PUT 128 B, 1 connection; 1,000,000 keys | 500 |",
            "| PUT 128 B, 1 connection: 1,000 keys / 1,000,000 keys | 0.100 / 0.200, × 2.00 |",
            "| with 1,000,000 keys and 10 instances, all servers | 51.0 |",
            "| bytes a key: the largest with 1,000,000 keys less the largest idle | 15.7 |",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_saturated_client_is_told() {
        let mut busy = turn(100.0, 0);
        busy.samples[0].as_mut().unwrap().client_cores = 0.95;
        let text =
            table(&setting(), &steps(&ROWS[..1], &[], &setting().sizes), &[("ours", vec![busy])]);
        assert!(text.contains("- ours, run 1, PUT 128 B, 1 connection: the client was the limit"));
    }

    #[test]
    fn other_programs_are_told() {
        let mut disturbed = turn(100.0, 0);
        disturbed.samples[0].as_mut().unwrap().other_cores = 0.5;
        let turns = vec![disturbed, turn(100.0, 0)];
        let text = table(&setting(), &steps(&ROWS[..1], &[], &setting().sizes), &[("ours", turns)]);
        assert!(text.contains("- DISTURBED: in 1 measurements other programs kept"), "{text}");
    }
}
