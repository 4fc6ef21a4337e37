//! The command lines that are compared, in order: later ones see what earlier ones did.

/// Whether a line differs on purpose, and why.
#[derive(Clone, Copy)]
pub(super) enum Differs {
    /// It does not.
    No,
    /// Our command line differs.
    Ours(&'static str),
    /// Both differ.
    Both(&'static str),
}

impl Differs {
    /// Why our command line against our server differs.
    pub(super) fn ours(self) -> Option<&'static str> {
        match self {
            Self::Ours(reason) | Self::Both(reason) => Some(reason),
            Self::No => None,
        }
    }

    /// Why the real command line against our server differs.
    pub(super) fn server(self) -> Option<&'static str> {
        match self {
            Self::Both(reason) => Some(reason),
            Self::No | Self::Ours(_) => None,
        }
    }
}

/// A command line: words parted by single blanks, and what comes on standard input.
pub(super) struct Line {
    pub(super) text: &'static str,
    pub(super) input: &'static str,
    pub(super) differs: Differs,
    /// A route without which nothing can be compared; empty for none.
    pub(super) needs: &'static str,
}

impl Line {
    /// Its words.
    pub(super) fn words(&self) -> Vec<&'static str> {
        self.text.split(' ').filter(|word| !word.is_empty()).collect()
    }
}

const fn line(text: &'static str) -> Line {
    Line { text, input: "", differs: Differs::No, needs: "" }
}

const fn with(text: &'static str, input: &'static str) -> Line {
    Line { input, ..line(text) }
}

const fn needs(text: &'static str, needs: &'static str) -> Line {
    Line { needs, ..line(text) }
}

const fn ours(text: &'static str, reason: &'static str) -> Line {
    Line { differs: Differs::Ours(reason), ..line(text) }
}

const fn both(text: &'static str, reason: &'static str) -> Line {
    Line { differs: Differs::Both(reason), ..line(text) }
}

