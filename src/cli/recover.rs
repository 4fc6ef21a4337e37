//! `operator recover`: a server whose cluster has lost its quorum goes on with who is left.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use super::columns::{row, table};
use super::screen::{DONE, Screen};
use crate::node::{Recover as Asked, RecoverAccount, RecoverMode, Server, recover};

/// Recovers a stopped server whose cluster has lost its quorum.
///
/// Says what the server has and what may be lost; with -yes it makes the survivors the members of
/// the cluster and everything that this server has their state. Run it on the survivor that has
/// the newest last entry, then start the survivors.
#[derive(Debug, clap::Args)]
pub(super) struct Recover {
    /// The data folder of this server, which must be stopped.
    #[arg(long = "data-dir", value_name = "path")]
    data_dir: Option<PathBuf>,
    /// A server that is left, by its id, and its address if that is a new one; may be given
    /// several times, and this server must be among them. None: this server alone.
    #[arg(long = "survivor", value_name = "id[=host:port]")]
    survivors: Vec<String>,
    /// Say what would be done, and do nothing.
    #[arg(long = "dry-run")]
    dry_run: bool,
    /// Do it.
    #[arg(long)]
    yes: bool,
    #[arg(hide = true)]
    args: Vec<String>,
}

impl Recover {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        if let Some(extra) = self.args.first() {
            return screen.fail(format_args!("Error recovering: unexpected argument {extra:?}"));
        }
        let Some(data_dir) = self.data_dir else {
            return screen.fail("Error recovering: the data folder must be given: -data-dir=PATH");
        };
        let write = self.yes && !self.dry_run;
        let mode = if write { RecoverMode::Write } else { RecoverMode::Look };
        let asked = Asked { data_dir, survivors: named(&self.survivors), mode };
        let account = match recover(&asked).await {
            Ok(account) => account,
            Err(error) => return screen.fail(format_args!("Error recovering: {error}")),
        };
        screen.say(told(&account))?;
        screen.say(match mode {
            RecoverMode::Look => "Nothing was changed. Add -yes to do it.",
            RecoverMode::Write => {
                "Done. Start this server, then the other survivors; new servers join as usual."
            }
        })?;
        Ok(DONE)
    }
}

fn named(survivors: &[String]) -> BTreeMap<String, Option<String>> {
    let pair = |text: &String| match text.split_once('=') {
        Some((id, address)) => (id.to_owned(), Some(address.to_owned())),
        None => (text.clone(), None),
    };
    survivors.iter().map(pair).collect()
}

/// The account, for whoever has to decide.
fn told(account: &RecoverAccount) -> String {
    let RecoverAccount { own, before, after, last: (last, term), committed, .. } = account;
    let stays = |server: &Server| after.iter().any(|one| one.id == server.id);
    let mut rows = vec![row(["Node", "ID", "Address", "Voter", "After"])];
    rows.extend(before.iter().map(|server| {
        let voter = server.voter.to_string();
        let fate = if stays(server) { "survivor" } else { "gone" };
        row([&server.name, &server.id, &server.address, &voter, fate])
    }));
    let names = |servers: Vec<&Server>| {
        let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    };
    let gone = names(before.iter().filter(|server| !stays(server)).collect());
    let mut text = format!(
        "The log of {} ends with entry {last} of term {term}; of the entries up to {committed} it \
         is known that they are committed.\n\n{}\n\n",
        own.name,
        table(&rows)
    );
    let mut point = |line: String| {
        text.push_str("- ");
        text.push_str(&line);
        text.push('\n');
    };
    if account.changing {
        point("A change of membership was under way. It ends with the recovery.".to_owned());
    }
    point(format!(
        "The cluster goes on with: {}. Its state is what {} has.",
        names(after.iter().collect()),
        own.name
    ));
    match last - committed {
        0 => {}
        open => point(format!(
            "{open} entries, {} to {last}, may have been committed or not. From then on they \
             count, also where a writer was told that its write failed.",
            committed + 1
        )),
    }
    point(format!(
        "What may be lost: writes acknowledged after entry {last}, which only others had. Gone: \
         {gone}. Compare with the other survivors, and recover the one with the highest term, \
         then the highest entry; what the others have beyond it they give up."
    ));
    point(format!(
        "A server that is gone must not start again with its old data ({gone}): empty its data \
         folder first."
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::super::run::run_words;
    use super::*;

    fn server(name: &str, voter: bool) -> Server {
        let (id, address) = (format!("id-{name}"), format!("{name}:8300"));
        Server { name: name.to_owned(), id, address, voter }
    }

    #[test]
    fn the_account_says_who_stays_and_what_may_be_lost() {
        let mut account = RecoverAccount {
            own: server("a", true),
            before: vec![server("a", true), server("b", true), server("c", false)],
            after: vec![server("a", true)],
            changing: false,
            last: (120, 7),
            committed: 117,
        };
        let text = told(&account);
        let shown = "\
The log of a ends with entry 120 of term 7; of the entries up to 117 it is known that they are \
committed.

Node  ID    Address  Voter  After
a     id-a  a:8300   true   survivor
b     id-b  b:8300   true   gone
c     id-c  c:8300   false  gone
";
        assert!(text.starts_with(shown), "{text}");
        assert!(text.contains("\n- 3 entries, 118 to 120, may have been committed or not."));
        assert!(text.contains("writes acknowledged after entry 120") && text.contains("b, c"));
        assert!(!text.contains("under way"));
        (account.committed, account.changing) = (120, true);
        account.after.clone_from(&account.before);
        let text = told(&account);
        assert!(!text.contains("may have been committed or not") && text.contains("under way"));
        assert!(text.contains("Gone: nobody"), "{text}");
    }

    #[test]
    fn survivors_have_an_id_and_perhaps_an_address() {
        let named = named(&["a".to_owned(), "b=[::1]:8300".to_owned()]);
        let address = Some("[::1]:8300".to_owned());
        assert_eq!(named, BTreeMap::from([("a".to_owned(), None), ("b".to_owned(), address)]));
    }

    #[test]
    fn a_folder_without_a_server_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let flag = format!("-data-dir={}", dir.path().display());
        let refused = |line: &[&str]| {
            let words: Vec<_> = line.iter().map(|&word| word.to_owned()).collect();
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let screen = &mut Screen { out: &mut out, err: &mut err };
            assert_eq!(run_words("portolan", &words, screen), 1, "{line:?}");
            assert_eq!(out, b"", "{line:?}");
            String::from_utf8(err).unwrap()
        };
        let told = refused(&["operator", "recover", &flag, "-yes"]);
        assert!(told.ends_with("no server has kept its id here\n"), "{told}");
        let id = "00000000-0000-0000-0000-000000000007";
        std::fs::write(dir.path().join("node-id"), id).unwrap();
        let told = refused(&["operator", "recover", &flag, "-yes"]);
        assert!(told.ends_with("no server has kept its log here\n"), "{told}");
        assert!(!dir.path().join("raft").exists(), "looking makes nothing");
        let told = refused(&["operator", "recover"]);
        assert!(told.contains("the data folder must be given"), "{told}");
    }
}