#[rustfmt::skip]
pub(super) static LINES: &[Line] = &[
    line("kv put a one"),
    line("kv get a"),
    line("kv get -detailed a"),
    line("kv put -flags=42 a two"),
    line("kv get -detailed a"),
    line("kv get nope"),
    line("kv get"),
    line("kv get a b"),
    line("kv put"),
    line("kv put a b c"),
    line("kv put -cas a x"),
    line("kv put -cas -modify-index=1 a x"),
    ours("kv put -cas -modify-index=0 new x", "ours takes index 0, which says that there must be no such key"),
    ours("kv put -cas -modify-index=0 new y", "ours takes index 0, which says that there must be no such key"),
    line("kv delete new"),
    line("kv put -base64 b c2Vh"),
    line("kv get b"),
    line("kv get -base64 b"),
    ours("kv put -base64 bad !!", "the real one writes nothing under the key, and says that it succeeded"),
    line("kv delete bad"),
    with("kv put c -", "from stdin"),
    line("kv get c"),
    line("kv put empty"),
    line("kv get empty"),
    line("kv get -recurse"),
    line("kv put t/1 x"),
    line("kv put t/2 y"),
    line("kv put t/u/3 z"),
    line("kv get -recurse t/"),
    line("kv get -recurse none/"),
    line("kv get -keys"),
    line("kv get -keys t/"),
    line("kv get -keys -separator= t/"),
    line("kv get -keys none/"),
    line("kv get -recurse -detailed t/"),
    line("kv get -recurse -base64 t/"),
    line("kv delete t/1"),
    line("kv delete nope"),
    line("kv delete"),
    line("kv delete a b"),
    line("kv delete -cas a"),
    line("kv delete -cas -modify-index=1 a"),
    line("kv delete -cas -recurse t/"),
    line("kv delete -modify-index=1 a"),
    line("kv delete -recurse t/"),
    line("kv export"),
    line("kv export a"),
    line("kv export none"),
    line("kv export a b"),
    with("kv import -", "[{\"key\":\"i/1\",\"flags\":3,\"value\":\"eA==\"}]"),
    line("kv get i/1"),
    line("kv import"),
    Line { input: "nope", ..ours("kv import -", "the text of the parser of JSON") },
    line("kv import a b"),
    line("kv import @missing"),
    line("kv put f @missing"),
    line("kv put -acquire l x"),
    line("kv put -release l x"),
    line("kv put -acquire -session=x l x"),
    line("kv put -acquire -session=11111111-1111-1111-1111-111111111111 l x"),
    line("kv"),
    line("kv bogus"),
    line("kv get -bogus a"),
    line("kv get -h"),
    line("kv put -flags=x a b"),
    ours("kv get -datacenter=dc9 a", "ours shows what the server says"),
    line("kv get -datacenter=dc1 a"),
    line("kv get -stale a"),
    line("kv get -token=any a"),
    ours("kv get -token-file=missing a", "the text of the system"),
    line("kv get -http-addr=127.0.0.1:1 a"),
    ours("kv get -ca-file=missing a", "the text of the system"),
    line("kv put //x y"),
    line("kv put /lead y"),
    line("kv get /lead"),
    line("catalog datacenters"),
    line("catalog nodes"),
    line("catalog nodes -detailed"),
    line("catalog services"),
    line("catalog services -tags"),
    line("catalog nodes -service=nope"),
    line("catalog nodes -service=consul"),
    line("catalog nodes -node-meta=a=b"),
    line("catalog services -node=n1"),
    line("catalog services -node=nope"),
    line("catalog"),
    line("catalog bogus"),
    line("catalog nodes x"),
    both("catalog nodes -filter=zz=", "what a parser expects is told in our own words"),
    line("catalog nodes -near=_agent"),
    line("catalog datacenters x"),
    line("services register -name=web -port=80 -tag=a -tag=b"),
    line("services register -name=db -id=db1 -address=10.0.0.1 -meta=k=v"),
    line("services register"),
    line("services register missing.json"),
    ours("services register -name=x y", "the file is looked at first"),
    line("catalog services -tags"),
    line("catalog nodes -service=web"),
    line("services deregister -id=db1"),
    both("services deregister -id=nope", "an unknown service is an error, as in Consul since 1.11"),
    line("services deregister"),
    line("services"),
    ours("services register -name=bad -meta=k", "no usage text behind the error"),
    line("maint"),
    line("maint -enable"),
    line("maint"),
    line("maint -disable"),
    line("maint -enable -reason=why -service=web"),
    ours("maint", "ours shows the name of the service as well"),
    line("maint -disable -service=web"),
    line("maint -enable -disable"),
    line("maint -enable -service=nope"),
    line("services deregister -id=web"),
    line("members"),
    both("members -detailed", "tags tell of the program inside"),
    line("members -status=alive"),
    line("members -status=failed"),
    line("members -status=("),
    line("members -wan"),
    line("members -segment=x"),
    line("members x"),
    both("info x", "numbers tell of the program inside"),
    line("reload"),
    line("join"),
    line("join 127.0.0.1:1"),
    line("force-leave"),
    line("force-leave nope"),
    line("force-leave a b"),
    ours("leave x", "the real one prints its usage on standard output"),
    line("event"),
    line("event -name=deploy"),
    line("event -name=deploy payload"),
    line("event -name=deploy a b"),
    line("event -name=deploy -node=n1 -service=web -tag=a x"),
    line("event -name=deploy -tag=a"),
    ours("event -name=deploy -node=(", "what is wrong with a pattern is told in our own words"),
    line("event -bogus"),
    line("event -h"),
    line("event -name=deploy -http-addr=127.0.0.1:1"),
    line("watch -type=event -name=nope"),
    line("watch"),
    line("watch -type=bogus"),
    line("watch -type=key"),
    line("watch -type=key -key=nope"),
    line("watch -type=key -key=b"),
    line("watch -type=keyprefix -prefix=none/"),
    line("watch -type=services"),
    line("watch -type=checks -state=critical"),
    line("watch -type=checks -state=a -service=b"),
    line("watch -type=service -service=nope"),
    line("watch -type=service"),
    line("watch -type=keyprefix"),
    line("lock"),
    line("lock p"),
    line("lock locks/a true"),
    ours("lock -n=2 locks/b true", "semaphores are not there yet"),
    line("lock -n=0 locks/c true"),
    line("lock locks/d exit 3"),
    line("lock -shell=false locks/e true"),
    line("lock -try=1s locks/f true"),
    line("lock -timeout=x locks/g true"),
    line("operator"),
    line("operator raft"),
    line("operator raft list-peers"),
    line("operator raft remove-peer"),
    line("operator raft remove-peer -id=nope"),
    line("operator raft remove-peer -address=1.2.3.4:5"),
    line("operator raft remove-peer -id=a -address=b"),
    line("operator autopilot"),
    needs("operator autopilot get-config", "/v1/operator/autopilot/configuration"),
    needs("operator autopilot set-config -cleanup-dead-servers=false -max-trailing-logs=500", "/v1/operator/autopilot/configuration"),
    needs("operator autopilot get-config", "/v1/operator/autopilot/configuration"),
    needs("operator autopilot set-config", "/v1/operator/autopilot/configuration"),
    ours("operator autopilot set-config -max-trailing-logs=x", "the text of the parser of numbers"),
    ours("operator autopilot set-config -last-contact-threshold=x", "the text of the parser of durations"),
    ours("operator autopilot set-config -cleanup-dead-servers=x", "the text of the parser of switches"),
    ours("operator autopilot state", "a command of later versions"),
    line("rtt"),
    line("rtt a b c"),
    needs("rtt nope none", "/v1/coordinate/nodes"),
    needs("rtt -wan n1.dc1 n1.dc1", "/v1/coordinate/datacenters"),
    line("rtt -wan n1"),
    needs("rtt -wan a.dc1 b.dc1", "/v1/coordinate/datacenters"),
    line("keyring"),
    needs("keyring -list", "/v1/operator/keyring"),
    needs("keyring -list -local-only", "/v1/operator/keyring"),
    needs("keyring -install=x", "/v1/operator/keyring"),
    line("keyring -list -install=x"),
    line("keyring -list -relay-factor=9"),
    line("keyring -install=x -local-only"),
    line("keygen"),
    line("keygen x"),
    line("exec"),
    line("exec -tag=x true"),
    ours("exec -node=( true", "what is wrong with a pattern is told in our own words"),
    ours("exec -wait=100ms -wait-repl=10ms true", "ours says that nobody will answer"),
    line("debug x"),
    line("debug -duration=1s"),
    ours("debug -interval=1s -duration=10s", "the real one names another bound than it has"),
    needs("monitor -log-level=bogus", "/v1/agent/monitor"),
    line("snapshot"),
    line("snapshot save"),
    line("snapshot save a b"),
    line("snapshot save s.tgz"),
    line("snapshot inspect missing.tgz"),
    line("snapshot inspect"),
    line("snapshot restore"),
    line("snapshot restore missing.tgz"),
    line("snapshot restore s.tgz"),
    line("kv get b"),
    line("validate"),
    line("validate missing"),
    line("bogus"),
    line(""),
    line("--help"),
    ours("version", "each names itself"),
    ours("acl token list", "access control is not there"),
    ours("acl", "access control is not there"),
    ours("tls ca create", "an authority for certificates is not there"),
    ours("login", "access control is not there"),
    ours("logout", "access control is not there"),
    ours("connect", "the service mesh is not there"),
    ours("intention check a b", "the service mesh is not there"),
    ours("config list -kind=service-defaults", "configuration entries are not there"),
    line("config"),
];
